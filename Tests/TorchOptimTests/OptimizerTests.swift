import Foundation
import Testing
import Torch
import TorchNN
import TorchOptim

/// The numbers of `scripts/fixtures/optimizers.py`.
struct OptimizerFixture: Decodable {
  struct Group: Decodable {
    var parameters: [String]
    var options: [String: Double]
  }
  struct Run: Decodable {
    var name: String
    var kind: String
    var options: [String: Double]
    var late: String
    var groups: [Group]
    var after: [After]
  }
  struct After: Decodable {
    var step: Int
    var weight: [Double]
    var bias: [Double]
    var kernel: [Double]

    subscript(_ name: String) -> [Double] { name == "weight" ? weight : name == "bias" ? bias : kernel }
  }
  struct Clipping: Decodable {
    var maximum: Double
    var norm: Double
    var gradients: [String: [Double]]
  }
  struct Curve: Decodable {
    var name: String
    var steps: Int
    var rates: [Double]
    var momenta: [Double]
  }

  var shapes: [String: [Int]]
  var start: [String: [Double]]
  var gradients: [[String: [Double]]]
  var runs: [Run]
  var clipping: [Clipping]
  var schedules: [Curve]

  static let shared: OptimizerFixture = {
    let path = URL(filePath: #filePath).deletingLastPathComponent().appending(path: "../Fixtures/optimizers.json")
    return try! JSONDecoder().decode(OptimizerFixture.self, from: Data(contentsOf: path))
  }()

  static let names = ["weight", "bias", "kernel"]

  func tensor(_ values: [String: [Double]], _ name: String) throws -> Tensor {
    try Tensor(values[name]!.map { Float($0) }, shape: shapes[name]!)
  }

  func parameters() throws -> [NamedTensor] {
    try Self.names.map { NamedTensor(name: $0, tensor: try tensor(start, $0).requireGradient()) }
  }

  /// Gives each parameter its gradient of a step, except `late`, which has none in the first three.
  func setGradients(_ parameters: [NamedTensor], step: Int, late: String = "") throws {
    for parameter in parameters {
      let isMissing = parameter.name == late && step < 3
      try parameter.tensor.setGradient(isMissing ? nil : try tensor(gradients[step], parameter.name))
    }
  }
}

private func makeOptimizer(
  _ run: OptimizerFixture.Run, _ parameters: [NamedTensor], fused: Bool = true
) throws -> any Optimizer {
  let options = run.options
  var groups = run.groups.map { group in
    ParameterGroup(
      group.parameters.joined(), group.parameters.map { name in parameters.first { $0.name == name }! },
      learningRate: group.options["lr"], momentum: group.options["momentum"],
      weightDecay: group.options["weight_decay"])
  }
  if groups.isEmpty { groups = [ParameterGroup("all", parameters)] }
  switch run.kind {
  case "sgd":
    return try SGD(
      groups: groups, learningRate: options["learningRate"] ?? 1e-3, momentum: options["momentum"] ?? 0,
      dampening: options["dampening"] ?? 0, nesterov: options["nesterov"] == 1,
      weightDecay: options["weightDecay"] ?? 0, fused: fused)
  case "adam":
    return try Adam(
      groups: groups, learningRate: options["learningRate"] ?? 1e-3, beta1: options["beta1"] ?? 0.9,
      beta2: options["beta2"] ?? 0.999, epsilon: options["epsilon"] ?? 1e-8, weightDecay: options["weightDecay"] ?? 0,
      amsgrad: options["amsgrad"] == 1, fused: fused)
  default:
    return try AdamW(
      groups: groups, learningRate: options["learningRate"] ?? 1e-3, beta1: options["beta1"] ?? 0.9,
      beta2: options["beta2"] ?? 0.999, epsilon: options["epsilon"] ?? 1e-8,
      weightDecay: options["weightDecay"] ?? 1e-2, amsgrad: options["amsgrad"] == 1, fused: fused)
  }
}

/// The largest difference between the elements of a tensor and numbers.
private func difference(_ tensor: Tensor, _ numbers: [Double]) throws -> Double {
  let values = try tensor.doubles()
  guard values.count == numbers.count else { return .infinity }
  return zip(values, numbers).map { abs($0 - $1) }.max() ?? 0
}

@Suite struct OptimizerTests {
  let fixture = OptimizerFixture.shared

