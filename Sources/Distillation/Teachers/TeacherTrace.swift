import Foundation
import Torch
import TorchNN

/// What a teacher said of a batch: the logits of each of its members, how they are to be averaged, and activations.
public struct TeacherTrace {
  /// The logits of each member, `[N, C]`; one for a single teacher. A member that knows some of the classes only has
  /// `[N, K]`; see `memberClasses`. One of which a part was kept has that part; see `memberKept`.
  public var memberLogits: [Tensor]
  /// The weight of each member; they sum to 1.
  public var memberWeights: [Double]
  public var average: EnsembleAverage
  /// Whether the weights are those, or others for each example.
  public var weighting: MemberWeighting
  /// For each member what its logits stand for; nil: all classes, in order.
  public var memberClasses: [ClassSubset?]
  public var activations: [Tap: Tensor]
  /// For each member what its logits are a part of, where not all were kept; nil: they are all there.
  public internal(set) var memberKept: [KeptLogits?]
  /// What each member said on its own, where terms can choose among members: `memberLogits` are theirs, one after the
  /// other.
  public internal(set) var memberTraces: [TeacherTrace] = []
  public internal(set) var memberNames: [String] = []
  /// The weights that the members had before their logits were changed: `[M, ..., 1]`.
  private var keptWeights: Tensor?

  public init(
    memberLogits: [Tensor], memberWeights: [Double], average: EnsembleAverage, weighting: MemberWeighting = .fixed,
    memberClasses: [ClassSubset?]? = nil, activations: [Tap: Tensor] = [:]
  ) {
    self.memberLogits = memberLogits
    self.memberWeights = memberWeights
    self.average = average
    self.weighting = weighting
    self.memberClasses = memberClasses ?? memberLogits.map { _ in nil }
    self.activations = activations
    memberKept = memberLogits.map { _ in nil }
  }

  /// The trace of a single teacher.
  public init(logits: Tensor, activations: [Tap: Tensor] = [:]) {
    self.init(memberLogits: [logits], memberWeights: [1], average: .logits, activations: activations)
  }

  /// - Throws: `TapError` when nothing was recorded there.
  public func activation(at tap: Tap) throws -> Tensor {
    guard let tensor = activations[tap] else {
      throw TapError(path: tap.path, suggestions: closest(to: tap.path, in: activations.keys.map(\.path)))
    }
    return tensor
  }

  /// This trace with other logits of the members, in their order: of all, and of the members on their own.
  ///
  /// - Throws: `DistillationError` when there are not as many.
  public func replacingLogits(_ logits: [Tensor]) throws -> TeacherTrace {
    try replacingLogits(logits, kept: logits.map { _ in nil })
  }

  func replacingLogits(_ logits: [Tensor], kept: [KeptLogits?]) throws -> TeacherTrace {
    guard logits.count == memberLogits.count, kept.count == logits.count else {
      throw DistillationError("\(logits.count) logits cannot take the place of those of \(memberLogits.count) members")
    }
    var trace = self
    trace.memberLogits = logits
    trace.memberKept = kept
    var place = 0
    for index in memberTraces.indices {
      let part = place..<place + memberTraces[index].memberLogits.count
      trace.memberTraces[index] = try memberTraces[index].replacingLogits(Array(logits[part]), kept: Array(kept[part]))
      place = part.upperBound
    }
    return trace
  }

  /// This trace with other rows of all that was said of outputs, such as those of the tokens that count.
  func mappingRows(_ select: (Tensor) throws -> Tensor) throws -> TeacherTrace {
    try replacingLogits(memberLogits.map(select), kept: memberKept.map { try $0?.mappingRows(select) })
  }

  /// What was said of some of the examples.
  ///
  /// - Parameter total: how many examples there are
  /// - Throws: `DistillationError` when there is no row for each.
  func part(_ range: Range<Int>, of total: Int) throws -> TeacherTrace {
    var trace = self
    trace.memberLogits = try memberLogits.map { try rowsOf($0, range, of: total, "the teacher's output") }
    trace.memberKept = try memberKept.map { try $0?.mappingRows { try rowsOf($0, range, of: total, "what was kept") } }
    trace.activations = try activations.parts(range, of: total, "the teacher")
    trace.memberTraces = try memberTraces.map { try $0.part(range, of: total) }
    if let keptWeights, try keptWeights.size(1) == total {
      trace.keptWeights = try keptWeights.sliced(1, from: range.lowerBound, to: range.upperBound)
    }
    return trace
  }

  /// This trace with each member's logits transformed, such as standardized; how sure each member is, and so its weight,
  /// stays what it was.
  ///
  /// - Throws: `DistillationError` where a part of the logits was kept only.
  public func mappingLogits(_ transform: (Tensor) throws -> Tensor) throws -> TeacherTrace {
    if let kept = memberKept.compactMap(\.self).first {
      throw kept.refusal(of: "what changes the teacher's logits, such as noise or standardizing, needs all of them")
    }
    return try keepingWeights().replacingLogits(memberLogits.map(transform))
  }

