import Foundation
import TestSupport
import Testing
import Torch
import TorchNN

@testable import DistillPrograms

/// What is looked through of an ONNX file before ONNX Runtime sees it.
struct ONNXFileTests {
  private typealias P = ProtobufMaker

  private static func check(_ bytes: [UInt8], path: String = "/nowhere/evil.onnx") throws -> [String] {
    try bytes.withUnsafeBytes { try ONNXFile($0, path: path) }.externalFiles
  }

  @Test(
    arguments: [
      "linear", "fixed", "half", "softmax", "tokens", "windows", "sequence", "shapes", "branches", "function",
      "external", "foreign-operator", "huge-tensor",
    ])
  func goodFilesAreTaken(_ name: String) throws {
    let path = "\(TorchProgramTests.folder)/\(name).onnx"
    let files = try ONNXFile(path).externalFiles
    #expect(files == (name == "external" ? ["\(path).data"] : []))
    #expect(ProgramFormat.onnx.files(of: path) == [path] + files)
  }

  @Test func everyShorterPartIsRefused() throws {
    let whole = [UInt8](try Data(contentsOf: URL(filePath: "\(TorchProgramTests.folder)/windows.onnx")))
    // Behind the graph stands the version of its operators.
    for count in 0..<whole.count - 6 {
      let error = try #require(throws: ProgramError.self) { try Self.check(Array(whole.prefix(count))) }
      #expect(error.description.hasPrefix("/nowhere/evil.onnx: it is no ONNX model"), "\(error)")
    }
  }

  struct Case: Sendable, CustomTestStringConvertible {
    var testDescription: String
    var words: String
    var bytes: [UInt8]

    init(_ name: String, _ words: String, _ bytes: [UInt8]) {
      (testDescription, self.words, self.bytes) = (name, words, bytes)
    }

    init(_ name: String, _ words: String, weight: [UInt8]) {
      self.init(name, words, ProtobufMaker.model(weight: weight))
    }

    init(_ name: String, _ words: String, graph: [UInt8]) { self.init(name, words, ProtobufMaker.model(graph: graph)) }
  }

  private static func outside(_ location: String) -> [UInt8] { P.external("w", [1], ["location": location]) }