  @Test(arguments: OptimizerFixture.shared.runs.map(\.name), [true, false])
  func twentyStepsEqualPyTorch(name: String, fused: Bool) throws {
    let run = try #require(fixture.runs.first { $0.name == name })
    let parameters = try fixture.parameters()
    let optimizer = try makeOptimizer(run, parameters, fused: fused)
    var compared = 0
    for step in 0..<20 {
      try fixture.setGradients(parameters, step: step, late: run.late)
      try optimizer.step()
      guard let expected = run.after.first(where: { $0.step == step }) else { continue }
      for parameter in parameters {
        let error = try difference(parameter.tensor, expected[parameter.name])
        #expect(error <= 1e-6, "\(parameter.name) after step \(step) is off by \(error)")
        compared += 1
      }
    }
    #expect(compared == 9)
  }

  @Test func defaultsEqualPyTorch() throws {
    let run = try #require(fixture.runs.first { $0.name == "adamw" })
    #expect(run.options.isEmpty)
    let parameters = try fixture.parameters()
    let sgd = try SGD(parameters)
    #expect((sgd.learningRate, sgd.momentum, sgd.dampening, sgd.weightDecay, sgd.isNesterov) == (1e-3, 0, 0, 0, false))
    let adam = try Adam(parameters)
    #expect((adam.learningRate, adam.beta1, adam.beta2, adam.epsilon, adam.weightDecay) == (1e-3, 0.9, 0.999, 1e-8, 0))
    #expect(try AdamW(parameters).weightDecay == 1e-2)
  }

  @Test(arguments: ["sgd nesterov", "sgd late", "sgd groups", "adam amsgrad", "adamw groups"])
  func savedAndRestoredGoesOnBitForBit(name: String) throws {
    let run = try #require(fixture.runs.first { $0.name == name })
    let whole = try fixture.parameters()
    let uninterrupted = try makeOptimizer(run, whole)
    var saved: [String: Tensor] = [:]
    var middle: [Tensor] = []
    for step in 0..<20 {
      if step == 7 {
        saved = try uninterrupted.state().mapValues { try $0.copied() }
        middle = try whole.map { try $0.tensor.detached().copied() }
      }
      try fixture.setGradients(whole, step: step, late: run.late)
      try uninterrupted.step()
    }
    #expect(!saved.isEmpty)
    let resumed = try zip(whole, middle).map { NamedTensor(name: $0.name, tensor: try $1.requireGradient()) }
    let optimizer = try makeOptimizer(run, resumed)
    try optimizer.load(state: saved)
    for step in 7..<20 {
      try fixture.setGradients(resumed, step: step, late: run.late)
      try optimizer.step()
    }
    for (left, right) in zip(whole, resumed) {
      #expect(try left.tensor.array(of: Float.self) == right.tensor.array(of: Float.self))
    }
    let states = (uninterrupted.state(), optimizer.state())
    #expect(Set(states.0.keys) == Set(states.1.keys))
    for (key, tensor) in states.0 {
      #expect(try tensor.array(of: Float.self) == states.1[key]?.array(of: Float.self))
    }
  }

  @Test func aStateHasPyTorchsNames() throws {
    let parameters = Array(try fixture.parameters().prefix(1))
    try fixture.setGradients(parameters, step: 0)
    let sgd = try SGD(parameters, momentum: 0.9)
    #expect(sgd.state().isEmpty)
    try sgd.step()
    #expect(sgd.state().keys.sorted() == ["weight.momentum_buffer"])
    let adam = try AdamW(parameters, amsgrad: true)
    try adam.step()
    let names = ["weight.exp_avg", "weight.exp_avg_sq", "weight.max_exp_avg_sq", "weight.step"]
    #expect(adam.state().keys.sorted() == names)
    #expect(try adam.state()["weight.step"]?.item() == 1)
  }

