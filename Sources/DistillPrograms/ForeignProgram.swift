import Foundation
import Torch
import TorchNN

/// A model as a whole that another program wrote: TorchScript, a package of AOTInductor, or ONNX. It is a layer without
/// parameters of its own, for whoever only wants what it gives, such as a distillation whose teacher it is.
///
/// It takes one tensor `[N, …]` and gives one `[N, …]` in float32. A batch of another size than it was made for is
/// computed in parts, the last filled up with copies of its last example. What lies inside cannot be looked at, and no
/// gradient flows through it.
///
/// TorchScript and packages are code, which runs with all rights of this process from the moment when the file is opened:
/// `isTrusted` says that whoever made the file may do that. ONNX files name operators of the runtime, and execute nothing
/// of their own.
public final class ForeignProgram: OpaqueLayer {
  public let path: String
  public let format: ProgramFormat
  public let output: OutputChoice
  public let givesProbabilities: Bool
  public let byteCount: Int

  private let runtime: any ProgramRuntime
  private let device: Device
  private var limits: BatchLimits

  /// - Parameters:
  ///   - path: the file
  ///   - output: which of its outputs is meant
  ///   - givesProbabilities: whether that holds probabilities, whose logarithms are logits: `log p`, at least the smallest
  ///     normal number
  ///   - isTrusted: whether code in it may be executed
  ///   - device: where TorchScript computes; packages compute where they were compiled for, ONNX on the processor
  /// - Throws: `ProgramError` for a file that is none of the three, is not trusted, or cannot be loaded
  public init(
    _ path: String, output: OutputChoice = .automatic, givesProbabilities: Bool = false, isTrusted: Bool = false,
    device: Device = .cpu
  ) throws {
    guard let format = ProgramFormat(of: path) else {
      throw ProgramError(
        path: path,
        problem: FileManager.default.fileExists(atPath: path)
          ? ProgramFormat.problem(of: path)
            ?? "it is neither a TorchScript program, nor a package of AOTInductor, nor an ONNX model (.onnx)"
          : "it does not exist")
    }
    guard isTrusted || !format.executesCode else {
      throw ProgramError(
        path: path,
        problem: "it is \(format.name), which is code: opened, it can do on this machine whatever you can. Where you "
          + "trust whoever made it, say 'trusted: true'; an ONNX model needs no trust")
    }
    self.path = path
    self.format = format
    self.output = output
    self.givesProbabilities = givesProbabilities
    let attributes = try? FileManager.default.attributesOfItem(atPath: path)
    byteCount = (attributes?[.size] as? NSNumber)?.intValue ?? 0
    do {
      runtime =
        switch format {
        case .torchScript: try TorchProgramRuntime(.script, path: path, device: device)
        case .package: try TorchProgramRuntime(.package, path: path, device: device)
        case .onnx: try ONNXModelRuntime(path: path)
        }
    } catch let error as TorchError {
      throw ProgramError(path: path, problem: "it cannot be loaded: \(shortened(error.message))")
    }
    self.device = format == .onnx ? .cpu : device
    limits = runtime.limits
  }

  public var ownParameterCount: Int? { runtime.parameterCount }

  public func forward(_ input: Tensor) throws -> Tensor {
    let given = try input.detached().to(device)
    var output = try compute(given)
    guard let count = output.shape.first, count == (try input.size(0)) else {
      throw ProgramError(
        path: path,
        problem: "for \(try input.size(0)) examples it gives a tensor of the shape \(output.shape), which does not "
          + "have that many rows")
    }
    output = try output.to(.float32)
    if givesProbabilities {
      output = try output.clamped(from: Double(Float.leastNormalMagnitude)).logarithm()
    }
    return try output.to(input.device)
  }

  /// Computes a batch; where it is too large or too small for the program, in parts from then on.
  private func run(_ input: Tensor) throws -> Tensor {
    do {
      return try runtime.run(input, output: output)
    } catch let error as TorchError {
      guard let learnt = BatchLimits(error.message, known: limits) else {
        throw ProgramError(
          path: path, problem: "it fails for a batch of the shape \(input.shape): \(shortened(error.message))")
      }
      limits = learnt
      return try compute(input)
    }
  }

  /// Computes a batch of any size, where one of the size that the program takes is not too large.
  private func compute(_ input: Tensor) throws -> Tensor {
    if let bytes = limits.filledBytes(input), bytes > BatchLimits.mostBytes {
      throw ProgramError(
        path: path,
        problem:
          "it takes \(limits.fewest) examples of the shape \(Array(input.shape.dropFirst())) at once, which are more "
          + "than \(BatchLimits.mostBytes >> 30) GiB: export it for a smaller batch, or one of any size")
    }
    return try limits.compute(input, run)
  }
}

/// A message of another program without what leads to it, and at most some lines long.
func shortened(_ message: String) -> String {
  let last = message.range(of: "RuntimeError: ", options: .backwards).map { message[$0.upperBound...] }
  let text = String((last ?? message[...]).prefix(400))
  return text.trimmingCharacters(in: .whitespacesAndNewlines)
}
