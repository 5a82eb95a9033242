import Torch

/// What a teacher's trace says beside its numbers, the same for all batches: how its members are weighed, which classes
/// they know, what they are called.
struct TraceTemplate: Codable, Equatable, Sendable {
  var weights: [Double]
  var average: EnsembleAverage
  /// Of `MemberWeighting.confidence`; nil: the weights are the same for all examples.
  var confidenceSharpness: Double?
  var classes: [ClassSubset?]
  var names: [String]
  /// What each member that a term can choose says on its own.
  var members: [TraceTemplate]

  private enum CodingKeys: String, CodingKey {
    case weights, average
    case confidenceSharpness = "confidence_sharpness"
    case classes, names, members
  }

  init(_ trace: TeacherTrace) {
    weights = trace.memberWeights
    average = trace.average
    if case .confidence(let sharpness) = trace.weighting { confidenceSharpness = sharpness }
    classes = trace.memberClasses
    names = trace.memberNames
    members = trace.memberTraces.map(TraceTemplate.init)
  }

  /// The trace with these logits, of which some may be a part of all.
  func trace(logits: [Tensor], kept: [KeptLogits?]) -> TeacherTrace {
    var trace = TeacherTrace(
      memberLogits: logits, memberWeights: weights, average: average,
      weighting: confidenceSharpness.map { .confidence(sharpness: $0) } ?? .fixed, memberClasses: classes)
    trace.memberKept = kept
    trace.memberNames = names
    var place = 0
    for member in members {
      let part = place..<place + member.weights.count
      trace.memberTraces.append(member.trace(logits: Array(logits[part]), kept: Array(kept[part])))
      place = part.upperBound
    }
    return trace
  }

  /// The same members, weighed in another way.
  ///
  /// - Throws: `DistillationError` when there is not a positive weight for each member.
  func weighing(_ weights: [Double], average: EnsembleAverage, weighting: MemberWeighting) throws -> TraceTemplate {
    let total = weights.reduce(0, +)
    guard weights.count == self.weights.count, weights.allSatisfy({ $0 > 0 }), total.isFinite else {
      throw DistillationError("\(self.weights.count) members need a positive weight each, not \(weights)")
    }
    var template = self
    template.weights = weights.map { $0 / total }
    template.average = average
    template.confidenceSharpness = nil
    if case .confidence(let sharpness) = weighting { template.confidenceSharpness = sharpness }
    return template
  }

  /// Whether it is one of so many members, as what was read from a file has to be.
  func fits(memberCount: Int, depth: Int = 0) -> Bool {
    let isValid =
      weights.count == memberCount && classes.count == memberCount && weights.allSatisfy { $0 > 0 && $0.isFinite }
      && names.count == members.count && depth < 8
    guard isValid else { return false }
    if members.isEmpty { return true }
    return members.map(\.weights.count).reduce(0, +) == memberCount
      && members.allSatisfy { $0.fits(memberCount: $0.weights.count, depth: depth + 1) }
  }
}

extension ClassSubset: Codable {
  private enum CodingKeys: String, CodingKey {
    case classes
    case classCount = "of"
  }

  public init(from decoder: any Decoder) throws {
    let values = try decoder.container(keyedBy: CodingKeys.self)
    try self.init(values.decode([Int].self, forKey: .classes), of: values.decode(Int.self, forKey: .classCount))
  }

  public func encode(to encoder: any Encoder) throws {
    var values = encoder.container(keyedBy: CodingKeys.self)
    try values.encode(classes, forKey: .classes)
    try values.encode(classCount, forKey: .classCount)
  }
}