  static let cases: [Case] = [
    Case("nothing", "there is no graph in it", []),
    Case("a text", "it is no ONNX model", Array("version https://git-lfs.github.com/spec/v1".utf8)),
    Case("a length beyond the file", "bytes are announced", P.number(7 << 3 | 2) + P.number(1 << 62)),
    Case("a number without end", "a number has no end", Array(repeating: 0xff, count: 20)),
    Case("a group", "is of no kind", [7 << 3 | 3]),
    Case("a field of another kind", "the field 7 of a model is of another kind", P.field(7, 5)),
    Case("two graphs", "two graphs", P.model() + P.model()),
    Case("a weight of 2^60 numbers", "fetch or write it again", weight: P.tensor("w", [1 << 30, 1 << 30], bytes: 4)),
    Case("sizes that overflow", "more numbers than any memory", weight: P.tensor("w", [1 << 40, 1 << 40], bytes: 4)),
    Case("a negative size", "a size below zero", weight: P.tensor("w", [-1], bytes: 4)),
    Case("too few bytes", "has 4 bytes, not 8", weight: P.tensor("w", [2], bytes: 4)),
    Case("too few numbers", "has 1 numbers, not 2", weight: P.tensor("w", [2], P.field(4, [0, 0, 0, 0]))),
    Case("numbers of another list", "has 0 numbers, not 1", weight: P.tensor("w", [1], P.field(7, [1]))),
    Case("bytes and numbers", "bytes, not 4", weight: P.tensor("w", [1], bytes: 4, P.field(4, [0, 0, 0, 0]))),
    Case("bytes twice", "there twice", weight: P.tensor("w", [1], bytes: 4, P.field(9, [0, 0, 0, 0]))),
    Case("an unknown type", "elements of type 99", weight: P.tensor("w", [1], type: 99, bytes: 4)),
    Case("bytes for texts", "has 4 bytes", weight: P.tensor("w", [1], type: 8, bytes: 4)),
    Case("seventeen sizes", "more than 16 dimensions", weight: P.tensor("w", Array(repeating: 1, count: 17), bytes: 4)),
    Case(
      "seventeen sizes in one", "more than 16 dimensions",
      weight: P.field(1, [UInt8](repeating: 1, count: 17)) + P.field(2, 1) + P.field(8, "w")),
    Case("sparse weights", "sparse weights", graph: P.field(15, [])),
    Case(
      "sparse numbers", "sparse numbers",
      graph: P.field(1, P.node("Constant", [], ["c"], P.field(5, P.field(1, "sparse_value") + P.field(22, []))))),
    Case(
      "a constant of too many numbers", "has 4 bytes, not 4000",
      graph: P.field(
        1, P.node("Constant", [], ["c"], P.field(5, P.field(1, "value") + P.field(5, P.tensor("c", [1000], bytes: 4)))))
    ),
    Case(
      "an attribute with two values", "two values",
      graph: P.field(
        1,
        P.node(
          "Constant", [], ["c"],
          P.field(5, P.field(5, P.tensor("c", [1], bytes: 4)) + P.field(5, P.tensor("c", [1], bytes: 4)))))),
    Case("a node without an operator", "without an operator", graph: P.field(1, P.field(1, "x"))),
    Case(
      "a million nodes", "more than 200000 nodes",
      graph: Array(repeating: P.field(1, P.field(4, "A")), count: 300_000).flatMap { $0 }),
    Case("a value of the size -2", "negative size -2", graph: P.field(13, P.value("v", [-2]))),
    Case(
      "a value of 17 sizes", "more than 16 dimensions", graph: P.field(13, P.value("v", Array(repeating: 1, count: 17)))
    ),
    Case("graphs in graphs", "deep in each other", graph: deepGraph),
    Case("types in types", "deep in each other", graph: P.field(13, P.field(2, deepType))),
    Case("functions that become 2^40 nodes", "become more than 200000 nodes", P.model(model: functions(40))),
    Case(
      "functions in a circle", "in a circle", P.model(model: function("f", calls: ["g"]) + function("g", calls: ["f"]))),
    Case(
      "two functions of a name", "two functions", P.model(model: function("f", calls: []) + function("f", calls: []))),
    Case("a function without a name", "function without a name", P.model(model: P.field(25, []))),
    Case("another folder", "may lead to no other folder", weight: outside("../evil")),
    Case("another folder from below", "may lead to no other folder", weight: outside("a/../../evil")),
    Case("the root", "is not in its folder", weight: outside("/etc/passwd")),
    Case("no name", "cannot be one", weight: outside("")),
    Case("a name with nothing in it", "cannot be one", weight: outside("a\u{0}b")),
    Case("the mark of memory", "cannot be one", weight: outside("*/_ORT_MEM_ADDR_/*")),
    Case("a place that is not there", "is missing", weight: outside("weights")),
    Case("a place said twice", "says twice", weight: P.external("w", [1], ["location": "a", "location": "b"])),
    Case(
      "a negative place", "impossible offset '-1'", weight: P.external("w", [1], ["location": "a", "offset": "-1"])),
    Case("a length of words", "impossible length 'x'", weight: P.external("w", [1], ["location": "a", "length": "x"])),
    Case(
      "numbers in two files", "in two files",
      weight: P.external("w", [1], ["location": "a"]) + P.field(9, [0, 0, 0, 0])),
  ]

  private static let deepGraph: [UInt8] = {
    var graph = P.field(1, P.node("A", [], []))
    for _ in 0..<40 { graph = P.field(1, P.node("If", [], [], P.field(5, P.field(6, graph)))) }
    return graph
  }()

  private static let deepType: [UInt8] = (0..<60).reduce(into: P.field(1, P.field(1, 1))) { type, _ in
    type = P.field(4, P.field(1, type))
  }

  private static func function(_ name: String, calls: [String]) -> [UInt8] {
    P.field(
      25, P.field(1, name) + P.field(10, "own") + calls.flatMap { P.field(7, P.node($0, [], [], P.field(7, "own"))) })
  }

  /// Each calls the next one twice, and the graph the first.
  private static func functions(_ count: Int) -> [UInt8] {
    let graph = P.field(25, P.field(1, "Add") + P.field(7, P.node("f0", [], [], P.field(7, "own"))))
    return graph + (0..<count).flatMap { function("f\($0)", calls: ["f\($0 + 1)", "f\($0 + 1)"]) }
  }

  @Test(arguments: cases) func isRefused(damage: Case) throws {
    let error = try #require(throws: ProgramError.self) { try Self.check(damage.bytes) }
    #expect(error.problem.contains(damage.words), "\(error)")
    #expect(error.description.hasPrefix("/nowhere/evil.onnx: ") && error.description.utf8.count < 1000)
  }

