import DistillData
import Torch
import TorchNN

/// A teacher whose outputs were computed once, for every example and every augmented view of it, and are looked up by
/// example id afterwards, so that no order of the examples can bring the wrong row.
///
/// They are kept in memory, or in the mapped files of a `TeacherCache`, which gives its teacher by `makeTeacher()`.
public final class PrecomputedTeacher: Teacher {
  private let outputs: any StoredOutputs
  /// What else there is to say, the same for all batches: weights, names and classes of the members.
  private let template: TraceTemplate
  private let rows: ExampleRows
  private let views: Int
  /// What the teacher saw.
  private let inputs: InputIdentity
  private let dataName: String
  private let contentHash: () throws -> String

  /// Computes the logits of `teacher` for all examples of `loader`, in all its views, and keeps them in memory.
  ///
  /// - Parameters:
  ///   - views: how many views each example has; the loader must give the same pixels for a view each time. Where the
  ///     loader shows a teacher plain examples there is one, however many the student sees.
  ///   - progress: called after each batch with the part that is done; answers whether to go on
  /// - Throws: `Interrupted` when `progress` answers `.stop`.
  public init(
    computing teacher: any Teacher, over loader: DataLoader, views: Int = 1,
    progress: (Double) -> Answer = { _ in .continue }
  ) throws {
    guard views > 0 else { throw DistillationError("there must be at least one view to label, not \(views)") }
    let views = loader.teacherViews == 1 ? 1 : views
    let rows = ExampleRows(loader.examples.ascendingSet)
    var stored: [Tensor] = []
    var template: TraceTemplate?
    let total = Double(views * loader.batchCount)
    var done = 0.0
    for view in 0..<views {
      let batches = loader.batches(epoch: view)
      while let batch = try batches.next() {
        guard batch.teacherView == view else {
          throw DistillationError("the loader gave view \(batch.teacherView) where view \(view) was to be labelled")
        }
        let trace = try teacher.trace(batch)
        if template == nil {
          guard trace.memberKept.allSatisfy({ $0 == nil }) else {
            throw DistillationError("of the teacher's outputs a part was kept: they cannot be computed again from that")
          }
          template = TraceTemplate(trace)
          stored = try trace.memberLogits.map {
            try Tensor.zeros([views * rows.count] + $0.shape.dropFirst(), device: $0.device)
          }
        }
        let places = try OutputsInMemory.places(
          rows.rows(of: batch.ids), view: view, of: rows.count, device: batch.inputs.device)
        for (store, logits) in zip(stored, trace.memberLogits) {
          try store.copyRows(places, from: try logits.to(.float32))
        }
        done += 1
        if progress(done / total) == .stop { throw Interrupted() }
      }
    }
    guard let template else { throw DistillationError("there are no examples to label") }
    outputs = OutputsInMemory(stored, exampleCount: rows.count)
    self.template = template
    self.rows = rows
    self.views = views
    inputs = try loader.teacherInputs
    let dataset = loader.dataset
    dataName = dataset.name
    contentHash = { try dataset.contentHash }
  }

  /// What a cache holds.
  init(_ outputs: OutputsInShards, of cache: TeacherCache) {
    self.outputs = outputs
    template = cache.description.contents.structure
    rows = cache.rows
    let key = cache.key
    views = key.views
    inputs = key.inputs
    dataName = key.data.name
    contentHash = { key.data.contentHash }
  }

  private init(_ other: PrecomputedTeacher, template: TraceTemplate) {
    outputs = other.outputs
    rows = other.rows
    views = other.views
    inputs = other.inputs
    dataName = other.dataName
    contentHash = other.contentHash
    self.template = template
  }

  /// The same outputs, with the members of an ensemble weighed in another way: nothing is computed again, and what is
  /// stored is shared.
  ///
  /// - Parameters:
  ///   - weights: how much each member counts; they are scaled to sum to 1
  ///   - average, weighting: as of `EnsembleTeacher`
  /// - Throws: `DistillationError` when there is not a positive weight for each member.
  public func weighing(
    _ weights: [Double], average: EnsembleAverage, weighting: MemberWeighting = .fixed
  ) throws -> PrecomputedTeacher {
    PrecomputedTeacher(
      self, template: try template.weighing(weights, average: average, weighting: weighting))
  }

