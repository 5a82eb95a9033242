import DistillData
import Distillation
import Torch
import TorchNN

extension Objective {
  /// What terms look at and models do not have, each with the term's place in the recipe and near matches.
  func missingPlaces(student: (any Layer)?, teachers: TeachingModels) -> [String] {
    func missing(_ taps: [Tap], in model: any Layer) -> (any Error)? {
      if let tap = taps.first, model is any OpaqueLayer {
        return RunError("'\(tap)': it is a model as a whole, whose layers cannot be looked at; learn from its outputs")
      }
      do {
        _ = try model.resolve(taps)
        return nil
      } catch { return error }
    }
    return entries.enumerated().flatMap { index, entry in
      let place = "terms[\(index)] (\(entry.term.name)) wants of the"
      let ofStudent = student.flatMap { missing(entry.term.studentTaps, in: $0) }.map { "\(place) student: \($0)" }
      let ofTeacher = teachers.models(for: entry.teacher).compactMap { missing(entry.term.teacherTaps, in: $0) }.map {
        "\(place) teacher: \($0)"
      }
      // A member alone says nothing about the classes that it does not know.
      let looksAtOutputs = entry.term.needsTeacher && entry.term.teacherTaps.isEmpty && entry.teacher != .all
      let isPartial = teachers.members(for: entry.teacher).contains { member in
        member.classes.map { Set($0.compactMap(\.self)).count < teachers.classCount } ?? false
      }
      let ofClasses =
        looksAtOutputs && isPartial
        ? "terms[\(index)] (\(entry.term.name)) chooses a member that does not know all classes: take its layers, or "
          + "learn from all members together" : nil
      return [ofStudent].compactMap(\.self) + ofTeacher + [ofClasses].compactMap(\.self)
    }
  }

  /// Makes sure that terms on layers find theirs and can compare them, before any time is spent on a training.
  ///
  /// - Throws: `RunError` with what is missing or does not fit.
  func requireFit(
    student: any Layer, teachers: TeachingModels, materials: Materials, device: Device
  ) throws {
    guard !needsTeacher || !teachers.models.isEmpty else { return }
    do { try requireMembers(of: try teachers.makeTeacher()) } catch let error as DistillationError {
      throw RunError("\(error)")
    }
    let missing = missingPlaces(student: student, teachers: teachers)
    guard missing.isEmpty else { throw RunError(missing.joined(separator: "; ")) }
    guard !studentTaps.isEmpty || !teacherTaps.isEmpty else { return }
    var options = DataLoader.Options(batchSize: 16)
    options.normalization = materials.normalization
    options.device = device
    let loader = try DataLoader(
      dataset: materials.train, examples: Array(materials.split.train.prefix(16)), options: options)
    for model in [student] + teachers.models { try model.move(to: device) }
    do {
      try prepare(
        student: student, teacher: teachers.makeTeacher(), batch: loader.batch(ids: loader.examples), seed: 0)
    } catch let error where error is DistillationError || error is TorchError {
      throw RunError("the terms do not fit student and teacher: \(error)")
    }
  }
}