  @Test("Lists of numbers in every form, types of less than a byte, and long chains of functions are taken")
  func unusualButRight() throws {
    for weight in [
      P.tensor("w", [2], P.field(4, [UInt8](repeating: 0, count: 8))), P.tensor("w", [], type: 7, P.field(7, 5)),
      P.tensor("w", [3], type: 22, bytes: 2), P.tensor("w", [3], type: 22, P.field(5, [1, 2])),
      P.tensor("w", [5], type: 26, bytes: 2), P.tensor("w", [4], type: 28, bytes: 3),
      P.tensor("w", [2], type: 8, P.field(6, "a") + P.field(6, "")), P.tensor("w", [0, 1 << 40, 1 << 40], bytes: 0),
      P.tensor("w", [1], type: 15, bytes: 16), P.tensor("w", [2], type: 13, P.field(11, [1, 2])),
    ] {
      #expect(try Self.check(P.model(weight: weight)) == [])
    }
    let chain = (0..<20_000).flatMap { Self.function("f\($0)", calls: ["f\($0 + 1)"]) }
    #expect(try Self.check(P.model(model: chain)) == [])
  }

  /// A model with a weight of four bytes in another file, in a folder with some files.
  private func withModel(_ location: String, _ facts: [UInt8] = [], _ body: (String) throws -> Void) throws {
    try withTemporaryFolder { folder in
      let files = FileManager.default
      try files.createDirectory(atPath: "\(folder)/model/parts", withIntermediateDirectories: true)
      for name in ["outside", "model/weights", "model/parts/weights"] {
        try Data([0, 0, 128, 63]).write(to: URL(filePath: "\(folder)/\(name)"))
      }
      for (link, target) in [
        ("out", "../outside"), ("root", "/etc/passwd"), ("in", "weights"), ("up", ".."), ("pipe", "/dev/zero"),
      ] {
        try files.createSymbolicLink(atPath: "\(folder)/model/\(link)", withDestinationPath: target)
      }
      let path = "\(folder)/model/model.onnx"
      let weight = P.external("w", [1], ["location": location]) + facts
      try Data(P.model(weight: weight)).write(to: URL(filePath: path))
      try body(path)
    }
  }

  @Test(arguments: ["weights", "parts/weights", "in"]) func weightsBesideIt(_ location: String) throws {
    try withModel(location) { path in
      let files = try ONNXFile(path).externalFiles
      #expect(files.count == 1 && files[0].hasSuffix("/model/\(location)"))
    }
  }

  @Test(
    arguments: [
      ("out", "out of its folder"), ("root", "out of its folder"), ("up/outside", "out of its folder"),
      ("pipe", "out of its folder"), ("../outside", "no other folder"), ("parts", "not a regular file"),
      ("weights/", "cannot be one"),
    ])
  func climbsOutOfTheFolder(_ location: String, _ words: String) throws {
    try withModel(location) { path in
      let error = try #require(throws: ProgramError.self) { try ForeignProgram(path) }
      #expect(error.path == path && error.problem.contains(words), "\(error)")
    }
  }

  @Test(
    arguments: [
      ("offset", "1", "needs 4 bytes from byte 1 on of 'weights', which has 4"), ("length", "3", "has 3 bytes in"),
      ("offset", "9223372036854775807", "needs 4 bytes from byte"),
      ("offset", "99999999999999999999", "impossible offset"),
    ])
  func otherFileIsTooShort(_ key: String, _ value: String, _ words: String) throws {
    try withModel("weights", P.field(13, P.field(1, key) + P.field(2, value))) { path in
      let error = try #require(throws: ProgramError.self) { try ONNXFile(path) }
      #expect(error.problem.contains(words), "\(error)")
    }
  }

  /// Names in a snapshot are links to contents elsewhere.
  @Test(arguments: ["snapshots/abc", "snapshots/abc/onnx"]) func theCacheOfHuggingFaceIsRead(_ place: String) throws {
    try withTemporaryFolder { folder in
      let files = FileManager.default
      let snapshot = "\(folder)/\(place)"
      for folder in [snapshot, "\(folder)/blobs"] {
        try files.createDirectory(atPath: folder, withIntermediateDirectories: true)
      }
      let model = P.model(weight: P.external("w", [1], ["location": "model.onnx_data"]))
      for (name, blob, data) in [("model.onnx", "aa", Data(model)), ("model.onnx_data", "bb", Data(count: 4))] {
        try data.write(to: URL(filePath: "\(folder)/blobs/\(blob)"))
        try files.createSymbolicLink(atPath: "\(snapshot)/\(name)", withDestinationPath: "\(folder)/blobs/\(blob)")
      }
      #expect(try ONNXFile("\(snapshot)/model.onnx").externalFiles == ["\(snapshot)/model.onnx_data"])
    }
  }
}