  private func keepingWeights() throws -> TeacherTrace {
    var trace = self
    if trace.keptWeights == nil, case .confidence = weighting { trace.keptWeights = try exampleWeights() }
    trace.memberTraces = try memberTraces.map { try $0.keepingWeights() }
    return trace
  }

  // MARK: The average

  /// The logarithms of the soft targets at a temperature, `[N, C]`, in float32.
  ///
  /// For one member log softmax(v / T); for several their average as `EnsembleAverage` says, taken at that temperature.
  /// Where some know a part of the classes only, the average for a class is over the members that know it, their weights
  /// scaled to sum to 1, and the result is made to sum to 1 over the classes.
  ///
  /// Of a member of which the likeliest classes were kept, the mass of the others is spread evenly over them.
  ///
  /// - Throws: `DistillationError` when there is a class that no member knows, or what was kept does not say enough for
  ///   this temperature.
  public func logSoftTargets(temperature: Double) throws -> Tensor {
    let scaled = try denseLogits(at: temperature).map { try $0.to(.float32) * (1 / temperature) }
    if scaled.count == 1, memberClasses[0] == nil { return try scaled[0].logSoftmax() }
    if isPlain {
      switch average {
      case .arithmetic:
        let shifted = try zip(scaled, memberWeights).map { try $0.logSoftmax() + Foundation.log($1) }
        return try Tensor.stacked(shifted).logSumExp(along: 0)
      case .geometric, .logits: return try weightedSum(scaled).logSoftmax()
      }
    }
    let weights = try classWeights()
    switch average {
    case .arithmetic:
      let logProbabilities = try spread(scaled.map { try $0.logSoftmax() })
      return try (logProbabilities + weights.logarithm()).logSumExp(along: 0).logSoftmax()
    case .geometric: return try (spread(scaled.map { try $0.logSoftmax() }) * weights).sum(along: 0).logSoftmax()
    case .logits: return try (spread(centered(scaled)) * weights).sum(along: 0).logSoftmax()
    }
  }

  /// The logits of a teacher that is one model which knows all classes, and whose logits were all kept; nil otherwise.
  public var plainLogits: Tensor? {
    memberLogits.count == 1 && memberClasses[0] == nil && memberKept[0] == nil ? memberLogits[0] : nil
  }

  /// One logit per class, `[N, C]`, in float32: what logit matching compares with.
  ///
  /// For the arithmetic mean the logarithm of the mean probability; for the geometric mean the weighted mean of the log
  /// probabilities; for the mean of logits just that. Where some members know a part of the classes only, it is over those
  /// that know the class; logits are moved to mean zero over the classes that a member knows first, as their level says
  /// nothing that could be compared.
  ///
  /// - Throws: `DistillationError` when there is a class that no member knows, or not all logits were kept.
  public func logits() throws -> Tensor {
    if let kept = memberKept.compactMap(\.self).first(where: { !$0.isComplete }) {
      throw kept.refusal(of: "a comparison of the logits of all classes needs all of them")
    }
    let members = try denseLogits(at: 1).map { try $0.to(.float32) }
    if members.count == 1, memberClasses[0] == nil { return members[0] }
    if average == .arithmetic { return try logSoftTargets(temperature: 1) }
    let values = average == .geometric ? try members.map { try $0.logSoftmax() } : members
    if isPlain { return try weightedSum(values) }
    let comparable = average == .logits ? try centered(values) : values
    return try (spread(comparable) * classWeights()).sum(along: 0)
  }

  /// The weight of each member for each example: `[M, N]`, float32; their sum over the members is 1.
  public func weightsOfExamples() throws -> Tensor {
    let weights = try exampleWeights().squeezed(-1)
    guard let shape = memberLogits.first?.shape.dropLast() else { return weights }
    return try weights.broadcast(to: [memberLogits.count] + shape)
  }

  /// Whether all members know all classes, and have one weight for all examples.
  private var isPlain: Bool { weighting == .fixed && memberClasses.allSatisfy { $0 == nil } }

  private func weightedSum(_ members: [Tensor]) throws -> Tensor {
    let weighted = try zip(members, memberWeights).map { try $0 * $1 }
    return try Tensor.stacked(weighted).sum(along: 0)
  }

