import DistillData
import Distillation
import Foundation
import TestSupport
import Testing
import Torch
import TorchNN
import TorchOptim

@Suite struct MutualTrainerTests {
  static func model(_ index: Int, dropout: Double = 0.3) throws -> any Layer {
    try withRandomStream(try RandomStream(seed: UInt64(20 + index), name: "init")) {
      try Sequential {
        try Linear(6, 16 + 4 * index)
        try BatchNorm(16 + 4 * index)
        ReLU()
        try Dropout(dropout)
        try Linear(16 + 4 * index, 3)
      }
    }
  }

  static func objective(mutual: Double) throws -> Objective {
    try Objective([.init(try SoftTargets(temperature: 1), weight: Ramp(mutual)), .init(try HardLabels())])
  }

  static func trainer(
    _ models: [any Layer], mutual: Double = 1, steps: Int = 30, batchSize: Int = 8, accumulation: Int = 1,
    keep: Trainer.Keep = .best, checkpoint: String? = nil, objectives: [Objective]? = nil
  ) throws -> MutualTrainer {
    let training = TinyTraining()
    var loading = DataLoader.Options(batchSize: batchSize)
    loading.shuffle = true
    loading.seed = 3
    var options = Trainer.Options(steps: steps)
    options.progressInterval = 0
    options.accumulation = accumulation
    options.keep = keep
    return try MutualTrainer(
      models.enumerated().map { index, model in
        let objective = try objectives?[index] ?? objective(mutual: mutual)
        return .init(
          "student \(index)", model: model, objective: objective,
          optimizer: try SGD(
            model.namedParameters + objective.adapters, learningRate: 0.05, momentum: 0.9))
      },
      schedule: .cosine(), loader: DataLoader(dataset: training.data, examples: Array(0..<35), options: loading),
      validation: EvaluationSet(training.data, examples: Array(35..<43), normalization: nil), options: options,
      checkpoint: checkpoint.map { TrainingCheckpoint(path: $0, identity: "mutual") })
  }

  /// They agree more than the same two trained apart, also about examples that they were not trained on.
  @Test func studentsThatTeachEachOtherAgreeMore() throws {
    var divergences: [Double] = []
    for mutual in [0.0, 1] {
      var sum = 0.0
      for pair in 0..<4 {
        let models = try (0..<2).map { try Self.model(2 * pair + $0, dropout: 0) }
        _ = try Self.trainer(models, mutual: mutual, steps: 150, keep: .last).run()
        let set = try EvaluationSet(TinyTraining().data, normalization: nil)
        let ensemble = try EnsembleTeacher(models.map { FrozenTeacher($0) })
        sum += try set.disagreement(of: ensemble).jensenShannon
      }
      divergences.append(sum / 4)
    }
    #expect(divergences[1] < 0.85 * divergences[0], "\(divergences)")
  }

  /// Without anything to learn from each other, each is what it becomes alone.
  @Test func withoutTheOthersEachLearnsAlone() throws {
    let models = try (0..<2).map { try Self.model($0, dropout: 0) }
    _ = try Self.trainer(models, mutual: 0).run()
    let alone = try Self.model(1, dropout: 0)
    let training = TinyTraining()
    var options = Trainer.Options(steps: 30)
    options.progressInterval = 0
    _ = try Trainer(
      student: alone, objective: Objective([.init(try HardLabels())]),
      optimizer: SGD(alone.namedParameters, learningRate: 0.05, momentum: 0.9), schedule: .cosine(),
      loader: training.makeLoader(),
      validation: EvaluationSet(training.data, examples: Array(35..<43), normalization: nil),
      options: options
    ).run()
    #expect(try bytes(of: models[1]) == bytes(of: alone))
  }

