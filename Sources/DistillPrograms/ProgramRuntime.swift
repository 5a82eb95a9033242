import Torch

/// What runs a program: libtorch, or ONNX Runtime.
protocol ProgramRuntime: AnyObject {
  /// nil where that is not to be had.
  var parameterCount: Int? { get }
  /// How many examples it takes at once, as far as its file says so.
  var limits: BatchLimits { get }

  /// One of its outputs for an input that it takes as it is.
  func run(_ input: Tensor, output: OutputChoice) throws -> Tensor
}

/// A program that libtorch runs.
final class TorchProgramRuntime: ProgramRuntime {
  private let program: TorchProgram
  private let path: String

  init(_ kind: TorchProgram.Kind, path: String, device: Device) throws {
    self.path = path
    program = try TorchProgram(kind, path: path, device: device)
    if let names = program.inputNames, names.count != 1 {
      throw ProgramError(
        path: path,
        problem: "it takes \(names.count) inputs (\(names.joined(separator: ", "))), and an example is one tensor: "
          + "wrap it in a module that takes one")
    }
  }

  var parameterCount: Int? { program.parameterCount }
  var limits: BatchLimits { BatchLimits() }

  func run(_ input: Tensor, output: OutputChoice) throws -> Tensor {
    let outputs = try program.run(try input.contiguous())
    let chosen = outputs[try output.place(among: outputs.map(\.name), path: path)]
    guard let tensor = chosen.tensor else {
      throw ProgramError(
        path: path,
        problem: "its output \(output) is \(chosen.kind.map { "of the kind \($0)" } ?? "none"), and not a tensor")
    }
    return tensor
  }
}
