import DistillData
import DistillModels
import Distillation
import Torch
import TorchNN

/// Chooses what a run computes in, where its recipe says `auto`.
struct PrecisionChooser {
  let configuration: Configuration
  let materials: Materials
  let device: Device

  /// On what it depends whether something is measured; tests put others in their place.
  struct Conditions: Sendable {
    /// Multiply-adds of a batch, forward, from which on the precision matters: below it a step takes milliseconds, and a
    /// small model is the same from run to run.
    var threshold = 1 << 28
    /// More of them are not timed: of larger batches a part is taken.
    var mostMultiplyAdds = 1 << 33
    var units: @Sendable () throws -> Processor.BFloat16 = { try Processor.bfloat16 }
    var measure: @Sendable ([Computation], Tensor, () throws -> any Layer) throws -> PrecisionChoice = {
      try PrecisionChoice(among: $0, inputs: $1, makeModel: $2)
    }

    /// The same of a teacher's batches, of which some are looked at whatever the student chooses.
    var teacherThreshold = 1 << 28
    var measureTeacher: @Sendable (any Layer, Tensor, [Double], [TeacherPrecision]) throws -> TeacherPrecisionChoice = {
      try TeacherPrecisionChoice(for: $0, on: $1, temperatures: $2, among: $3)
    }

    static let standard = Conditions()
    @TaskLocal static var current = standard
  }

  private var conditions: Conditions { Conditions.current }

  /// - Parameters:
  ///   - kept: what was chosen before; it holds where the model and its batches are the same
  ///   - isTeacherOnly: whether no student is trained
  /// - Returns: all choices, and those of them that were made now
  func choose(
    _ kept: ChosenPrecisions, isTeacherOnly: Bool = false
  ) throws -> (all: ChosenPrecisions, new: [ChosenPrecisions.Choice]) {
    var all = ChosenPrecisions()
    var new: [ChosenPrecisions.Choice] = []
    for open in try openTrainings(isTeacherOnly: isTeacherOnly)
    where !all.choices.contains(where: { $0.key == open.key }) {
      let each = try ModelZoo.make(open.specification).summary(inputShape: open.specification.inputShape).multiplyAdds
      let multiplyAdds = each * open.training.batchSize
      if let before = kept.choices.first(where: { $0.key == open.key && $0.multiplyAdds == multiplyAdds }) {
        all.choices.append(before)
        continue
      }
      let choice = try self.choice(for: open, multiplyAdds: multiplyAdds, each: each)
      all.choices.append(choice)
      new.append(choice)
    }
    return (all, new)
  }

  private struct Open {
    var role: String
    var key: String
    var specification: ModelSpecification
    var training: Configuration.Training
  }

  private func openTrainings(isTeacherOnly: Bool) throws -> [Open] {
    let (shape, classes) = (materials.train.exampleShape, materials.train.classCount)
    var found: [Open] = []
    if let teacher = configuration.teacher, teacher.isToBeTrained, let training = teacher.training,
      let key = try training.precisionKey(teacher, configuration.device)
    {
      let specification = try teacher.specificationToTrain(inputShape: shape, classCount: classes)
      found.append(Open(role: "teacher", key: key, specification: specification, training: training))
    }
    guard !isTeacherOnly else { return found }
    for stage in try configuration.resolvedSettings().flatMap(\.configuration.sequence) {
      let recipe = stage.configuration
      for (training, isAlone) in [(recipe.training, false), (recipe.alone, true)] {
        guard let key = try training.precisionKey(recipe.student, recipe.device) else { continue }
        let specification = try recipe.studentSpecification(inputShape: shape, classCount: classes, isAlone: isAlone)
        found.append(Open(role: "student", key: key, specification: specification, training: training))
      }
    }
    return found
  }

  private func choice(for open: Open, multiplyAdds: Int, each: Int) throws -> ChosenPrecisions.Choice {
    let training = open.training
    let usual = Computation(training.precision, channelsLast: training.channelsLast)
    func made(_ reason: ChosenPrecisions.Reason, _ choice: PrecisionChoice) -> ChosenPrecisions.Choice {
      ChosenPrecisions.Choice(
        role: open.role, key: open.key, multiplyAdds: multiplyAdds, reason: reason, choice: choice)
    }
    let kept = PrecisionChoice(computation: usual)
    guard multiplyAdds >= conditions.threshold else { return made(.small, kept) }
    let model = try makeModel(open)
    let canBFloat16 = try device.kind == .cpu ? !conditions.units().isEmpty : device.kind == .cuda
    let precisions: [Precision] =
      training.choosesPrecision ? [.float32] + (canBFloat16 ? [.bfloat16] : []) : [training.precision]
    let hasConvolutions = model.parameters.contains { $0.rank == 4 }
    let orders = training.choosesChannelsLast ? (hasConvolutions ? [false, true] : [false]) : [training.channelsLast]
    let ways = precisions.flatMap { precision in orders.map { Computation(precision, channelsLast: $0) } }
    guard ways.count > 1 else { return made(.only, kept) }
    return made(.measured, try conditions.measure(ways, try inputs(open, each: each)) { try makeModel(open) })
  }

  /// With weights from a stream that no training draws from.
  private func makeModel(_ open: Open) throws -> any Layer {
    let model = try withRandomStream(try RandomStream(seed: 0, name: "precision")) {
      try ModelZoo.make(open.specification)
    }
    try model.move(to: device)
    return model
  }

  /// Examples to train on, as they are without augmentation: a batch, or a part of one that would take long.
  private func inputs(_ open: Open, each: Int) throws -> Tensor {
    let count = min(open.training.batchSize, max(8, conditions.mostMultiplyAdds / max(1, each)))
    let examples = spread(materials.split.train, count: count)
    var options = DataLoader.Options(batchSize: count)
    options.normalization = materials.normalization
    options.device = device
    return try DataLoader(dataset: materials.train, examples: examples, options: options).batch(ids: examples).inputs
  }
}