  /// The members' weights: `[M, ..., 1]`, or `[M, 1, ..., 1]` where they are the same for all examples.
  private func exampleWeights() throws -> Tensor {
    if let keptWeights { return keptWeights }
    let device = memberLogits.first?.device ?? .cpu
    let rank = memberLogits.first?.rank ?? 2
    let ones = [Int](repeating: 1, count: rank)
    let fixed = try Tensor(memberWeights.map(Float.init), shape: [memberWeights.count] + ones).to(device)
    guard case .confidence(let sharpness) = weighting else { return fixed }
    let entropies = try denseLogits(at: 1).map { logits in
      let logProbabilities = try logits.to(.float32).logSoftmax()
      return try -(logProbabilities.exponential() * logProbabilities).sum(along: -1, keepDimensions: true)
    }
    return try (fixed.logarithm() - Tensor.stacked(entropies) * sharpness).softmax(along: 0)
  }

  /// The members' weights for each class, 0 where a member does not know it, with sum 1 over the members:
  /// `[M, ..., C]`, with sizes of 1 where they are the same.
  private func classWeights() throws -> Tensor {
    let weights = try exampleWeights()
    guard memberClasses.contains(where: { $0 != nil }) else { return weights }
    let count = try classCount()
    var known: [Float] = []
    for classes in memberClasses {
      let own = classes.map { Set($0.classes) }
      known += (0..<count).map { own?.contains($0) ?? true ? 1 : 0 }
    }
    for index in 0..<count where !memberClasses.indices.contains(where: { known[$0 * count + index] == 1 }) {
      throw DistillationError("no member of the ensemble knows class \(index): add one that does, or leave it out")
    }
    let ones = [Int](repeating: 1, count: memberLogits[0].rank - 1)
    let mask = try Tensor(known, shape: [memberClasses.count] + ones + [count]).to(weights.device)
    // The largest weight of those that know the class is 1, so that members whose weights vanish do not divide 0 by 0.
    let logs = try (weights + 1e-37).logarithm() + mask.logarithm()
    return try logs.softmax(along: 0)
  }

  /// Logits of all classes that a member knows, which give its probabilities at this temperature.
  private func denseLogits(at temperature: Double) throws -> [Tensor] {
    guard memberKept.contains(where: { $0 != nil }) else { return memberLogits }
    return try zip(memberLogits, memberKept).map { try $1?.dense($0, temperature: temperature) ?? $0 }
  }

  /// The number of classes of the data.
  func classCount() throws -> Int {
    var counts: [Int] = []
    for index in memberLogits.indices {
      counts.append(
        try memberClasses[index]?.classCount ?? memberKept[index]?.classCount ?? memberLogits[index].size(-1))
    }
    guard let first = counts.first, counts.allSatisfy({ $0 == first }) else {
      throw DistillationError("the ensemble's members are of data with different numbers of classes: \(counts)")
    }
    return first
  }

  /// Each member's numbers `[..., K]` put where their classes are, 0 elsewhere: `[M, ..., C]`.
  private func spread(_ members: [Tensor]) throws -> Tensor {
    try Tensor.stacked(
      zip(members, memberClasses).map { values, classes in try classes.map { try $0.spread(values) } ?? values })
  }

  private func centered(_ members: [Tensor]) throws -> [Tensor] {
    guard memberClasses.contains(where: { $0 != nil }) else { return members }
    return try members.map { try $0 - $0.mean(along: -1, keepDimensions: true) }
  }
}

/// Some of the classes of the data, in the order in which a model gives them.
public struct ClassSubset: Sendable, Hashable {
  /// The class of each output.
  public let classes: [Int]
  /// The number of classes of the data.
  public let classCount: Int

  /// - Throws: `DistillationError` when a class does not exist, or stands there twice.
  public init(_ classes: [Int], of classCount: Int) throws {
    guard !classes.isEmpty else { throw DistillationError("a subset of the classes needs at least one") }
    if let wrong = classes.first(where: { $0 < 0 || $0 >= classCount }) {
      throw DistillationError("class \(wrong) is none of the \(classCount) classes of the data")
    }
    guard Set(classes).count == classes.count else {
      throw DistillationError("a class stands twice in the subset \(classes)")
    }
    self.classes = classes
    self.classCount = classCount
  }

  /// Numbers `[..., K]` of these classes put in their places, with 0 for the other classes: `[..., C]`.
  public func spread(_ values: Tensor) throws -> Tensor {
    guard try values.size(-1) == classes.count else {
      throw DistillationError("\(values.shape) has no number for each of the \(classes.count) classes of the subset")
    }
    var places = [Int](repeating: classes.count, count: classCount)
    for (output, index) in classes.enumerated() { places[index] = output }
    return try values.padded([0, 1]).gathered(Tensor(places).to(values.device), along: -1)
  }

  /// The numbers `[..., K]` of these classes among those of all, `[..., C]`.
  public func pick(_ values: Tensor) throws -> Tensor {
    guard try values.size(-1) == classCount else {
      throw DistillationError("\(values.shape) has no number for each of the \(classCount) classes")
    }
    return try values.gathered(Tensor(classes).to(values.device), along: -1)
  }
}
