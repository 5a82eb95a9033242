import DistillModels
import Foundation
import TestSupport
import Testing
import Torch
import TorchNN

@testable import Distillation

@Suite struct TeacherPrecisionTests {
  typealias Choice = TeacherPrecisionChoice

  /// KL of (1/2, 1/2) and (3/4, 1/4) is ½ ln(4/3).
  @Test func fidelityIsTheDivergence() throws {
    let exact = try Tensor([Float(0), 0, 1, 0], shape: [2, 2])
    let other = try Tensor([Float(Foundation.log(3.0)), 0, 1, 0], shape: [2, 2])
    let fidelity = try TeacherFidelity(exact: exact, other: other, temperatures: [1])
    let expected = 0.5 * Foundation.log(4.0 / 3)
    #expect(abs(fidelity.divergences[0].mean - expected / 2) < 1e-6)
    #expect(abs(fidelity.divergences[0].maximum - expected) < 1e-6)
    #expect(fidelity.count == 2)
    #expect(fidelity.topOneAgreement == 1)
    let same = try TeacherFidelity(exact: exact, other: exact, temperatures: [1, 4])
    #expect(same.worstMean == 0)
    let turned = try TeacherFidelity(exact: exact, other: exact * -1, temperatures: [2])
    #expect(turned.topOneAgreement == 0.5)
    let broken = try TeacherFidelity(exact: exact, other: other * Double.nan, temperatures: [1])
    #expect(broken.worstMean > 1e9)
    #expect(throws: DistillationError.self) {
      try TeacherFidelity(exact: exact, other: Tensor.ones([2, 3]), temperatures: [1])
    }
  }

  private func trial(_ precision: TeacherPrecision, _ seconds: Double, mean: Double = 0, agreement: Double = 1)
    throws -> Choice.Trial
  {
    var fidelity = try TeacherFidelity(exact: Tensor.ones([1, 2]), other: Tensor.ones([1, 2]), temperatures: [1])
    fidelity.divergences[0].mean = mean
    fidelity.topOneAgreement = agreement
    return Choice.Trial(precision: precision, seconds: seconds, fidelity: precision == .float32 ? nil : fidelity)
  }

  @Test func theFastestFaithfulOneIsTaken() throws {
    let exact = try trial(.float32, 4)
    #expect(Choice(trials: [exact, try trial(.bfloat16, 2), try trial(.int8, 1)]).precision == .int8)
    #expect(Choice(trials: [exact, try trial(.bfloat16, 2), try trial(.int8, 1, mean: 0.002)]).precision == .bfloat16)
    #expect(
      Choice(trials: [exact, try trial(.bfloat16, 2), try trial(.int8, 1, agreement: 0.98)]).precision == .bfloat16)
    #expect(Choice(trials: [exact, try trial(.bfloat16, 2), try trial(.int8, 1.9)]).precision == .bfloat16)
    #expect(Choice(trials: [exact, try trial(.bfloat16, 3.9)]).precision == .float32)
    #expect(
      Choice(trials: [exact, Choice.Trial(precision: .int8, seconds: 0, refusal: "it cannot")]).precision == .float32)
  }

  /// Its answer hangs on digits that eight bits do not hold: a large feature that says nothing beside small ones that say
  /// all.
  @Test func aModelThatIsBadInInt8StaysInFloat32() throws {
    let model = try withRandomStream(try RandomStream(seed: 5, name: "bad")) {
      try Sequential {
        try Linear(64, 64, bias: false)
        ReLU()
        try Linear(64, 10)
      }
    }
    let inputs = try withRandomStream(try RandomStream(seed: 6, name: "inputs")) {
      let small = try Tensor.empty([128, 63]).drawUniform(from: 0, to: 1)
      return try Tensor.concatenated([small, Tensor.ones([128, 1]) * 10_000], along: 1)
    }
    try withoutGradient {
      let first = try #require(model.layers[0] as? Linear)
      // The large feature is not looked at.
      try first.weight.copy(
        from: Tensor.concatenated([first.weight.sliced(1, from: 0, to: 63) * 20, Tensor.zeros([64, 1])], along: 1))
    }
    let choice = try Choice(for: model, on: inputs, temperatures: [1, 4], among: [.int8])
    #expect(choice.precision == .float32)
    let trial = try #require(choice.trials.first { $0.precision == .int8 })
    #expect(!trial.isFaithful)
    #expect(trial.refusal == nil)
    #expect(try #require(trial.fidelity).worstMean > Choice.mostDivergence)
  }

  @Test func choicesAreMeasuredAndKept() throws {
    let (model, inputs) = try FoldedTeacherTests.model(FoldedTeacherTests.cases[0])
    let choice = try Choice(for: model, on: inputs, temperatures: [1, 4])
    #expect(Set(choice.trials.map(\.precision)) == [.float32, .bfloat16, .int8])
    #expect(try #require(choice.chosen).isFaithful)
    let kept = try JSONDecoder().decode(Choice.self, from: JSONEncoder().encode(choice))
    #expect(kept == choice)
    #expect(throws: DistillationError.self) {
      try Choice(for: model, on: inputs.sliced(0, from: 0, to: 5), temperatures: [1])
    }
    for batchSize in [0, -1] {
      #expect(throws: DistillationError.self) {
        try Choice(for: model, on: inputs, temperatures: [1], batchSize: batchSize)
      }
    }
  }
}
