import DistillData
import Torch
import TorchNN

/// What a student is trained to do: a weighted sum of terms.
public struct Objective {
  /// A term with its weight, and the part of the training in which it is active.
  public struct Entry {
    public var term: any Term
    public var weight: Ramp
    /// When the term begins to count.
    public var start: Moment
    /// When it no longer counts; nil: it does to the end.
    public var end: Moment?
    /// Whom the term sees: all of the teacher, or one of an ensemble's members, whose layers it can tap then.
    public var teacher: TeacherChoice

    public init(
      _ term: any Term, weight: Ramp = 1, start: Moment = 0, end: Moment? = nil, teacher: TeacherChoice = .all
    ) {
      self.term = term
      self.weight = weight
      self.start = start
      self.end = end
      self.teacher = teacher
    }

    func isActive(at position: TrainingPosition) -> Bool {
      start.isReached(at: position) && !(end?.isReached(at: position) ?? false)
    }
  }

  /// A term's share of a step.
  public struct Part {
    public var name: String
    public var weight: Double
    public var count: Int
    private let givenSum: Tensor

    /// - Parameters:
    ///   - sum: the sum of the loss over the examples of this batch that count
    ///   - count: how many these are
    public init(name: String, weight: Double, sum: Tensor, count: Int) {
      self.name = name
      self.weight = weight
      self.count = count
      givenSum = sum
    }

    /// The sum of the loss over the examples of this batch that count, detached.
    public var sum: Tensor { get throws { try givenSum.detached() } }
  }

  /// What is optimized, and what it is made of.
  public struct Value {
    /// Σ weight · sum / the step's count.
    public var total: Tensor
    public var parts: [Part]
    /// What each part adds to the total, `[parts]` in float64, detached.
    public var shares: Tensor
  }

  public let entries: [Entry]

  /// - Throws: `DistillationError` when there is no term.
  public init(_ entries: [Entry]) throws {
    guard !entries.isEmpty else { throw DistillationError("an objective needs at least one term") }
    self.entries = entries
  }

  /// The paper's weighted average: α · soft targets + (1 − α) · hard labels.
  public static func weightedAverage(alpha: Double, temperature: Ramp) throws -> Objective {
    guard (0...1).contains(alpha) else { throw DistillationError("α must lie between 0 and 1, not \(alpha)") }
    return try Objective([
      Entry(try SoftTargets(temperature: temperature), weight: Ramp(alpha)),
      Entry(try HardLabels(), weight: Ramp(1 - alpha)),
    ])
  }

  public var needsTeacher: Bool { entries.contains { $0.term.needsTeacher } }
  public var studentTaps: [Tap] { entries.flatMap(\.term.studentTaps) }
  /// The activations that are wanted of the teacher, or of any of its members.
  public var teacherTaps: [Tap] { entries.flatMap(\.term.teacherTaps) }

  /// The transformed copies of the inputs that terms want to see, each once.
  public var transformations: Set<InputTransformation> { Set(entries.flatMap(\.term.transformations)) }

  /// Whether the teacher has to run at every step, as some term looks at more than its logits for the plain inputs.
  public var needsLiveTeacher: Bool { !teacherTaps.isEmpty || (needsTeacher && !transformations.isEmpty) }

  /// The batch that student and teacher run on: with the transformed copies that the terms want to see, which
  /// `evaluate` parts from it again. The very batch where no term wants any.
  ///
  /// - Parameter position: where the training stands; nil: all terms count
  /// - Throws: `DistillationError` when the inputs do not suit a transformation.
  public func withCopies(_ batch: Batch, at position: TrainingPosition? = nil) throws -> Batch {
    try batch.withCopies(for: entries, at: position)
  }

  /// What the teacher says of a batch, with what the terms want of it and of its members; nil where no term needs one.
  ///
  /// - Throws: `DistillationError` when a term chose a member that is not there.
  public func trace(_ teacher: (any Teacher)?, _ batch: Batch) throws -> TeacherTrace? {
    guard needsTeacher, let teacher else { return nil }
    var taps: [Tap] = []
    var memberTaps: [Int: [Tap]] = [:]
    for entry in entries where !entry.term.teacherTaps.isEmpty {
      if let member = try entry.teacher.index(among: teacher.memberNames) {
        memberTaps[member, default: []] += entry.term.teacherTaps
      } else {
        taps += entry.term.teacherTaps
      }
    }
    return memberTaps.isEmpty
      ? try teacher.trace(batch, taps: taps) : try teacher.trace(batch, taps: taps, memberTaps: memberTaps)
  }

  /// Makes sure that the members that terms chose are there.
  ///
  /// - Throws: `DistillationError` when one is not.
  public func requireMembers(of teacher: (any Teacher)?) throws {
    for entry in entries where entry.term.needsTeacher {
      _ = try entry.teacher.index(among: teacher?.memberNames ?? [])
    }
  }

  /// The trainable tensors of all terms: for the optimizer.
  public var adapters: [NamedTensor] { named(\.namedParameters) }

  /// All tensors of the terms, running statistics and memories too: for the checkpoint.
  var adapterState: [NamedTensor] { named(\.state) }

  private func named(_ tensors: (any Module) -> [NamedTensor]) -> [NamedTensor] {
    entries.enumerated().flatMap { index, entry in
      entry.term.adapter.map(tensors)?.map { NamedTensor(name: "terms.\(index).\($0.name)", tensor: $0.tensor) } ?? []
    }
  }

