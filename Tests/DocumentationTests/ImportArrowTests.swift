import Foundation
import Testing

/// The arrows between the targets, as `ARCHITECTURE.md` shows them: who may import whom.
@Suite struct ImportArrowTests {
  /// The modules of this package that each target may import. What a target builds on, it may import as well.
  static let allowed: [String: Set<String>] = [
    "Torch": ["CTorch"],
    "TorchNN": ["Torch"],
    "TorchOptim": ["TorchNN", "Torch"],
    "DistillTokenizers": [],
    "DistillData": ["Torch", "DistillTokenizers", "CPNG", "CTurboJPEG", "CZlib", "CCrypto"],
    "DistillModels": ["TorchNN", "Torch"],
    "DistillRuntime": ["DistillModels", "DistillData", "DistillTokenizers", "TorchNN", "Torch"],
    "DistillPrograms": ["TorchNN", "Torch", "CONNXRuntime"],
    "Distillation": ["TorchOptim", "DistillData", "DistillTokenizers", "TorchNN", "Torch"],
    "DistillSearch": ["Torch", "GRDB"],
    "DistillRecipes": [
      "DistillRuntime", "Distillation", "DistillModels", "DistillPrograms", "DistillSearch", "TorchOptim",
      "DistillData", "DistillTokenizers", "TorchNN", "Torch", "Yams",
    ],
    "DistillExport": ["DistillData", "TorchNN", "Torch", "SwiftProtobuf"],
    "distill": [
      "DistillExport", "DistillRecipes", "DistillRuntime", "Distillation", "DistillModels", "DistillPrograms",
      "DistillSearch", "TorchOptim", "DistillData", "DistillTokenizers", "TorchNN", "Torch", "ArgumentParser",
    ],
  ]

  /// What comes with Swift and the system.
  static let system: Set<String> = [
    "Foundation", "FoundationNetworking", "FoundationEssentials", "Dispatch", "Synchronization", "Glibc", "Musl",
    "Darwin", "Swift", "os",
  ]

  /// The modules that a source imports: `@testable import struct Torch.Tensor` imports Torch. Lines that are indented are
  /// not imports but parts of texts.
  static func imports(of source: String) -> Set<String> {
    Set(
      source.split(separator: "\n").compactMap { line in
        let words = line.split(whereSeparator: \.isWhitespace)
        guard line.first?.isWhitespace == false, let place = words.firstIndex(of: "import"), place + 1 < words.count,
          words[..<place].allSatisfy({ $0.hasPrefix("@") || ["public", "package", "internal", "private"].contains($0) })
        else { return nil }
        let kinds = ["struct", "class", "enum", "protocol", "func", "var", "let", "typealias"]
        let name = kinds.contains(String(words[place + 1])) ? words.dropFirst(place + 2).first : words[place + 1]
        return name.map { String($0.prefix { $0 != "." && $0 != ";" }) }
      })
  }

  @Test(arguments: allowed.keys.sorted())
  func importsOnlyDownwards(_ target: String) throws {
    let allowed = try #require(Self.allowed[target]).union(Self.system)
    let sources = try Package.files(in: "Sources/\(target)", ending: ".swift")
    #expect(!sources.isEmpty)
    for source in sources {
      let wrong = Self.imports(of: try Package.text(source)).subtracting(allowed)
      #expect(wrong.isEmpty, "\(source) imports \(wrong.sorted().joined(separator: ", "))")
    }
  }

  /// A target as `Package.swift` declares it.
  struct Declared {
    var name: String
    var folder: String
    var dependencies: [String]

    /// The targets of the manifest with Swift sources, in its order.
    static func all() throws -> [Declared] {
      let manifest = try Package.text("Package.swift")
      let starts = manifest.ranges(of: /(?m)^    \.(target|executableTarget|testTarget|systemLibrary)\(/)
      let ends = starts.dropFirst().map(\.lowerBound) + [manifest.endIndex]
      return try zip(starts, ends).map { start, end in
        let text = manifest[start.lowerBound..<end]
        let name = try #require(text.firstMatch(of: /name: "([^"]+)"/)).1
        let isTest = manifest[start].contains("testTarget")
        let folder = text.firstMatch(of: /path: "([^"]+)"/).map { String($0.1) }
        let list = text.firstMatch(of: /dependencies: \[([^\]]*)\]/).map { String($0.1) } ?? ""
        // Of a product the name, not that of its package.
        let names = list.replacing(/package: "[^"]*"/, with: "").matches(of: /"([^"]+)"/).map { String($0.1) }
        return Declared(
          name: String(name), folder: folder ?? "\(isTest ? "Tests" : "Sources")/\(name)", dependencies: names)
      }
    }
  }

