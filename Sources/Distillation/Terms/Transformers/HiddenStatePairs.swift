import DistillData
import Torch
import TorchNN

/// The hidden states of student and teacher at pairs of taps: those of the tokens that count, with a linear map from the
/// student's width to the teacher's where they differ.
struct HiddenStatePairs {
  let term: String
  let layers: [LayerPair]
  /// Whether pairs of the same two widths share one map.
  let sharesMaps: Bool
  private(set) var maps: WidthMaps?

  init(_ layers: [LayerPair], sharesMaps: Bool, term: String) throws {
    try requireLayers(layers, for: term)
    self.term = term
    self.layers = layers
    self.sharesMaps = sharesMaps
  }

  /// Makes the maps from the widths of what a batch gave.
  mutating func prepare(_ first: TermInput) throws {
    maps = try WidthMaps(
      layers.map { pair in
        let student = try Self.checked(try first.student(at: pair.student), at: pair.student, first.batch)
        let teacher = try Self.checked(try first.teacher(at: pair.teacher, for: term), at: pair.teacher, first.batch)
        return (try student.size(-1), try teacher.size(-1))
      }, shared: sharesMaps)
  }

  /// For each pair the states of both, of one shape: `[R, D]` for the tokens that count, or `[N, L, D]` or `[N, D]` where
  /// the batch does not say which do.
  func states(_ input: TermInput) throws -> [(student: Tensor, teacher: Tensor)] {
    guard let maps else { throw DistillationError("the term \(term) must be prepared with a batch first") }
    return try layers.enumerated().map { index, pair in
      let given = try Self.checked(try input.student(at: pair.student), at: pair.student, input.batch)
      let teacher = try Self.checked(
        try input.teacher(at: pair.teacher, for: term), at: pair.teacher, input.batch
      ).detached()
      let student = try maps.map(given, pair: index)
      guard student.shape == teacher.shape else {
        throw DistillationError(
          "the student's hidden states at \(pair.student), \(given.shape), do not fit the teacher's at \(pair.teacher), "
            + "\(teacher.shape)")
      }
      return (student, teacher)
    }
  }

  /// How many count: the tokens, or the examples where the batch holds no sequences.
  func count(_ batch: Batch) -> Int { batch.tokens?.count ?? batch.ids.count }

  private static func checked(_ states: Tensor, at tap: Tap, _ batch: Batch) throws -> Tensor {
    let shape = states.shape
    guard let tokens = batch.tokens else {
      guard shape.count == 2 || shape.count == 3 else {
        throw DistillationError("hidden states must be [N, L, D] or [N, D]; those at \(tap) are \(shape)")
      }
      return states
    }
    guard shape.count == 3, Array(shape.prefix(2)) == tokens.mask.shape else {
      throw DistillationError(
        "hidden states of sequences \(tokens.mask.shape) must be [N, L, D]; those at \(tap) are \(shape)")
    }
    return try tokens.rows(states)
  }
}

/// Linear maps from widths of the student to widths of the teacher. Where the two are alike there is none.
final class WidthMaps: Module {
  let maps: [Linear]
  private let mapOfPair: [Int?]

  /// - Parameter shared: whether pairs of the same two widths have one map in common
  init(_ widths: [(student: Int, teacher: Int)], shared: Bool) throws {
    var maps: [Linear] = []
    var made: [[Int]: Int] = [:]
    mapOfPair = try widths.map { student, teacher in
      guard student != teacher else { return nil }
      if shared, let known = made[[student, teacher]] { return known }
      maps.append(try Linear(student, teacher))
      made[[student, teacher]] = maps.count - 1
      return maps.count - 1
    }
    self.maps = maps
  }

  func map(_ states: Tensor, pair: Int) throws -> Tensor {
    try mapOfPair[pair].map { try maps[$0](states) } ?? states
  }
}