  /// Makes the terms' adapters, whose shapes are those that student and teacher give for `batch`. Called once, before
  /// the optimizer is made; without terms that look at layers or parameters it does nothing.
  ///
  /// - Parameter seed: of the adapters' first values; each term has a random stream of its own
  /// - Throws: `TapError` when a tap matches no module, `DistillationError` when the layers do not fit together.
  public func prepare(student: any Layer, teacher: (any Teacher)?, batch: Batch, seed: UInt64) throws {
    guard entries.contains(where: { !$0.term.seesTokens || $0.term.needsParameters }) else { return }
    student.eval()
    defer { student.train() }
    try withoutGradient {
      let batch = try withCopies(batch)
      var first = try TermInput(
        parting: student.trace(batch.inputs, taps: studentTaps), trace(teacher, batch), batch)
      first.parameters = student.namedParameters
      let byToken = try first.byToken()
      for (index, entry) in entries.enumerated() {
        try withRandomStream(try RandomStream(seed: seed, name: "terms.\(index)")) {
          try entry.term.prepare((entry.term.seesTokens ? byToken : first).choosing(entry.teacher))
        }
        try entry.term.adapter?.move(to: batch.inputs.device)
        entry.term.adapter?.train()
      }
    }
  }

  /// The number of examples that count for each term in a whole step; of tokens, for a term on the outputs of sequences.
  public func counts(_ batches: [Batch]) -> [Int] {
    let byToken = batches.map(\.byToken)
    return entries.map { entry in
      (entry.term.seesTokens ? byToken : batches).reduce(0) { $0 + entry.term.count($1) }
    }
  }

  /// The objective on one batch of a step: on what student and teacher gave for `withCopies` of it, where terms want any.
  ///
  /// - Parameter counts: the examples that count for each term in the whole step; this batch's if nil
  /// - Returns: nil when nothing in the batch counts for any active term
  public func evaluate(
    student: Trace, teacher: TeacherTrace?, batch: Batch, position: TrainingPosition = .start, counts: [Int]? = nil
  ) throws -> Value? {
    let input = try TermInput(parting: student, teacher, batch, progress: position.progress)
    let counts = counts ?? self.counts([input.batch])
    return try withoutAutocast(on: student.output.device) {
      let byToken = try input.byToken()
      var parts: [Part] = []
      var sums: [Tensor] = []
      var weights: [Double] = []
      for (entry, count) in zip(entries, counts) where entry.isActive(at: position) {
        let input = try (entry.term.seesTokens ? byToken : input).choosing(entry.teacher)
        let here = entry.term.count(input.batch)
        let weight = entry.weight.value(at: position.progress)
        guard here > 0, weight != 0 else { continue }
        let sum = try entry.term.sum(input)
        sums.append(sum)
        weights.append(weight / Double(count))
        parts.append(Part(name: entry.term.name, weight: weight, sum: sum, count: here))
      }
      guard !parts.isEmpty else { return nil }
      let (total, shares) = try Tensor.weightedSum(sums, weights: weights)
      return Value(total: total, parts: parts, shares: shares)
    }
  }
}

/// Which part of the teacher a term sees.
public enum TeacherChoice: Sendable, Equatable {
  /// All of it: of an ensemble the average.
  case all
  /// One member of an ensemble, by its number.
  case member(Int)
  /// One member of an ensemble, by its name.
  case named(String)

  /// The number of the member; nil: all of the teacher.
  ///
  /// - Throws: `DistillationError` that lists the members when there is no such one.
  func index(among names: [String]) throws -> Int? {
    switch self {
    case .all: return nil
    case .member(let index):
      if names.indices.contains(index) { return index }
    case .named(let name):
      if let index = names.firstIndex(of: name) { return index }
    }
    guard !names.isEmpty else {
      throw DistillationError("a term is to learn from \(self), but the teacher has no members to choose from")
    }
    throw DistillationError(
      "a term is to learn from \(self), but the teacher's members are \(names.joined(separator: ", "))")
  }
}

extension TeacherChoice: CustomStringConvertible {
  public var description: String {
    switch self {
    case .all: "the whole teacher"
    case .member(let index): "member \(index)"
    case .named(let name): "member '\(name)'"
    }
  }
}

extension TermInput {
  /// What a term sees that learns from a part of the teacher.
  fileprivate func choosing(_ choice: TeacherChoice) throws -> TermInput {
    guard let teacher, choice != .all, let index = try choice.index(among: teacher.memberNames) else { return self }
    var input = self
    input.teacher = teacher.memberTraces[index]
    input.transformed = transformed.mapValues {
      TransformedInput(student: $0.student, teacher: $0.teacher?.memberTraces[index])
    }
    return input
  }
}

/// Where a training stands.
public struct TrainingPosition: Sendable {
  /// In epochs, with fractions.
  public var epoch: Double
  /// In steps of the optimizer.
  public var step: Int
  /// 0 at the start, 1 at the end.
  public var progress: Double

  public init(epoch: Double, step: Int = 0, progress: Double) {
    self.epoch = epoch
    self.step = step
    self.progress = progress
  }

  public static let start = TrainingPosition(epoch: 0, progress: 0)
}
