import DistillData
import Distillation
import TestSupport
import Testing
import Torch
import TorchNN
import TorchOptim

/// Terms on layers in a whole training, with their own layers in the optimizer and in the checkpoint.
@Suite struct LayerTermTrainingTests {
  /// The terms that take vectors, and so a network of linear layers: at the first linear layers, of 16 and 32 features.
  static let names = ["hints", "variational_information", "activation_boundaries", "feature_overhaul"]

  func makeTerm(_ name: String) throws -> any Term {
    let layers = [LayerPair("0")]
    return switch name {
    case "hints": try Hints(layers: layers)
    case "variational_information": try VariationalInformation(layers: layers)
    case "activation_boundaries": try ActivationBoundaries(layers: layers)
    default: try FeatureOverhaul(layers: layers)
    }
  }

  func makeTrainer(
    _ training: TinyTraining, _ name: String, student: any Layer, term: any Term
  ) throws -> Trainer {
    let objective = try Objective([Objective.Entry(term), Objective.Entry(try HardLabels())])
    let teacher = try FrozenTeacher(training.makeTeacherModel())
    let inputs = try normal([8, 6])
    try objective.prepare(student: student, teacher: teacher, batch: .fake(count: 8, inputs: inputs), seed: 5)
    var options = Trainer.Options(steps: training.steps)
    options.seed = training.seed
    options.progressInterval = 0
    return try Trainer(
      student: student, teacher: teacher, objective: objective,
      optimizer: SGD(student.namedParameters + objective.adapters, learningRate: 0.05, momentum: 0.9),
      schedule: .cosine(), loader: training.makeLoader(),
      validation: EvaluationSet(training.data, examples: Array(35..<43), normalization: nil), options: options,
      checkpoint: training.checkpoint.map { TrainingCheckpoint(path: $0, identity: name) })
  }

  func state(of term: any Term) throws -> [[Double]] {
    try #require(term.adapter).state.map { try $0.tensor.to(.float64).doubles() }
  }

  @Test(arguments: names)
  func anInterruptedTrainingGoesOnAsIfNothingHappened(name: String) throws {
    try withTemporaryFolder { folder in
      var training = TinyTraining()
      let term = try makeTerm(name)
      let whole = try training.makeStudent()
      let before = try makeTrainer(training, name, student: whole, term: term)
      let start = try state(of: term)
      _ = try before.run()
      #expect(try state(of: term) != start, "its layers are trained")

      training.checkpoint = "\(folder)/state.safetensors"
      _ = try makeTrainer(training, name, student: training.makeStudent(), term: makeTerm(name)).run { event in
        if case .progress(let progress) = event, progress.step == 13 { return .stop }
        return .continue
      }
      let resumed = try makeTerm(name)
      let student = try training.makeStudent()
      _ = try makeTrainer(training, name, student: student, term: resumed).run()
      #expect(try bytes(of: student) == bytes(of: whole))
      #expect(try state(of: resumed) == state(of: term))
    }
  }

  /// The terms on maps, in a convolutional student of another width: each lowers its own loss.
  @Test(arguments: [
    "hints", "attention_transfer", "flow_of_solution", "factor_transfer", "activation_boundaries", "neuron_selectivity",
    "variational_information", "feature_overhaul", "singular_vectors",
  ])
  func aStudentLearnsByIt(name: String) throws {
    func makeModel(_ width: Int, seed: UInt64) throws -> any Layer {
      try withRandomStream(try RandomStream(seed: seed, name: "init")) {
        try Sequential {
          try Conv2d(1, width, kernel: 3, padding: 1)
          try BatchNorm(width)
          ReLU()
          try Conv2d(width, width, kernel: 3, stride: 2, padding: 1)
          try BatchNorm(width)
          Flatten()
          try Linear(width * 16, 2)
        }
      }
    }
    let sameWidth = ["flow_of_solution", "singular_vectors"].contains(name)
    let student = try makeModel(sameWidth ? 6 : 4, seed: 1)
    let teacher = try FrozenTeacher(makeModel(6, seed: 2))
    let layers = [LayerPair("1"), LayerPair("4")]
    let term: any Term =
      switch name {
      case "hints": try Hints(layers: layers)
      case "attention_transfer": try AttentionTransfer(layers: layers)
      case "flow_of_solution": try FlowOfSolution(layers: layers)
      case "factor_transfer": try FactorTransfer(layers: layers)
      case "activation_boundaries": try ActivationBoundaries(layers: layers)
      case "neuron_selectivity": try NeuronSelectivity(layers: layers)
      case "variational_information": try VariationalInformation(layers: layers)
      case "feature_overhaul": try FeatureOverhaul(layers: layers)
      default: try SingularVectors(layers: layers, vectors: 2)
      }
    let objective = try Objective([Objective.Entry(term)])
    let batch = try Batch.fake(count: 8, inputs: normal([8, 1, 8, 8]))
    try objective.prepare(student: student, teacher: teacher, batch: batch, seed: 3)
    let optimizer = try AdamW(student.namedParameters + objective.adapters, learningRate: 0.01)
    var losses: [Double] = []
    for _ in 0..<25 {
      let value = try #require(
        try objective.evaluate(
          student: student.trace(batch.inputs, taps: objective.studentTaps),
          teacher: teacher.trace(batch, taps: objective.teacherTaps), batch: batch,
          position: TrainingPosition(epoch: 1, progress: 0.5)))
      try optimizer.zeroGradients()
      try value.total.backward()
      try optimizer.step()
      losses.append(try value.total.item())
    }
    #expect(losses.allSatisfy { $0.isFinite })
    #expect(losses[24] < losses[0] - 0.03 * abs(losses[0]), "\(losses[0]) → \(losses[24])")
  }
}
