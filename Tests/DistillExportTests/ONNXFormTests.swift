import DistillExport
import Foundation
import TestSupport
import Testing
import Torch
import TorchNN

/// Operators that no model of the zoo calls give in ONNX Runtime what they give here.
@Suite(.enabled(if: PythonEnvironment.onnx.path != nil, PythonEnvironment.onnx.missing), .timeLimit(.minutes(10)))
struct ONNXFormTests {
  private func expect(
    _ shape: [Int], _ functions: [(Tensor) throws -> Tensor], inner: [any Module] = [],
    sourceLocation: SourceLocation = #_sourceLocation
  ) throws {
    let made = FormCase(shape: shape, functions: functions, inner: inner)
    try Sample.expectSame(made.model, made.inputs(3), sourceLocation: sourceLocation)
  }

  @Test(arguments: FormCase.Topic.allCases)
  func topic(_ topic: FormCase.Topic) throws {
    let made = try FormCase.of(topic)
    try Sample.expectSame(made.model, made.inputs(3))
  }

  @Test func enlargingBetweenWholeTimes() throws { try expect([2, 12, 9], [{ try $0.resizedToNearest([24, 20]) }]) }

  @Test func recurrence() throws {
    for (layers, bidirectional, bias) in [(1, false, true), (2, true, true), (2, false, false)] {
      let lstm = try LSTM(6, 5, layers: layers, bidirectional: bidirectional, bias: bias)
      let gru = try GRU(6, 4, layers: layers, bidirectional: bidirectional, bias: bias)
      try expect([7, 6], [{ try lstm($0) }, { try gru($0) }], inner: [lstm, gru])
    }
  }
}
