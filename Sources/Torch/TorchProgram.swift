import Foundation

extension Operator {
  fileprivate static let open = Operator("distill::program_open")
  fileprivate static let about = Operator("distill::program_about")
  fileprivate static let run = Operator("distill::program_run")
  fileprivate static let close = Operator("distill::program_close")
}

/// A model as a whole that libtorch runs: a TorchScript program, or a package of AOTInductor.
///
/// Both are code, and loading them executes it with the rights of this process: only files of people that one trusts may
/// be opened. TorchScript runs in evaluation mode; no gradient is ever recorded.
public final class TorchProgram {
  public enum Kind: String, Sendable {
    /// What `torch.jit.trace` and `torch.jit.script` make.
    case script
    /// What `torch._inductor.aoti_compile_and_package` makes, for the kind of processor on which it was made.
    case package
  }

  /// One of the things that it gives.
  public struct Output {
    /// Empty where it has none.
    public var name: String
    /// nil where it is something else.
    public var tensor: Tensor?
    /// What it is instead.
    public var kind: String?
  }

  private struct About: Decodable {
    var parameters: Int?
    var inputs: [String]?
    var outputSpecification: String?
  }

  private struct OutputText: Decodable {
    var name: String
    var kind: String?
  }

  private let number: Int
  /// nil where that is not to be had.
  public let parameterCount: Int?
  /// The names of the inputs that have to be given; nil where they are not known.
  public let inputNames: [String]?
  /// Of a package, whose outputs have no names when they come: what its file says of them.
  private let outputNames: [String]

  /// - Throws: `TorchError` when it cannot be loaded
  public init(_ kind: Kind, path: String, device: Device = .cpu) throws {
    let number: Int64 = try Dispatcher.call(.open, kind.rawValue, path, device).array()[0]
    self.number = Int(number)
    do {
      let about = try Self.decode(About.self, try Dispatcher.call(.about, self.number))
      parameterCount = about.parameters
      inputNames = about.inputs
      outputNames = about.outputSpecification.map(Self.names) ?? []
    } catch {
      try? Dispatcher.callForEffect(.close, self.number)
      throw error
    }
  }

  deinit { try? Dispatcher.callForEffect(.close, number) }

  /// - Throws: `TorchError` when it cannot be computed for such an input
  public func run(_ input: Tensor) throws -> [Output] {
    let given = try Dispatcher.callList(.run, number, input)
    guard let list = given.first else { return [] }
    var tensors = given.dropFirst()
    return try Self.decode([OutputText].self, list).enumerated().map { place, output in
      let name = output.name.isEmpty && outputNames.indices.contains(place) ? outputNames[place] : output.name
      return Output(name: name, tensor: output.kind == nil ? tensors.popFirst() : nil, kind: output.kind)
    }
  }

  private static func decode<Value: Decodable>(_ type: Value.Type, _ text: Tensor) throws -> Value {
    do {
      return try text.withBytes { try JSONDecoder().decode(type, from: Data($0)) }
    } catch let error as DecodingError {
      throw TorchError(operation: "distill::program", message: "what the bridge says cannot be understood: \(error)")
    }
  }

  /// The names of a dictionary of tensors in what PyTorch writes of a program's outputs; none for everything else.
  private static func names(_ specification: String) -> [String] {
    guard let list = try? JSONSerialization.jsonObject(with: Data(specification.utf8)) as? [Any],
      let root = list.dropFirst().first as? [String: Any], root["type"] as? String == "builtins.dict",
      let keys = root["context"] as? String, let children = root["children_spec"] as? [[String: Any]],
      children.allSatisfy({ $0["type"] is NSNull }),
      let names = try? JSONSerialization.jsonObject(with: Data(keys.utf8)) as? [Any], names.count == children.count
    else { return [] }
    return names.map { $0 as? String ?? "" }
  }
}