  public var memberNames: [String] { template.names }

  /// The layers that were kept.
  public var features: [CachedFeature] { outputs.features }

  public func requireFit(_ loader: DataLoader) throws {
    let differences = inputs.differences(from: try loader.teacherInputs)
    guard differences.isEmpty else {
      throw DistillationError(
        "the teacher's outputs were computed on other inputs than the training shows: "
          + differences.joined(separator: "; "))
    }
    guard let shown = loader.teacherViews, shown <= views else {
      throw DistillationError(
        "the teacher's outputs were computed for \(views) views of each example, and the training shows "
          + (loader.teacherViews.map { "\($0)" } ?? "a new one in each epoch"))
    }
    guard try loader.dataset.contentHash == contentHash() else {
      throw DistillationError(
        "the teacher's outputs were computed on other data than the training shows: \(dataName), not "
          + loader.dataset.name)
    }
    try rows.requireAll(loader.examples)
  }

  public func trace(_ batch: Batch, taps: [Tap]) throws -> TeacherTrace {
    try trace(batch, taps: taps, memberTaps: [:])
  }

  public func trace(_ batch: Batch, taps: [Tap], memberTaps: [Int: [Tap]]) throws -> TeacherTrace {
    guard !batch.isGenerated else {
      throw DistillationError("what a student writes cannot be labelled beforehand: the teacher needs to run live")
    }
    let tapped = try taps.map { ($0, try feature(at: $0, of: nil)) }
    var memberTapped: [Int: [(Tap, Int)]] = [:]
    for (member, taps) in memberTaps { memberTapped[member] = try taps.map { ($0, try feature(at: $0, of: member)) } }
    guard batch.copies.isEmpty else {
      throw DistillationError(
        "only outputs for the plain inputs were precomputed: terms that look at \(batch.copies[0]) need the teacher to "
          + "run live")
    }
    let (view, device) = (batch.teacherView, batch.inputs.device)
    guard view < views else {
      throw DistillationError("view \(view) of the examples was not labelled, only \(views) were")
    }
    let rows = try rows.rows(of: batch.ids)
    return try withoutGradient {
      let found = try outputs.logits(rows, view: view, device: device)
      var trace = template.trace(logits: found.logits, kept: found.kept)
      func activations(_ taps: [(Tap, Int)]) throws -> [Tap: Tensor] {
        var activations: [Tap: Tensor] = [:]
        for (tap, index) in taps where activations[tap] == nil {
          activations[tap] = try outputs.feature(index, rows, view: view, device: device)
        }
        return activations
      }
      trace.activations = try activations(tapped)
      for (member, taps) in memberTapped where trace.memberTraces.indices.contains(member) {
        trace.memberTraces[member].activations = try activations(taps)
      }
      return trace
    }
  }

  /// Which of the features is a layer of the teacher, or of one of its members.
  private func feature(at tap: Tap, of member: Int?) throws -> Int {
    let features = outputs.features
    // One alone is what all members have in common.
    let isAlone = template.names.count <= 1
    func isOf(_ feature: CachedFeature) -> Bool {
      feature.member == member || (isAlone && (feature.member ?? 0) == (member ?? 0))
    }
    if let index = features.firstIndex(where: { $0.tap == tap && isOf($0) }) { return index }
    guard !features.isEmpty else {
      throw DistillationError("only logits were precomputed: terms on layers need the teacher to run live")
    }
    let name = member.map { template.names.indices.contains($0) ? template.names[$0] : "\($0)" }
    throw DistillationError(
      "the layer '\(tap)'\(name.map { " of the member '\($0)'" } ?? "") was not kept, only \(features.words): label "
        + "again with it, or let the teacher run live")
  }
}
