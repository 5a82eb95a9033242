import DistillData
import DistillModels
import Foundation
import TestSupport
import Testing
import Torch
import TorchNN

@testable import DistillExport

/// Every family of the zoo, and every operator that has a form, gives in coremltools what it gives here.
@Suite(
  .enabled(if: PythonEnvironment.coreML.path != nil, PythonEnvironment.coreML.missing), .timeLimit(.minutes(30)))
struct CoreMLTests {
  /// Writes a package, lets coremltools read and compute it, and expects what the model gives here.
  @discardableResult
  private func expectSame(
    _ model: any Layer, _ inputs: Tensor, _ options: CoreMLModel.Options = CoreMLModel.Options(),
    sourceLocation: SourceLocation = #_sourceLocation
  ) throws -> CoreMLModel {
    let python = try #require(PythonEnvironment.coreML.path)
    return try withTemporaryFolder { folder in
      let made = try CoreMLModel(of: model, like: inputs, options: options)
      let path = "\(folder)/model.mlpackage"
      try made.write(to: path)
      let check = try made.check(at: path, against: model, examples: inputs, python: python)
      #expect(check.runtime.hasPrefix("coremltools"), sourceLocation: sourceLocation)
      #expect(check.batches.map(\.examples) == Array(repeating: 1, count: inputs.shape[0]), sourceLocation: sourceLocation)
      #expect(check.isSame, "\(check.batches)", sourceLocation: sourceLocation)
      return made
    }
  }

  @Test(arguments: ONNXZooTests.specifications)
  func isComputedTheSame(_ specification: ModelSpecification) throws {
    let made = try expectSame(Sample.model(specification), ONNXZooTests.inputs(specification, 2))
    let family = try ModelZoo.architecture(named: specification.architecture)
    #expect(made.inputName == (family.input == .tokens ? "tokens" : "input"))
  }

  @Test(arguments: FormCase.Topic.allCases)
  func topic(_ topic: FormCase.Topic) throws {
    let made = try FormCase.of(topic)
    try expectSame(made.model, made.inputs(2))
  }
}