  /// One step of plain gradient descent, computed by hand for three students.
  @Test func oneStepIsThePapersGradient() throws {
    let data = TinyTraining().data
    let loader = try DataLoader(dataset: data, examples: Array(0..<6), options: .init(batchSize: 6))
    let models = try (0..<3).map { try TinyModel.mlp(hidden: 4 + $0, seed: UInt64(30 + $0)) }
    let copies = try (0..<3).map { try TinyModel.mlp(hidden: 4 + $0, seed: UInt64(30 + $0)) }
    var options = Trainer.Options(steps: 1)
    options.keep = .last
    _ = try MutualTrainer(
      models.enumerated().map { index, model in
        .init(
          "\(index)", model: model, objective: try Self.objective(mutual: 1),
          optimizer: try SGD(model.namedParameters, learningRate: 0.5))
      }, schedule: .constant, loader: loader, options: options
    ).run()
    let batch = try loader.batch(ids: Array(0..<6))
    let outputs = try copies.map { try $0(batch.inputs) }
    for (index, copy) in copies.enumerated() {
      var loss = try crossEntropy(logits: outputs[index], labels: batch.labels).mean
      for other in 0..<3 where other != index {
        let divergence = try softTargetLoss(
          studentLogits: outputs[index], teacherLogits: outputs[other].detached(), temperature: 1)
        loss = try loss + divergence.mean * 0.5
      }
      try loss.backward(retainGraph: true)
      for (parameter, trained) in zip(copy.parameters, models[index].parameters) {
        let gradient = try #require(parameter.gradient)
        try assertClose(trained, withoutGradient { try parameter - gradient * 0.5 }, relative: 1e-5, absolute: 1e-6)
      }
    }
  }

  @Test("Interrupted is uninterrupted", arguments: [1, 5, 9, 14], [1, 2])
  func interruptedIsUninterrupted(stop: Int, accumulation: Int) throws {
    try withTemporaryFolder { folder in
      let whole = try (0..<2).map { try Self.model($0) }
      let expected = try Self.trainer(whole, accumulation: accumulation).run()
      let path = "\(folder)/state.safetensors"
      let first = try Self.trainer((0..<2).map { try Self.model($0) }, accumulation: accumulation, checkpoint: path)
        .run { _, event in
          if case .progress(let progress) = event, progress.step == stop { return .stop }
          return .continue
        }
      #expect(first.allSatisfy { $0.reason == .interrupted && $0.steps == stop })
      let models = try (0..<2).map { try Self.model($0) }
      let outcomes = try Self.trainer(models, accumulation: accumulation, checkpoint: path).run { _, event in
        if case .started(let step, _) = event { #expect(step == stop) }
        return .continue
      }
      #expect(outcomes == expected)
      for (model, reference) in zip(models, whole) { #expect(try bytes(of: model) == bytes(of: reference)) }
    }
  }

  /// A student can look into the other's layers, and choose one of several.
  @Test func layersOfTheOthersCanBeTapped() throws {
    let models = try (0..<3).map { try Self.model($0) }
    let others = try EnsembleTeacher(
      [FrozenTeacher(models[1]), FrozenTeacher(models[2])], names: ["student 1", "student 2"])
    let hinted = try Objective([
      .init(try Hints(layers: [LayerPair("0")]), teacher: .named("student 2")), .init(try HardLabels()),
    ])
    let batch = try TinyTraining().makeLoader().batch(ids: Array(0..<8))
    try hinted.prepare(student: models[0], teacher: others, batch: batch, seed: 1)
    let plain = try Self.objective(mutual: 1)
    var parts: Set<String> = []
    _ = try Self.trainer(models, steps: 6, objectives: [hinted, plain, plain]).run { name, event in
      if case .round(let round) = event, name == "student 0" { parts.formUnion(round.parts.keys) }
      return .continue
    }
    #expect(parts == ["hints", "hard_labels"])
    let wrong = try Objective([.init(try SoftTargets(), teacher: .named("student 0")), .init(try HardLabels())])
    #expect(throws: DistillationError.self) { try Self.trainer(models, objectives: [wrong, plain, plain]) }
  }

  @Test func whatDoesNotFitIsRefused() throws {
    let model = try Self.model(0)
    #expect(throws: DistillationError.self) { try Self.trainer([model]) }
    #expect(throws: DistillationError.self) { try Self.trainer([model, model]) }
    let training = TinyTraining()
    var options = Trainer.Options(steps: 3)
    options.earlyStop = 1
    #expect(throws: DistillationError.self) {
      try MutualTrainer(
        (0..<2).map { index in
          let model = try Self.model(index)
          return .init(
            "\(index)", model: model, objective: try Self.objective(mutual: 1),
            optimizer: try SGD(model.namedParameters, learningRate: 0.1))
        }, schedule: .constant, loader: training.makeLoader(), options: options)
    }
  }
}
