import Torch

/// Which of the examples for training are trained on, and which are held out to choose by.
public struct Split: Sendable, Equatable {
  public var train: [Int]
  public var validation: [Int]

  public init(train: [Int], validation: [Int] = []) {
    self.train = train
    self.validation = validation
  }
}

/// Ways to divide examples. Every class is divided in the same proportion, and the same seed always divides alike.
public enum Splits {
  /// A fraction of the examples, and the others; both in ascending order.
  ///
  /// - Parameters:
  ///   - examples: the examples to divide; nil for all of them
  ///   - fraction: from 0 to 1; the number of examples is rounded
  public static func stratified(
    dataset: any Dataset, examples: [Int]? = nil, fraction: Double, seed: UInt64
  ) throws -> (kept: [Int], rest: [Int]) {
    guard fraction >= 0, fraction <= 1 else { throw DataError("\(fraction) is not a fraction from 0 to 1") }
    let total = examples?.count ?? dataset.count
    return try stratified(
      dataset: dataset, examples: examples, count: Int((Double(total) * fraction).rounded()), seed: seed)
  }

  /// `count` of the examples, and the others; both in ascending order.
  ///
  /// Each class gives its share, rounded so that the sum comes out; where there are enough to keep, at least one of each
  /// class. Examples without a label count as one more class.
  public static func stratified(
    dataset: any Dataset, examples: [Int]? = nil, count: Int, seed: UInt64
  ) throws -> (kept: [Int], rest: [Int]) {
    let examples = examples ?? Array(0..<dataset.count)
    guard count >= 0, count <= examples.count else {
      throw DataError("\(count) of \(examples.count) examples of \(dataset.name) cannot be chosen")
    }
    if let wrong = examples.first(where: { $0 < 0 || $0 >= dataset.count }) {
      throw DataError("\(dataset.name) has \(dataset.count) examples, and so no number \(wrong)")
    }
    return stratified(examples, count: count, seed: seed) { dataset.label(at: $0) }
  }

  /// The same of things that are no data set yet. `count` is at most their number.
  static func stratified(
    _ examples: [Int], count: Int, seed: UInt64, label: (Int) throws -> Int
  ) rethrows -> (kept: [Int], rest: [Int]) {
    let classes = try Dictionary(grouping: examples.sorted(), by: label)
    let labels = classes.keys.sorted()
    let shares = Self.shares(of: count, sizes: labels.map { classes[$0]?.count ?? 0 })
    var kept: [Int] = []
    var rest: [Int] = []
    for (label, share) in zip(labels, shares) {
      var members = classes[label] ?? []
      var random = RandomSource(seed: seed, "split", UInt64(bitPattern: Int64(label)))
      members.shuffle(with: &random)
      kept += members[..<share]
      rest += members[share...]
    }
    return (kept.sorted(), rest.sorted())
  }

  /// A fraction of each class, and the others; both in ascending order. What a class gives does not depend on the other
  /// classes, and with the same seed a larger fraction gives all that a smaller one gives, and more.
  ///
  /// - Parameters:
  ///   - examples: the examples to choose from; nil for all of them
  ///   - fractions: for each class, from 0 to 1; the number of examples is rounded, to at least one where the fraction is
  ///     above 0. Examples without a label are class −1.
  ///   - standard: the fraction of every class that is not among `fractions`
  ///   - leavingOut: classes that give nothing, whatever their fraction
  /// - Throws: `DataError` when a class does not exist or a fraction is none.
  public static func byClass(
    dataset: any Dataset, examples: [Int]? = nil, fractions: [Int: Double] = [:], standard: Double = 1,
    leavingOut: Set<Int> = [], seed: UInt64
  ) throws -> (kept: [Int], rest: [Int]) {
    for fraction in [standard] + fractions.values where !(0...1).contains(fraction) {
      throw DataError("\(fraction) is not a fraction from 0 to 1")
    }
    for label in leavingOut.union(fractions.keys) where label < -1 || label >= dataset.classCount {
      throw DataError("\(dataset.name) has \(dataset.classCount) classes, and so no class \(label)")
    }
    let examples = examples ?? Array(0..<dataset.count)
    if let wrong = examples.first(where: { $0 < 0 || $0 >= dataset.count }) {
      throw DataError("\(dataset.name) has \(dataset.count) examples, and so no number \(wrong)")
    }
    var kept: [Int] = []
    var rest: [Int] = []
    for (label, members) in Dictionary(grouping: examples.sorted(), by: { dataset.label(at: $0) }) {
      let fraction = leavingOut.contains(label) ? 0 : fractions[label] ?? standard
      let rounded = Int((Double(members.count) * fraction).rounded())
      let count = fraction > 0 ? max(1, rounded) : 0
      var members = members
      var random = RandomSource(seed: seed, "class choice", UInt64(bitPattern: Int64(label)))
      members.shuffle(with: &random)
      kept += members[..<count]
      rest += members[count...]
    }
    return (kept.sorted(), rest.sorted())
  }

  /// Divides `count` in proportion to `sizes` by largest remainders.
  static func shares(of count: Int, sizes: [Int]) -> [Int] {
    let total = max(1, sizes.reduce(0, +))
    var shares = sizes.map { size in Int((Double(count) * Double(size) / Double(total)).rounded(.down)) }
    let remainders = zip(sizes, shares).map { Double(count) * Double($0) / Double(total) - Double($1) }
    let order = sizes.indices.sorted { (remainders[$1], $0) < (remainders[$0], $1) }
    var missing = count - shares.reduce(0, +)
    for index in order where missing > 0 && shares[index] < sizes[index] {
      shares[index] += 1
      missing -= 1
    }
    guard count >= sizes.count(where: { $0 > 0 }) else { return shares }
    for index in sizes.indices where shares[index] == 0 && sizes[index] > 0 {
      guard let richest = shares.indices.max(by: { (shares[$0], $1) < (shares[$1], $0) }) else { break }
      shares[richest] -= 1
      shares[index] = 1
    }
    return shares
  }
}

extension RandomSource {
  /// A whole number from 0 to `bound` − 1.
  mutating func below(_ bound: Int) -> Int { Int(next().multipliedFullWidth(by: UInt64(bound)).high) }
}

extension Array {
  /// Puts the elements in a random order (Fisher and Yates).
  mutating func shuffle(with random: inout RandomSource) {
    withUnsafeMutableBufferPointer { elements in
      for position in stride(from: elements.count - 1, to: 0, by: -1) {
        elements.swapAt(position, random.below(position + 1))
      }
    }
  }
}
