import DistillData
import Distillation
import Foundation
import TestSupport
import Testing
import Torch
import TorchNN
import TorchOptim

@Suite struct SelfDistillationTests {
  static let labels = [1, 0, 2, -1, 1]

  /// A batch with a shallow activation of some form, the deepest features, and the output.
  static func input(_ shape: [Int], scale: Double = 1) throws -> TermInput {
    try withRandomStream(try RandomStream(seed: 4, name: "self distillation")) {
      let shallow = try Tensor.empty(shape).drawNormal().requireGradient()
      let deep = try Tensor.empty([5, 6, 2, 2]).drawNormal().requireGradient()
      let output = try (Tensor.empty([5, 3]).drawNormal() * scale).requireGradient()
      return TermInput(
        student: Trace(output: output, activations: [Tap("shallow"): shallow, Tap("deep"): deep]), teacher: nil,
        batch: try .fake(count: 5, labels: Tensor(labels)))
    }
  }

  static func prepared(_ term: SelfDistillation, _ input: TermInput) throws -> SelfDistillation {
    try withRandomStream(try RandomStream(seed: 5, name: "exits")) { try term.prepare(input) }
    term.adapter?.train()
    return term
  }

  static let shapes = [[5, 4], [5, 7, 4], [5, 4, 3, 3]]

  /// What an exit gives, from the tensors of its state alone, in float64.
  static func exit(_ activation: Tensor, _ state: [NamedTensor]) throws -> (features: Tensor, logits: Tensor) {
    func tensor(_ name: String) throws -> Tensor {
      try #require(state.first { $0.name == "0.\(name)" }, "\(name) of \(state.map(\.name))").tensor.to(.float64)
    }
    // Places and examples in rows, channels in columns.
    let shape = activation.shape
    let places: Tensor =
      switch shape.count {
      case 4: try activation.permuted([0, 2, 3, 1]).reshaped([-1, 4])
      default: try activation.reshaped([-1, 4])
      }
    let weight = try tensor("map.weight").reshaped([-1, 4])
    let mapped = try places.to(.float64).matmul(weight.transposed(0, 1))
    let centered = try mapped - mapped.mean(along: 0, keepDimensions: true)
    let deviation = try (centered.squared().mean(along: 0, keepDimensions: true) + 1e-5).squareRoot()
    let active = try (centered / deviation * tensor("norm.weight") + tensor("norm.bias")).relu()
    let features = try active.reshaped([5, -1, weight.size(0)]).mean(along: 1)
    return (features, try linear(features, weight: tensor("classifier.weight"), bias: tensor("classifier.bias")))
  }

  @Test(arguments: shapes, [0.0, 0.3, 1])
  func theValueIsTheFormula(shape: [Int], alpha: Double) throws {
    let input = try Self.input(shape)
    let term = try Self.prepared(
      SelfDistillation(
        exits: [Tap("shallow")], alpha: alpha, temperature: 2, featureWeight: 0.05, deepest: Tap("deep")), input)
    let state = try #require(term.adapter).state
    let found = try term.sum(input)
    let exit = try Self.exit(input.student(at: Tap("shallow")).detached(), state)
    var expected = 0.0
    let (exits, outputs) = (try exit.logits.doubles(), try input.student.output.doubles())
    for row in 0..<5 {
      let z = Array(exits[3 * row..<3 * row + 3])
      let v = Array(outputs[3 * row..<3 * row + 3])
      let (q, p) = (
        EnsembleTests.softmax(z, temperature: 2), EnsembleTests.softmax(v, temperature: 2)
      )
      expected += alpha * 4 * zip(p, q).reduce(0) { $0 + $1.0 * log($1.0 / $1.1) }
      if Self.labels[row] >= 0 { expected -= (1 - alpha) * log(EnsembleTests.softmax(z)[Self.labels[row]]) }
    }
    let deep = try input.student(at: Tap("deep")).detached().to(.float64).mean(along: 2, 3)
    expected += 0.05 * (try (exit.features - deep).squared().sum().item())
    assertClose(try found.item(), expected, relative: 1e-4)
    #expect(term.count(input.batch) == 5)
  }

  /// The shallow layers learn; the output and the deepest features teach.
  @Test(arguments: shapes)
  func noGradientGoesThroughTheTeachingSide(shape: [Int]) throws {
    let input = try Self.input(shape)
    let term = try Self.prepared(
      SelfDistillation(exits: [Tap("shallow")], featureWeight: 1, deepest: Tap("deep")), input)
    try term.sum(input).backward()
    #expect(input.student.output.gradient == nil)
    #expect(try input.student.activation(at: Tap("deep")).gradient == nil)
    let gradient = try #require(try input.student.activation(at: Tap("shallow")).gradient)
    #expect(try gradient.absolute().sum().item() > 0)
    let parameters = try #require(term.adapter).namedParameters
    #expect(parameters.count == 5 && parameters.allSatisfy { $0.tensor.gradient != nil })
  }

