import DistillModels
import Foundation
import TestSupport
import Testing
import Torch
import TorchNN

@testable import DistillExport

/// A Python with PyTorch: the system's, or one in `.venv-torch`, which people make themselves: it takes gigabytes.
enum TorchPython {
  static let missing: Comment =
    "no Python with torch here: python3 -m venv .venv-torch && .venv-torch/bin/pip install torch"

  static let path: String? = {
    let root = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
      .deletingLastPathComponent().path
    return ["python3", "\(root)/.venv-torch/bin/python"].first { PythonEnvironment.run($0, ["-c", "import torch"]) }
  }()
}

@Suite struct PythonModuleTests {
  @Test("The module has a line for each operator, the weights by name, and what is to be known of inputs")
  func text() throws {
    let model = try Sample.model(ModelSpecification("mlp", ["hidden": [5]], inputShape: [4], classCount: 2))
    var facts = PythonModule.Facts()
    (facts.title, facts.labels, facts.mean) = ("Said \"so\"\nby me", ["a\"b", "ü\n"], [0.5])
    let module = try PythonModule(of: model, like: Sample.numbers([2, 4]), facts: facts)
    for line in [
      "\"\"\"Said 'so' by me\n", "LABELS = [\"a\\\"b\", \"ü\\n\"]", "MEAN = [0.5]", "STANDARD_DEVIATION = []",
      "logits = model(inputs)  # float32 [N, 4] -> [N, 2]",
      "self.weight(\"output.weight\"), self.weight(\"output.bias\"))",
    ] {
      #expect(module.source.contains(line), "\(line) in \(module.source)")
    }
    #expect(module.constants.isEmpty)
  }

  @Test(
    "Every family of the zoo is Python that can be read", .enabled(if: PythonEnvironment.run("python3", ["-c", ""])))
  func syntax() throws {
    try withTemporaryFolder { folder in
      for (number, specification) in ONNXZooTests.specifications.enumerated() {
        let module = try module(of: specification).module
        try Data(module.source.utf8).write(to: URL(fileURLWithPath: "\(folder)/\(number).py"))
      }
      let program = "import ast, glob, sys\nfor path in glob.glob(sys.argv[1] + '/*.py'): ast.parse(open(path).read())"
      #expect(PythonEnvironment.run("python3", ["-c", program, folder]))
    }
  }

  @Test(
    "PyTorch computes the same with it", .enabled(if: TorchPython.path != nil, TorchPython.missing),
    .timeLimit(.minutes(10)), arguments: ONNXZooTests.specifications)
  func isComputedTheSame(_ specification: ModelSpecification) throws {
    let python = try #require(TorchPython.path)
    let (model, inputs, module) = try module(of: specification)
    try withTemporaryFolder { folder in
      try Data(module.source.utf8).write(to: URL(fileURLWithPath: "\(folder)/model.py"))
      let state = try model.state.map { NamedTensor(name: $0.name, tensor: try $0.tensor.detached()) }
      try Checkpoint.write(state, metadata: ["format": "pt"], to: "\(folder)/model.safetensors")
      if !module.constants.isEmpty {
        try Checkpoint.write(module.constants, metadata: ["format": "pt"], to: "\(folder)/constants.safetensors")
      }
      let check = try PythonModule.check(in: folder, against: model, examples: inputs, python: python)
      #expect(check.runtime.hasPrefix("PyTorch") && check.isSame, "\(check)")
      // Weights that are seen another way are not written a second time.
      let weights = model.state.reduce(0) { $0 + $1.tensor.count }
      #expect(module.constants.reduce(0) { $0 + $1.tensor.count } < weights / 4 + 200)
    }
  }

  private func module(
    of specification: ModelSpecification
  ) throws -> (model: any FeatureClassifier, inputs: Tensor, module: PythonModule) {
    let model = try Sample.model(specification)
    let inputs = try ONNXZooTests.inputs(specification, 3)
    return (model, inputs, try PythonModule(of: model, like: inputs))
  }
}