  /// What a target imports, it also declares.
  @Test func everyImportIsDeclared() throws {
    let declared = try Declared.all()
    #expect(
      declared.count > 15 && declared.contains { $0.name == "DistillRecipes" && $0.dependencies.contains("Yams") })
    let known = Self.system.union(["Testing", "FoundationXML"])
    for target in declared {
      let sources = try Package.files(in: target.folder, ending: ".swift")
      let imported = try sources.reduce(into: Set<String>()) { $0.formUnion(Self.imports(of: try Package.text($1))) }
      let missing = imported.subtracting(target.dependencies).subtracting(known)
      #expect(missing.isEmpty, "\(target.name) does not declare \(missing.sorted().joined(separator: ", "))")
    }
  }

  /// The manifest goes from the bottom of the layers to the top.
  @Test func targetsStandAboveWhatTheyDependOn() throws {
    let names = try Declared.all()
    for (place, target) in names.enumerated() {
      let below = Set(names[..<place].map(\.name))
      let wrong = Set(names.map(\.name)).intersection(target.dependencies).subtracting(below)
      #expect(wrong.isEmpty, "\(target.name) stands before \(wrong.sorted().joined(separator: ", "))")
    }
  }

  /// `CONTRIBUTING.md` says that the name of an operator of libtorch stands in one place.
  @Test func everyOperatorIsNamedOnce() throws {
    let names = try Package.files(in: "Sources", ending: ".swift").flatMap { file in
      try Package.text(file).matches(of: /Operator\(("[a-z]+::[^)]*)\)/).map { String($0.1) }
    }
    #expect(names.count > 100)
    let twice = Dictionary(grouping: names) { $0 }.filter { $0.value.count > 1 }.keys
    #expect(twice.isEmpty, "\(twice.sorted())")
  }

  /// A target that this table does not know must be put into it.
  @Test func everyTargetHasItsArrows() throws {
    let folders = try FileManager.default.contentsOfDirectory(atPath: "\(Package.root)/Sources")
    let withoutSwift: Set = ["CTorch", "CONNXRuntime", "CPNG", "CTurboJPEG", "CZlib", "CCrypto"]
    #expect(Set(folders).subtracting(withoutSwift) == Set(Self.allowed.keys))
  }

  /// No target reaches, over others, one that must know nothing of it.
  @Test func modelsLayersAndDataKnowNothingOfDistillation() throws {
    for target in [
      "Torch", "TorchNN", "TorchOptim", "DistillTokenizers", "DistillData", "DistillModels", "DistillSearch",
    ] {
      var reached: Set<String> = []
      var open = [target]
      while let next = open.popLast() {
        for module in Self.allowed[next] ?? [] where reached.insert(module).inserted { open.append(module) }
      }
      #expect(reached.isDisjoint(with: ["Distillation", "DistillRecipes", "distill", target]))
    }
  }

  /// The bridge is the one place that sees libtorch's headers.
  @Test func onlyTheBridgeSeesLibtorchsHeaders() throws {
    for ending in [".h", ".c", ".cpp"] {
      for file in try Package.files(in: "Sources", ending: ending) where !file.hasPrefix("Sources/CTorch/bridge/") {
        let text = try Package.text(file)
        #expect(!text.contains("#include <ATen") && !text.contains("#include <torch"), "\(file)")
      }
    }
  }

  @Test func importLinesAreUnderstood() {
    let source = """
      import Foundation
      @testable import Torch
      @_exported import TorchNN
      internal import struct CTorch.ct_value
      // import Nothing
      let text = "an import statement"
        import IndentedText
      """
    #expect(Self.imports(of: source) == ["Foundation", "Torch", "TorchNN", "CTorch"])
  }
}