  /// An exit that says what the output says has nothing to learn from it.
  @Test func anExitThatAgreesHasNoLoss() throws {
    let input = try Self.input([5, 4])
    let term = try Self.prepared(SelfDistillation(exits: [Tap("shallow")], alpha: 1), input)
    let exit = try Self.exit(
      input.student(at: Tap("shallow")).detached(), #require(term.adapter).state)
    var agreeing = input
    agreeing.student.output = try exit.logits.to(.float32)
    assertClose(try term.sum(agreeing).item(), 0, absolute: 1e-5)
  }

  @Test func extremeOutputsGiveNumbers() throws {
    let input = try Self.input([5, 4, 3, 3], scale: 1e4)
    let term = try Self.prepared(SelfDistillation(exits: [Tap("shallow")]), input)
    let sum = try term.sum(input)
    #expect(try sum.item().isFinite)
    try sum.backward()
    #expect(try #require(try input.student.activation(at: Tap("shallow")).gradient).isFinite().all())
    // Two exits add up to two losses.
    let twice = try Self.prepared(SelfDistillation(exits: [Tap("shallow"), Tap("deep")]), input)
    #expect(try twice.sum(input).item() > sum.item())
  }

  @Test func whatMakesNoSenseIsRefused() throws {
    let exit = Tap("shallow")
    #expect(throws: DistillationError.self) { try SelfDistillation(exits: []) }
    #expect(throws: DistillationError.self) { try SelfDistillation(exits: [exit, exit]) }
    #expect(throws: DistillationError.self) { try SelfDistillation(exits: [exit], alpha: 1.2) }
    #expect(throws: DistillationError.self) { try SelfDistillation(exits: [exit], temperature: 0) }
    #expect(throws: DistillationError.self) { try SelfDistillation(exits: [exit], featureWeight: 0.1) }
    let term = try SelfDistillation(exits: [exit])
    #expect(throws: DistillationError.self) { try term.sum(Self.input([5, 4])) }
    #expect(throws: DistillationError.self) { try term.prepare(Self.input([5])) }
    #expect(term.count(try .fake(count: 1)) == 0)
  }

  @Test func recipesMakeIt() throws {
    let kind = SelfDistillation.kind
    let term = try kind.make(["exits": .taps([Tap("a"), Tap("b")])])
    #expect(term.studentTaps == [Tap("a"), Tap("b")] && !term.needsTeacher)
    let deep = try kind.make([
      "exits": .taps([Tap("a")]), "feature_weight": .number(0.03), "deepest": .taps([Tap("c")]),
    ])
    #expect(deep.studentTaps == [Tap("a"), Tap("c")])
    #expect(throws: DistillationError.self) { try kind.make() }
    #expect(throws: DistillationError.self) {
      try kind.make(["exits": .taps([Tap("a")]), "feature_weight": .number(0.03)])
    }
    #expect(throws: DistillationError.self) {
      try kind.make(["exits": .taps([Tap("a")]), "deepest": .taps([Tap("b"), Tap("c")])])
    }
  }

  /// Without a teacher, interrupted and not; the exits live in the checkpoint.
  @Test(arguments: [3, 10, 15])
  func interruptedIsUninterrupted(stop: Int) throws {
    try withTemporaryFolder { folder in
      func run(_ path: String?, stop: Int?) throws -> any Layer {
        var training = TinyTraining()
        training.checkpoint = path
        let student = try training.makeStudent()
        let objective = try Objective([
          .init(try SelfDistillation(exits: [Tap("0"), Tap("2")], featureWeight: 0.1, deepest: Tap("3"))),
          .init(try HardLabels()),
        ])
        let batch = try training.makeLoader().batch(ids: Array(0..<8))
        try objective.prepare(student: student, teacher: nil, batch: batch, seed: 2)
        var options = Trainer.Options(steps: 20)
        options.progressInterval = 0
        options.keep = .last
        _ = try Trainer(
          student: student, objective: objective,
          optimizer: SGD(student.namedParameters + objective.adapters, learningRate: 0.05, momentum: 0.9),
          schedule: .cosine(), loader: training.makeLoader(), options: options,
          checkpoint: path.map { TrainingCheckpoint(path: $0, identity: "exits") }
        ).run { event in
          if case .progress(let progress) = event, progress.step == stop { return .stop }
          return .continue
        }
        return student
      }
      let whole = try run(nil, stop: nil)
      let path = "\(folder)/state.safetensors"
      _ = try run(path, stop: stop)
      #expect(try bytes(of: run(path, stop: nil)) == bytes(of: whole))
    }
  }
}
