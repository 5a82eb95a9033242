import TestSupport
import Testing
import TorchNN

@testable import DistillExport
@testable import Torch

/// Operators of one name that do different things: each that has a form is named as a whole, and the others are refused.
struct OverloadTests {
  private static func tried(_ body: @escaping (Tensor) throws -> Tensor) throws -> [String] {
    let (model, inputs) = (Probe([], body), try Sample.numbers([3, 4]))
    let onnx = try #require(throws: ExportError.self) { try ONNXModel(of: model, like: inputs) }
    let coreML = try #require(throws: ExportError.self) { try CoreMLModel(of: model, like: inputs) }
    return ["\(onnx)", "\(coreML)"]
  }

  private static let clamp = Operator("aten::clamp", overload: "Tensor")
  private static let round = Operator("aten::round", overload: "decimals")
  private static let reinterpret = Operator("aten::view", overload: "dtype")

  @Test("Bounds that are tensors are no clamp by numbers, whose bounds they would not be")
  func clampByTensors() throws {
    for message in try Self.tried({ try Dispatcher.call(Self.clamp, $0, $0 * 0, Tensor?.none) }) {
      #expect(message.contains("aten::clamp.Tensor, which has no"), "\(message)")
    }
  }

  @Test("Rounding to decimals is no rounding to whole numbers")
  func roundToDecimals() throws {
    for message in try Self.tried({ try Dispatcher.call(Self.round, $0, 2) }) {
      #expect(message.contains("aten::round.decimals, which has no"), "\(message)")
    }
  }

  @Test("Other bits for the same numbers are no other shape")
  func reinterpretation() throws {
    for message in try Self.tried({ try Dispatcher.call(Self.reinterpret, $0, DType.int32).to(.float32) }) {
      #expect(message.contains("aten::view.dtype, which has no"), "\(message)")
    }
  }

  @Test("Every operator of a table is one that libtorch has")
  func names() {
    for name in Set(ONNXForms.all.keys).union(MILForms.all.keys) where name.hasPrefix("aten::") {
      let parts = name.split(separator: ".")
      let found = Operator(String(parts[0]), overload: parts.count == 2 ? String(parts[1]) : "")
      #expect(found.exists, "\(name)")
    }
  }

  @Test("Half a number is not put among whole ones as nothing")
  func halfANumber() throws {
    for message in try Self.tried({ try $0.to(.int64).masked(where: $0.isLess(than: 0), with: 2.5) }) {
      #expect(message.contains("puts 2.5 into whole numbers"), "\(message)")
    }
  }
}