  @Test func aStateThatDoesNotBelongIsRefusedWhole() throws {
    let parameters = try fixture.parameters()
    try fixture.setGradients(parameters, step: 0)
    let optimizer = try Adam(parameters)
    try optimizer.step()
    let before = try optimizer.state().mapValues { try $0.array(of: Float.self) }
    var state = try optimizer.state().mapValues { try $0.copied() }
    state["bias.exp_avg"] = try Tensor.zeros([5])
    state["weight.exp_avg_sq"] = nil
    state["wieght.exp_avg_sq"] = try Tensor.zeros([3, 4])
    state["kernel.step"] = try Tensor.zeros([], dtype: .int64)
    let error = try #require(throws: OptimizerError.self) { try optimizer.load(state: state) }
    #expect(error.problems.count == 4)
    #expect(error.description.contains("'bias.exp_avg' is [5] of float32, but should be [4] of float32"))
    #expect(error.description.contains("'weight.exp_avg_sq' is missing"))
    #expect(error.description.contains("Near it: weight.exp_avg_sq"))
    #expect(error.description.contains("'kernel.step' is [] of int64"))
    #expect(try optimizer.state().mapValues { try $0.array(of: Float.self) } == before)
  }

  @Test(arguments: [Float.nan, .infinity, -1])
  func aCountOfStepsThatIsNoneIsRefused(count: Float) throws {
    let parameters = Array(try fixture.parameters().prefix(1))
    try fixture.setGradients(parameters, step: 0)
    let optimizer = try AdamW(parameters, fused: false)
    try optimizer.step()
    var state = optimizer.state()
    state["weight.step"] = try Tensor([count], shape: [])
    let error = try #require(throws: OptimizerError.self) { try optimizer.load(state: state) }
    #expect(error.problems == ["'weight.step' is \(Double(count)), but should be a count"])
    try optimizer.step()
    #expect(try optimizer.state()["weight.step"]?.item() == 2)
  }

  @Test(arguments: ["sgd momentum", "adamw"])
  func parametersWithoutGradientAndFrozenOnesStay(name: String) throws {
    let run = try #require(fixture.runs.first { $0.name == name })
    let parameters = try fixture.parameters()
    let optimizer = try makeOptimizer(run, parameters)
    try fixture.setGradients(parameters, step: 0)
    try parameters[1].tensor.setGradient(nil)
    try parameters[2].tensor.requireGradient(false)
    try optimizer.step()
    #expect(try difference(parameters[0].tensor, fixture.start["weight"]!) > 1e-4)
    #expect(try difference(parameters[1].tensor, fixture.start["bias"]!) == 0)
    #expect(try difference(parameters[2].tensor, fixture.start["kernel"]!) == 0)
    #expect(optimizer.state().keys.allSatisfy { $0.hasPrefix("weight.") })
  }

  @Test func zeroedGradientsAreGone() throws {
    let parameters = try fixture.parameters()
    try fixture.setGradients(parameters, step: 0)
    let optimizer = try SGD(parameters, learningRate: 1)
    try optimizer.zeroGradients()
    #expect(parameters.allSatisfy { $0.tensor.gradient == nil })
    try optimizer.step()
    #expect(try difference(parameters[0].tensor, fixture.start["weight"]!) == 0)
  }

  @Test(arguments: [true, false])
  func theFactorScalesEveryGroupsLearningRate(fused: Bool) throws {
    let parameters = try fixture.parameters()
    let groups = [
      ParameterGroup("first", [parameters[0]]), ParameterGroup("second", [parameters[1]], learningRate: 0.5),
    ]
    let optimizer = try SGD(groups: groups, learningRate: 0.1, fused: fused)
    optimizer.learningRateFactor = 0.5
    try fixture.setGradients(parameters, step: 0)
    try optimizer.step()
    for (parameter, rate) in [(parameters[0], 0.05), (parameters[1], 0.25)] {
      let expected = zip(fixture.start[parameter.name]!, fixture.gradients[0][parameter.name]!).map { $0 - rate * $1 }
      #expect(try difference(parameter.tensor, expected) < 1e-6)
    }
  }

