import DistillData
import Foundation
import Torch
import TorchNN

/// A generalist and specialists that teach as one, each specialist in some classes that are easily taken for each other.
///
/// For each example
///
/// 1. the `candidates` classes that the generalist finds likeliest are looked up;
/// 2. the specialists one of whose classes is among them are asked;
/// 3. the answer is the distribution q over all classes that fits best to what all of them say; see
///    `combinedPredictions`.
///
/// Where no specialist is asked, q is what the generalist says. The teacher's logits are log q, which terms soften as any
/// other's. It has no layers to tap.
///
/// ## Reference
/// Hinton, Vinyals, Dean: Distilling the Knowledge in a Neural Network. arXiv:1503.02531, section 5.3.
public final class SpecialistTeacher: Teacher {
  /// A model that knows some classes well.
  public struct Specialist {
    public var teacher: any Teacher
    public var classes: SpecialistClasses
    /// What is added to the dustbin's logit; see `SpecialistClasses.dustbinCorrection`.
    public var dustbinCorrection: Double

    public init(_ teacher: any Teacher, classes: SpecialistClasses, dustbinCorrection: Double = 0) {
      self.teacher = teacher
      self.classes = classes
      self.dustbinCorrection = dustbinCorrection
    }
  }

  private let generalist: any Teacher
  private let specialists: [Specialist]
  private let candidates: Int
  private let steps: Int

  /// - Parameters:
  ///   - generalist: knows all classes
  ///   - candidates: how many of the likeliest classes decide who is asked; the paper's is 1
  ///   - steps: of the search for q; see `combinedPredictions`
  /// - Throws: `DistillationError` when a number makes no sense, or a correction is not finite.
  public init(generalist: any Teacher, specialists: [Specialist], candidates: Int = 1, steps: Int = 50) throws {
    guard candidates > 0, steps > 0 else {
      throw DistillationError("specialists need at least one candidate class and one step")
    }
    guard specialists.allSatisfy({ $0.dustbinCorrection.isFinite }) else {
      throw DistillationError("the correction of a dustbin must be a finite number")
    }
    guard Set(specialists.map(\.classes.subset.classCount)).count <= 1 else {
      throw DistillationError("the specialists are for data with different numbers of classes")
    }
    self.generalist = generalist
    self.specialists = specialists
    self.candidates = candidates
    self.steps = steps
  }

  public func requireFit(_ loader: DataLoader) throws {
    try generalist.requireFit(loader)
    for specialist in specialists { try specialist.teacher.requireFit(loader) }
  }

  public func trace(_ batch: Batch, taps: [Tap]) throws -> TeacherTrace {
    guard taps.isEmpty else {
      throw DistillationError("a generalist with specialists has no layers in common to tap")
    }
    return try withoutGradient {
      let general = try generalist.trace(batch).logSoftTargets(temperature: 1)
      let classCount = try general.size(-1)
      let likeliest = try general.topK(min(candidates, classCount)).indices
      let said = try specialists.map { specialist in
        guard specialist.classes.subset.classCount == classCount else {
          throw DistillationError(
            "the generalist knows \(classCount) classes, and a specialist is for data with "
              + "\(specialist.classes.subset.classCount)")
        }
        let logits = try specialist.teacher.trace(batch).logits().to(.float32)
        guard try logits.size(-1) == specialist.classes.outputCount else {
          throw DistillationError(
            "a specialist in \(specialist.classes.dustbin) classes has \(specialist.classes.outputCount) outputs with "
              + "the dustbin, not \(try logits.size(-1))")
        }
        var correction = [Float](repeating: 0, count: specialist.classes.outputCount)
        correction[specialist.classes.dustbin] = Float(specialist.dustbinCorrection)
        let corrected = try logits + Tensor(correction).to(logits.device)
        // 1 for each special class, summed over the candidates: above 0 where one of them is special.
        let special = try specialist.classes.subset.spread(
          Tensor.ones([1, specialist.classes.dustbin], device: general.device))
        let isAsked = try special.broadcast(to: general.shape).picked(likeliest, along: -1).sum(along: -1)
          .isGreater(than: 0)
        return SpecialistPrediction(
          classes: specialist.classes, logProbabilities: try corrected.logSoftmax(), isAsked: isAsked)
      }
      let rows = try combinedPredictions(generalist: general, specialists: said, steps: steps)
      return TeacherTrace(logits: rows)
    }
  }

  public func trainingWillStart(student: any Layer, step: Int) throws {
    for teacher in all { try teacher.trainingWillStart(student: student, step: step) }
  }

  public func studentDidStep(_ student: any Layer, step: Int) throws {
    for teacher in all { try teacher.studentDidStep(student, step: step) }
  }

  public var trainingState: [NamedTensor] {
    all.enumerated().flatMap { index, teacher in
      teacher.trainingState.map { NamedTensor(name: "\(index).\($0.name)", tensor: $0.tensor) }
    }
  }

