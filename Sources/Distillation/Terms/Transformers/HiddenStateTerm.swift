import DistillData
import Torch
import TorchNN

/// What `HiddenStates` and `CosineHiddenStates` have in common: the hidden states of student and teacher at pairs of taps,
/// those of the tokens that count, with a linear map from the student's width to the teacher's where they differ.
public class HiddenStateTerm: LayerTerm {
  static let options: [TermOption] = [
    .layers("hidden states of the student with those of the teacher"),
    .flag("shared_map", true, "one linear map for all pairs of the same two widths; false: one for each pair"),
  ]

  public let name: String
  public let layers: [LayerPair]
  private let sharedMap: Bool
  private let loss: (_ student: Tensor, _ teacher: Tensor) throws -> LossSum
  private var maps: WidthMaps?

  init(
    _ kind: TermKind, layers: [LayerPair], sharedMap: Bool,
    loss: @escaping (_ student: Tensor, _ teacher: Tensor) throws -> LossSum
  ) throws {
    name = kind.name
    self.layers = layers
    self.sharedMap = sharedMap
    self.loss = loss
    try requireLayers(layers, for: kind.name)
  }

  public var adapter: (any Module)? { maps }

  /// Makes the maps from the widths of what a batch gave.
  public func prepare(_ first: TermInput) throws {
    maps = try WidthMaps(
      layers.map { pair in
        let student = try Self.checked(try first.student(at: pair.student), at: pair.student, first.batch)
        let teacher = try Self.checked(try first.teacher(at: pair.teacher, for: name), at: pair.teacher, first.batch)
        return (try student.size(-1), try teacher.size(-1))
      }, shared: sharedMap)
  }

  /// For each pair the states of both, of one shape: `[R, D]` for the tokens that count, or `[N, L, D]` where the batch does
  /// not say which do, or `[N, D]`; and whether they are of tokens.
  private func states(_ input: TermInput) throws -> [(student: Tensor, teacher: Tensor, isOfTokens: Bool)] {
    guard let maps else { throw DistillationError("the term \(name) must be prepared with a batch first") }
    return try layers.enumerated().map { index, pair in
      let whole = try input.student(at: pair.student)
      let given = try Self.checked(whole, at: pair.student, input.batch)
      let teacher = try Self.checked(
        try input.teacher(at: pair.teacher, for: name), at: pair.teacher, input.batch
      ).detached()
      let student = try maps.map(given, pair: index)
      guard student.shape == teacher.shape else {
        throw DistillationError(
          "the student's hidden states at \(pair.student), \(given.shape), do not fit the teacher's at \(pair.teacher), "
            + "\(teacher.shape)")
      }
      return (student, teacher, whole.rank == 3)
    }
  }

  /// How many count: the tokens, or the examples where the batch holds no sequences.
  public func count(_ batch: Batch) -> Int { batch.tokens?.count ?? batch.ids.count }

  public func sum(_ input: TermInput) throws -> Tensor {
    try states(input).map { pair in
      let sum = try loss(pair.student, pair.teacher).sum
      // One state for each text counts as much as the states of its tokens would.
      guard let tokens = input.batch.tokens, !pair.isOfTokens else { return sum }
      return try sum * (Double(tokens.count) / Double(max(1, input.batch.ids.count)))
    }.total()
  }

  private static func checked(_ states: Tensor, at tap: Tap, _ batch: Batch) throws -> Tensor {
    let shape = states.shape
    guard let tokens = batch.tokens else {
      guard shape.count == 2 || shape.count == 3 else {
        throw DistillationError("hidden states must be [N, L, D] or [N, D]; those at \(tap) are \(shape)")
      }
      return states
    }
    // One for each text.
    if shape.count == 2, shape[0] == tokens.mask.shape[0] { return states }
    guard shape.count == 3, Array(shape.prefix(2)) == tokens.mask.shape else {
      throw DistillationError(
        "hidden states of sequences \(tokens.mask.shape) must be [N, L, D] or [N, D]; those at \(tap) are \(shape)")
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