  /// Fused kernels walk memory from front to back: a gradient laid out otherwise must not be applied crosswise.
  @Test(arguments: ["sgd momentum", "adam"], [true, false])
  func layoutsOfParameterAndGradientMayDiffer(name: String, fused: Bool) throws {
    let run = try #require(fixture.runs.first { $0.name == name })
    let start = try Tensor.range(0, 2 * 3 * 4 * 5).to(.float32).reshaped([2, 3, 4, 5])
    let gradient = try (start * 0.7).logAddExp(start - 50)
    func moved(_ weights: MemoryFormat, _ gradients: MemoryFormat) throws -> [Double] {
      let tensor = try start.contiguous(weights).detached().copied().requireGradient()
      let optimizer = try makeOptimizer(run, [NamedTensor(name: "kernel", tensor: tensor)], fused: fused)
      for _ in 0..<3 {
        try tensor.setGradient(gradient.contiguous(gradients))
        try optimizer.step()
      }
      return try tensor.doubles()
    }
    let expected = try moved(.contiguous, .contiguous)
    for (weights, gradients) in [
      (MemoryFormat.channelsLast, MemoryFormat.channelsLast), (.channelsLast, .contiguous),
      (.contiguous, .channelsLast),
    ] {
      #expect(zip(try moved(weights, gradients), expected).allSatisfy { abs($0 - $1) < 1e-5 })
    }
    #expect(zip(expected, try start.doubles()).contains { abs($0 - $1) > 1e-3 })
  }

  @Test func impossibleSettingsAreAllNamed() throws {
    let parameters = try fixture.parameters()
    func problems(_ body: () throws -> Void) throws -> [String] {
      try #require(throws: OptimizerError.self, performing: body).problems
    }
    #expect(try problems { _ = try SGD(parameters, learningRate: -1, momentum: -0.5, weightDecay: .nan) }.count == 3)
    #expect(try problems { _ = try SGD(parameters, nesterov: true) }[0].contains("Nesterov"))
    #expect(try problems { _ = try Adam(parameters, beta1: 1, beta2: -0.1, epsilon: -1) }.count == 3)
    #expect(try problems { _ = try AdamW([]) } == ["an optimizer needs at least one parameter"])
    #expect(try problems { _ = try SGD(parameters + [parameters[0]]) }[0].contains("'weight' was given 2 times"))
    let alias = NamedTensor(name: "other", tensor: parameters[0].tensor)
    #expect(try problems { _ = try SGD(parameters + [alias]) } == ["one tensor was given under two names"])
    let group = ParameterGroup("head", parameters, learningRate: -2)
    #expect(try problems { _ = try SGD(groups: [group]) }[0].contains("learning rate of 'head' is -2.0"))
  }

  @Test func groupsCannotComeOrGoLater() throws {
    let parameters = try fixture.parameters()
    try fixture.setGradients(parameters, step: 0)
    for optimizer in [try SGD(parameters), try AdamW(parameters)] as [any Optimizer] {
      optimizer.parameterGroups = []
      #expect(throws: OptimizerError.self) { try optimizer.step() }
    }
  }

  @Test func splitByDecaySparesVectors() throws {
    let groups = ParameterGroup.splitByDecay(try fixture.parameters())
    #expect(groups.map { $0.parameters.map(\.name) } == [["weight", "kernel"], ["bias"]])
    #expect(groups.map(\.weightDecay) == [nil, 0])
    #expect(ParameterGroup.splitByDecay(groups[1].parameters).map(\.name) == ["no decay"])
  }
}

@Suite struct ClippingTests {
  let fixture = OptimizerFixture.shared

  @Test(arguments: OptimizerFixture.shared.clipping.map(\.maximum))
  func equalsPyTorch(maximum: Double) throws {
    let expected = try #require(fixture.clipping.first { $0.maximum == maximum })
    let parameters = try fixture.parameters()
    try fixture.setGradients(parameters, step: 0)
    let norm = try clipGradientNorm(parameters.map(\.tensor), maximum: maximum)
    #expect(abs(try norm.item() - expected.norm) < 1e-6)
    for parameter in parameters {
      let gradient = try #require(parameter.tensor.gradient)
      #expect(try difference(gradient, expected.gradients[parameter.name]!) < 1e-6)
    }
  }

  @Test func withoutGradientsTheNormIsZero() throws {
    #expect(try clipGradientNorm(try fixture.parameters().map(\.tensor), maximum: 1).item() == 0)
  }

  @Test func infiniteGradientsShowInTheNorm() throws {
    let parameters = try fixture.parameters()
    try fixture.setGradients(parameters, step: 0)
    try parameters[1].tensor.setGradient(Tensor.full([4], .infinity))
    #expect(try clipGradientNorm(parameters.map(\.tensor), maximum: 1).item() == .infinity)
  }

  @Test func aNegativeMaximumIsRefused() throws {
    #expect(throws: OptimizerError.self) { try clipGradientNorm([], maximum: -1) }
  }
}