  private var all: [any Teacher] { [generalist] + specialists.map(\.teacher) }
}

/// What a specialist says of a batch.
public struct SpecialistPrediction {
  public var classes: SpecialistClasses
  /// log p, `[N, K + 1]`, the dustbin last.
  public var logProbabilities: Tensor
  /// Whether it is asked about each example, `[N]`, bool.
  public var isAsked: Tensor

  public init(classes: SpecialistClasses, logProbabilities: Tensor, isAsked: Tensor) {
    self.classes = classes
    self.logProbabilities = logProbabilities
    self.isAsked = isAsked
  }
}

/// log q, `[N, C]`, of the distribution that fits best to a generalist and the specialists that are asked: the minimum of
///
///     F(q) = KL(p_g ‖ q) + Σ over asked m of KL(p_m ‖ q_m)
///
/// where q_m is q with all classes of m's dustbin put together.
///
/// There is no closed form in general. The paper takes steps down the gradient by the logits of q, which is
/// q − q⁺ but for a factor, with
///
///     q⁺ = (p_g + Σ t_m) / (1 + A),   t_m(c) = p_m(c) for m's classes, p_m(dustbin) · q(c) / q(dustbin) for the others
///
/// and A the number of those asked. Here each step goes to q⁺ at once. That is a step of expectation maximization, with the
/// classes in the dustbins as what is hidden: no step makes F larger, F is convex and has one minimum, and there is no
/// learning rate to choose. With one specialist the first step arrives: q(c) = ½ (p_g(c) + p_m(c)) for its classes, and
/// the others share ½ (p_g(dustbin) + p_m(dustbin)) as the generalist says. With more of them, whose classes overlap, it
/// takes longer; 50 steps are plenty for a few.
///
/// Computed in float32 and log space. It starts from p_g.
///
/// - Parameters:
///   - generalist: log p_g, `[N, C]`
///   - steps: at least 1
/// - Throws: `DistillationError` when shapes do not fit.
public func combinedPredictions(
  generalist: Tensor, specialists: [SpecialistPrediction], steps: Int = 50
) throws -> Tensor {
  let shape = generalist.shape
  guard shape.count == 2, steps > 0 else {
    throw DistillationError("the generalist's logits must be [examples, classes], not \(shape)")
  }
  for specialist in specialists {
    guard specialist.classes.subset.classCount == shape[1], specialist.isAsked.shape == [shape[0]],
      specialist.logProbabilities.shape == [shape[0], specialist.classes.outputCount]
    else {
      throw DistillationError(
        "a specialist's predictions \(specialist.logProbabilities.shape) do not fit the generalist's \(shape)")
    }
  }
  guard !specialists.isEmpty else { return generalist }
  return try withoutGradient {
    let general = try generalist.to(.float32).logSoftmax()
    var asked = try Tensor.zeros([shape[0], 1], device: generalist.device)
    let prepared = try specialists.map { specialist in
      let isAsked = try specialist.isAsked.to(.float32).expandedDimension(at: 1)
      asked = try asked + isAsked
      return try PreparedSpecialist(specialist, isAsked: isAsked)
    }
    let logTotal = try (asked + 1).logarithm()
    var result = general
    for _ in 0..<steps {
      let parts = try prepared.map { try $0.target(result) }
      result = try Tensor.stacked([general] + parts).logSumExp(along: 0) - logTotal
    }
    return result
  }
}

/// A specialist's prediction spread over all classes.
private struct PreparedSpecialist {
  /// log p_m(c) for its classes, log p_m(dustbin) for the others; −∞ where it is not asked: `[N, C]`.
  let logProbabilities: Tensor
  /// True for classes in the dustbin: `[1, C]`.
  let isOther: Tensor

  init(_ specialist: SpecialistPrediction, isAsked: Tensor) throws {
    let subset = specialist.classes.subset
    var places = [Int](repeating: specialist.classes.dustbin, count: subset.classCount)
    for (output, index) in subset.classes.enumerated() { places[index] = output }
    let logs = try specialist.logProbabilities.to(.float32)
    logProbabilities = try logs.gathered(Tensor(places).to(logs.device), along: 1) + isAsked.logarithm()
    let others = places.map { $0 == specialist.classes.dustbin ? Float(1) : 0 }
    isOther = try Tensor(others, shape: [1, subset.classCount]).to(logs.device).to(.bool)
  }

  /// log t_m, `[N, C]`.
  func target(_ logResult: Tensor) throws -> Tensor {
    let others = try logResult.masked(where: isOther.not(), with: -.infinity)
    let share = try logResult - others.logSumExp(along: 1, keepDimensions: true)
    return try logProbabilities + share.masked(where: isOther.not(), with: 0)
  }
}
