import DistillData
import DistillRuntime
import Distillation
import Foundation
import Torch
import TorchNN

/// What students score beside the teacher of a run: their agreement with it and their divergence from it.
///
/// Recipes with different teachers share the training of the student alone, and a run that is gone on with may have another
/// teacher. Everything else that a student scored is its own; these two are computed for each teacher from what was kept.
final class TeacherScoring {
  /// Tells teachers apart that say different things; nil without one.
  let identity: String?
  private let teacher: TeacherMaker?
  private let materials: Materials
  private let device: Device
  private let channelsLast: Bool
  private var known: Tensor?

  /// - Parameter logits: of the teacher for the test split, where they are known
  init(
    _ teacher: TeacherMaker?, materials: Materials, device: Device, channelsLast: Bool, logits: Tensor? = nil
  ) throws {
    self.teacher = teacher
    self.materials = materials
    self.device = device
    self.channelsLast = channelsLast
    known = logits
    identity = try teacher.map { try SHA256.hex(of: "\($0.identity()) \($0.weighingIdentity())") }
  }

  /// A result with the scores beside this teacher; nil where it has them.
  ///
  /// - Parameter place: where the training's files are
  func scored(_ result: TrainingResult, of job: TrainingJob, in place: JobFolder) throws -> TrainingResult? {
    guard var test = result.test else { return nil }
    let isBare = test.agreement == nil && test.teacherDivergence == nil
    guard result.besideTeacher != identity || (identity == nil && !isBare) else { return nil }
    var scored = result
    scored.besideTeacher = identity
    let own = try identity == nil ? nil : metrics(of: job, in: place)
    (test.agreement, test.teacherDivergence) = (own?.agreement, own?.teacherDivergence)
    scored.test = test
    return scored
  }

  private func metrics(of job: TrainingJob, in place: JobFolder) throws -> Metrics {
    let set = try materials.evaluationSet(materials.test, device: device, channelsLast: channelsLast)
    guard !materials.test.predictsTokens else {
      // Of texts nothing but the student was kept.
      let (student, _) = try ModelFolder(place.model).load()
      try student.move(to: device)
      return try set.tokenMetrics(of: student, teacher: teacher?.makeTeacher())
    }
    guard let logits = try Checkpoint.read(place.testLogits).tensors.first?.tensor else {
      throw RunError("\(place.testLogits) is empty", kind: .failure)
    }
    return try Metrics(logits: logits, labels: set.labels, teacherLogits: teacherLogits(set))
  }

  private func teacherLogits(_ set: EvaluationSet) throws -> Tensor? {
    if known == nil, let teacher {
      known = try set.logits(of: teacher.makeTeacher()).finiteOutputs(of: teacher.name)
    }
    return known
  }
}
