import DistillData
import Distillation
import Foundation
import TestSupport
import Torch
import TorchNN
import TorchOptim

/// A training that is small and has everything that can go wrong: dropout, batch normalization, momentum, a schedule, a
/// last short batch, several augmentations' worth of epochs, and a validation split.
struct TinyTraining {
  var seed: UInt64 = 3
  var steps = 30
  var accumulation = 1
  var batchSize = 8
  var shuffles = true
  var keep = Trainer.Keep.best
  var earlyStop: Int?
  var learningRate = 0.05
  var hasDropout = true
  var hasNormalization = true
  var alpha = 0.7
  var precision = Precision.float32
  var checkpoint: String?
  var checkpointInterval: Int?
  var parts = TrainedParts.all
  var stepsPerRound: Int?

  let data = try! TinyData.vectors(count: 43)

  func makeStudent() throws -> any Layer {
    try withRandomStream(try RandomStream(seed: seed, name: "init")) {
      try Sequential {
        try Linear(data.exampleShape[0], 16)
        if hasNormalization { try BatchNorm(16) }
        ReLU()
        if hasDropout { try Dropout(0.3) }
        try Linear(16, data.classCount)
      }
    }
  }

  func makeTeacherModel() throws -> any Layer {
    try withRandomStream(try RandomStream(seed: 99, name: "init")) {
      try Sequential {
        try Linear(data.exampleShape[0], 32)
        try BatchNorm(32)
        ReLU()
        try Dropout(0.5)
        try Linear(32, data.classCount)
      }
    }
  }

  func makeLoader() throws -> DataLoader {
    var options = DataLoader.Options(batchSize: batchSize)
    options.shuffle = shuffles
    options.seed = seed
    options.views = 1
    return try DataLoader(dataset: data, examples: Array(0..<35), options: options)
  }

  func makeTrainer(student: any Layer, teacher: (any Teacher)? = nil, objective: Objective? = nil) throws -> Trainer {
    var options = Trainer.Options(steps: steps)
    options.accumulation = accumulation
    options.keep = keep
    options.earlyStop = earlyStop
    options.precision = precision
    options.seed = seed
    options.progressInterval = 0
    options.checkpointInterval = checkpointInterval
    options.parts = parts
    options.stepsPerRound = stepsPerRound
    return try Trainer(
      student: student, teacher: teacher ?? FrozenTeacher(makeTeacherModel()),
      objective: objective ?? .weightedAverage(alpha: alpha, temperature: 4),
      optimizer: SGD(student.namedParameters, learningRate: learningRate, momentum: 0.9), schedule: .cosine(),
      loader: makeLoader(), validation: EvaluationSet(data, examples: Array(35..<43), normalization: nil),
      options: options, checkpoint: checkpoint.map { TrainingCheckpoint(path: $0, identity: "tiny") })
  }
}

/// The bytes of all parameters and buffers.
func bytes(of model: any Layer) throws -> [[UInt8]] {
  try model.state.map { named in try named.tensor.withBytes { Array($0) } }
}

/// Whether these teachers train the same student, bit for bit: a linear layer, of images of 8 × 8, in the order and the
/// views of `loader`.
func teachTheSame(_ teachers: [any Teacher], steps: Int, accumulation: Int, loader: () throws -> DataLoader) throws
  -> Bool
{
  let students = try teachers.map { teacher in
    let student = try withRandomStream(try RandomStream(seed: 1, name: "init")) {
      try Sequential {
        Flatten()
        try Linear(64, 64)
      }
    }
    var options = Trainer.Options(steps: steps)
    options.accumulation = accumulation
    _ = try Trainer(
      student: student, teacher: teacher, objective: Objective([.init(SoftTargets(temperature: 2))]),
      optimizer: SGD(student.namedParameters, learningRate: 0.5), schedule: .constant, loader: loader(),
      options: options
    ).run()
    return try bytes(of: student)
  }
  return students.dropFirst().allSatisfy { $0 == students[0] }
}

extension Batch {
  /// A batch of which only the labels matter, or the inputs.
  static func fake(
    count: Int? = nil, ids: [Int]? = nil, inputs: Tensor? = nil, labels: Tensor? = nil, view: Int = 0
  ) throws -> Batch {
    let ids = ids ?? Array(0..<(count ?? 1))
    let labels = try labels?.to(.int64) ?? Tensor([Int64](repeating: 0, count: ids.count))
    return Batch(
      ids: ids, inputs: try inputs ?? Tensor.zeros([ids.count, 1]), labels: labels,
      labelledCount: try countLabelled(labels), view: view)
  }
}
