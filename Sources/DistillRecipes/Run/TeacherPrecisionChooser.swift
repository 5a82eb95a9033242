import DistillData
import DistillModels
import Distillation
import Torch
import TorchNN

/// Chooses what the models compute in that teach, where the recipe leaves that open: once their weights are there.
///
/// Models of a stage, whose weights come in the middle of a run, answer in the precision of the student.
struct TeacherPrecisionChooser {
  let configuration: Configuration
  let materials: Materials
  let device: Device
  let folder: RunFolder
  /// Whether a recipe's cache counts as if it were not there, because it is just being made.
  var isLabelling = false

  private var conditions: PrecisionChooser.Conditions { .current }

  /// - Parameter kept: what was chosen before; it holds where weights, data and device are the same
  /// - Returns: all choices, and those of them that were made now
  func choose(
    _ kept: [ChosenPrecisions.TeacherChoice]
  ) throws -> (all: [ChosenPrecisions.TeacherChoice], new: [ChosenPrecisions.TeacherChoice]) {
    var all: [ChosenPrecisions.TeacherChoice] = []
    var new: [ChosenPrecisions.TeacherChoice] = []
    let stages = try configuration.resolvedSettings().flatMap(\.configuration.sequence).map(\.configuration)
    let temperatures = Self.temperatures(stages.flatMap(\.terms))
    for stage in stages {
      guard var teacher = stage.teacher, teacher.precision == nil, isLabelling || teacher.cache == nil else { continue }
      let isEnsemble = teacher.members.count > 1
      teacher.members.removeAll { $0.stage != nil }
      guard !teacher.members.isEmpty else { continue }
      let maker = try TeacherMaker(
        teacher, folder: folder, materials: materials, device: device, channelsLast: stage.training.channelsLast)
      for member in maker.members + maker.specialistMembers where member.program == nil {
        let hash = try member.hash()
        guard !all.contains(where: { $0.weights == hash }) else { continue }
        let each = try member.multiplyAdds()
        let multiplyAdds = each * stage.training.batchSize
        let key = try SHA256.hex(of: "\(device) \(multiplyAdds) \(materials.train.contentHash)")
        let before = kept.first { $0.weights == hash && $0.key == key }
        if let before, before.choice.holds(at: temperatures) {
          all.append(before)
          continue
        }
        let name = isEnsemble || maker.members.count + maker.specialistMembers.count > 1 ? member.name : ""
        let (reason, choice) = try choose(multiplyAdds, temperatures, each) { try maker.makeModel(member) }
        let made = ChosenPrecisions.TeacherChoice(
          name: name, weights: hash, key: key, multiplyAdds: multiplyAdds, reason: reason, choice: choice)
        all.append(made)
        new.append(made)
      }
    }
    return (all, new)
  }

  private func choose(
    _ multiplyAdds: Int, _ temperatures: [Double], _ each: Int, _ model: () throws -> any Layer
  ) throws -> (ChosenPrecisions.Reason, TeacherPrecisionChoice) {
    guard multiplyAdds >= conditions.teacherThreshold else { return (.small, TeacherPrecisionChoice(.float32)) }
    var ways: [TeacherPrecision] = []
    if device.kind == .cuda { ways = [.bfloat16] }
    if device.kind == .cpu { ways = try conditions.units().isEmpty ? [.int8] : [.bfloat16, .int8] }
    let sample = try materials.teacherSample(device: device, multiplyAdds: each)
    guard !ways.isEmpty, sample.shape[0] >= TeacherPrecisionChoice.fewestExamples else {
      return (.only, TeacherPrecisionChoice(.float32))
    }
    return (.measured, try conditions.measureTeacher(try model(), sample, temperatures, ways))
  }

  /// 1, and those of the terms.
  static func temperatures(_ terms: [Configuration.Term]) -> [Double] {
    Set(terms.compactMap(\.highestTemperature) + [1]).sorted()
  }
}

extension TeacherMaker {
  /// What the precision of its members costs: how near each that is not in float32 is to what it says there.
  func fidelities(
    temperatures: [Double]
  ) throws -> [(name: String, precision: TeacherPrecision, fidelity: TeacherFidelity)] {
    try (members + specialistMembers).compactMap { member in
      let own = try precision(of: member)
      guard own != .float32 else { return nil }
      let model = try makeModel(member)
      let each = try model.summary(inputShape: member.specification.inputShape).multiplyAdds
      let fidelity = try TeacherPrecisionChoice.fidelity(
        of: model, in: own, examples: materials.teacherSample(device: device, multiplyAdds: each),
        temperatures: temperatures)
      return (member.name, own, fidelity)
    }
  }
}

extension TeacherPrecisionChoice {
  /// Whether it was made by what these temperatures show.
  fileprivate func holds(at temperatures: [Double]) -> Bool {
    trials.compactMap(\.fidelity).allSatisfy { fidelity in
      Set(fidelity.divergences.map(\.temperature)).isSuperset(of: temperatures)
    }
  }
}

extension Materials {
  /// Multiply-adds that judging a teacher may cost, for each way to compute it.
  private static let sampleMultiplyAdds = 1 << 36

  /// Training examples by which a teacher's precision is judged, as they are without augmentation. The first half of them
  /// comes from the whole set too.
  ///
  /// - Parameter multiplyAdds: of the teacher, for an example
  func teacherSample(device: Device, multiplyAdds: Int) throws -> Tensor {
    let count = min(512, max(64, Self.sampleMultiplyAdds / max(1, multiplyAdds)))
    let examples = spread(split.train, count: count)
    let halves = [0, 1].flatMap { half in examples.indices.filter { $0 % 2 == half }.map { examples[$0] } }
    var options = DataLoader.Options(batchSize: max(1, halves.count))
    options.normalization = normalization
    options.device = device
    return try DataLoader(dataset: train, examples: halves, options: options).batch(ids: halves).inputs
  }
}
