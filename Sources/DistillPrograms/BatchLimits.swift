import Torch

/// How many examples a program takes at once, where it was made for a certain number.
struct BatchLimits: Equatable {
  var fewest = 1
  var most: Int?

  /// Of more, a batch is filled up to for nobody: a file that asks for it is damaged, or means harm.
  static let largest = 65_536

  /// Nor to more memory.
  static let mostBytes = 2 << 30

  /// How many bytes a batch would have once it is filled up; nil where it need not be.
  func filledBytes(_ input: Tensor) -> Int? {
    guard let count = input.shape.first, count > 0, count < fewest else { return nil }
    return product([fewest, input.dtype.byteCount] + input.shape.dropFirst()) ?? .max
  }

  static func fixed(_ count: Int) -> BatchLimits { BatchLimits(fewest: count, most: count) }

  /// What a failure of a package says of them, in its own words; nil where it says something else.
  ///
  /// - Parameter known: what is known so far
  init?(_ message: String, known: BatchLimits) {
    self = known
    func number(_ text: Regex<(Substring, Substring)>) -> Int? { message.firstMatch(of: text).flatMap { Int($0.1) } }
    if let count = number(/unmatched dim value at 0, expected: (\d+)/) {
      self = .fixed(count)
    } else if let count = number(/dim value is too small at 0, expected it to be >= (\d+)/) {
      fewest = count
    } else if let count = number(/dim value is too large at 0, expected to be <= (\d+)/) {
      most = count
    }
    guard self != known, (1...Self.largest).contains(fewest), most.map({ $0 >= fewest }) ?? true else { return nil }
  }

  init(fewest: Int = 1, most: Int? = nil) {
    self.fewest = fewest
    self.most = most
  }

  /// Computes a batch in parts that suit. One that is too small is filled up with its last example, and what comes of that
  /// is left out of the result.
  func compute(_ input: Tensor, _ body: (Tensor) throws -> Tensor) throws -> Tensor {
    let count = try input.size(0)
    guard count > 0, count < fewest || count > most ?? count else { return try body(input) }
    let size = most ?? max(fewest, count)
    let parts = try stride(from: 0, to: count, by: size).map { first in
      let rows = min(size, count - first)
      // Of examples that are there, so that nothing else can come into a batch.
      let wanted = max(rows, fewest)
      let numbers = (0..<wanted).map { Int64(first + min($0, rows - 1)) }
      let output = try body(try input.gathered(Tensor(numbers).to(input.device)))
      guard output.rank > 0, output.shape[0] == wanted else { return output }
      return rows == wanted ? output : try output.sliced(0, from: 0, to: rows)
    }
    return parts.count == 1 ? parts[0] : try Tensor.concatenated(parts)
  }
}
