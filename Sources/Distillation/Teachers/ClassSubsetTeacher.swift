import DistillData
import Torch
import TorchNN

/// A teacher that knows some of the classes only: trained on a part of them, or on other data that shares some.
///
/// Each of its outputs is a class of the data or none. Outputs that are none are left out, and its probabilities are over
/// the classes that remain. In an `EnsembleTeacher` it has no say about the classes that it does not know: their average is
/// over the members that know them; see `TeacherTrace.logSoftTargets(temperature:)`. It spreads all of its probability
/// over its own classes even for an example of another one; `SpecialistTeacher` is for members that can tell.
public final class ClassSubsetTeacher: Teacher {
  private let teacher: any Teacher
  private let subset: ClassSubset
  /// The outputs that are classes; nil: all are.
  private let outputs: [Int]?
  private let outputCount: Int

  /// - Parameters:
  ///   - outputs: the class of each of the teacher's outputs; nil for an output that is no class of the data
  ///   - classCount: the number of classes of the data
  /// - Throws: `DistillationError` when the classes do not exist or stand there twice, or there is none.
  public init(_ teacher: any Teacher, outputs: [Int?], of classCount: Int) throws {
    self.teacher = teacher
    subset = try ClassSubset(outputs.compactMap(\.self), of: classCount)
    self.outputs = outputs.contains(nil) ? outputs.indices.filter { outputs[$0] != nil } : nil
    outputCount = outputs.count
  }

  public func requireFit(_ loader: DataLoader) throws { try teacher.requireFit(loader) }

  public func trace(_ batch: Batch, taps: [Tap]) throws -> TeacherTrace {
    let trace = try teacher.trace(batch, taps: taps)
    let logits = try withoutGradient { try trace.logits() }
    guard try logits.size(-1) == outputCount else {
      throw DistillationError(
        "classes were given for \(outputCount) outputs of a teacher that has \(try logits.size(-1))")
    }
    let known = try withoutGradient {
      try outputs.map { try logits.gathered(Tensor($0).to(logits.device), along: -1) } ?? logits
    }
    return TeacherTrace(
      memberLogits: [known], memberWeights: [1], average: .logits, memberClasses: [subset],
      activations: trace.activations)
  }

  public func trainingWillStart(student: any Layer, step: Int) throws {
    try teacher.trainingWillStart(student: student, step: step)
  }

  public func studentDidStep(_ student: any Layer, step: Int) throws {
    try teacher.studentDidStep(student, step: step)
  }

  public var trainingState: [NamedTensor] { teacher.trainingState }
}
