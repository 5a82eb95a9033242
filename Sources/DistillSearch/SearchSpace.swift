import Foundation

/// What is looked for: a value for each of several keys.
public struct SearchSpace: Codable, Sendable, Equatable {
  public var parameters: [SearchKey]

  public init(_ parameters: [SearchKey]) { self.parameters = parameters }
}

/// The values that were chosen, by key, as a recipe would write them.
public typealias Assignment = [String: String]

/// A key and the values that it may have.
public struct SearchKey: Codable, Sendable, Equatable {
  /// Such as `training.optimizer.learning_rate`.
  public var key: String
  public var domain: Domain

  public init(_ key: String, _ domain: Domain) {
    self.key = key
    self.domain = domain
  }
}

/// The values that a key may have.
///
/// Ranges are looked at through a line from 0 to 1, on which every value has a place: numbers by their size, or by its
/// logarithm; whole numbers as cells that are as wide as the number is likely.
public enum Domain: Codable, Sendable, Equatable {
  /// One of these texts.
  case choices([String])
  case integers(low: Int, high: Int, isLogarithmic: Bool)
  case numbers(low: Double, high: Double, isLogarithmic: Bool)

  /// So many digits of a drawn number are kept, so that recipes can be read.
  static let digits = 5

  /// Whether values have an order and a distance.
  public var isRange: Bool {
    if case .choices = self { false } else { true }
  }

  public var isLogarithmic: Bool {
    switch self {
    case .choices: false
    case .integers(_, _, let isLogarithmic), .numbers(_, _, let isLogarithmic): isLogarithmic
    }
  }

  /// Whether a text is one of the values.
  public func holds(_ text: String) -> Bool {
    switch self {
    case .choices(let texts): texts.contains(text)
    case .integers(let low, let high, _): Int(text).map { (low...high).contains($0) } ?? false
    case .numbers(let low, let high, _): Double(text).map { (low...high).contains($0) } ?? false
    }
  }

  /// For people: `1, 4, 8`, or `0.001 to 0.1, logarithmic`.
  public var words: String {
    let scale = isLogarithmic ? ", logarithmic" : ""
    return switch self {
    case .choices(let texts): texts.joined(separator: ", ")
    case .integers(let low, let high, _): "\(low) to \(high), whole numbers\(scale)"
    case .numbers(let low, let high, _): "\(Self.text(low)) to \(Self.text(high))\(scale)"
    }
  }

  // MARK: The line from 0 to 1

  /// The ends of the line, before and after which nothing lies.
  private var ends: (low: Double, high: Double) {
    switch self {
    case .choices: (0, 1)
    // A cell reaches half-way to its neighbours.
    case .integers(let low, let high, _): (scaled(Double(low) - 0.5), scaled(Double(high) + 0.5))
    case .numbers(let low, let high, _): (scaled(low), scaled(high))
    }
  }

  private func scaled(_ value: Double) -> Double { isLogarithmic ? log(value) : value }

  private func place(_ value: Double) -> Double {
    let (low, high) = ends
    guard high > low else { return 0.5 }
    return min(max((scaled(value) - low) / (high - low), 0), 1)
  }

  /// Where a value lies; nil for a choice, and for what is no number.
  public func place(of text: String) -> Double? {
    guard isRange, let value = Double(text), value.isFinite else { return nil }
    return place(value)
  }

  /// The cell of a whole number; nil for other domains, whose values are points.
  func cell(of text: String) -> ClosedRange<Double>? {
    guard case .integers = self, let value = Double(text), value.isFinite else { return nil }
    return place(value - 0.5)...place(value + 0.5)
  }

  /// The value at a place.
  func text(at place: Double) -> String {
    let (low, high) = ends
    let inner = low + min(max(place, 0), 1) * (high - low)
    let value = isLogarithmic ? exp(inner) : inner
    switch self {
    case .choices(let texts):
      return texts[min(max(Int(place * Double(texts.count)), 0), texts.count - 1)]
    case .integers(let low, let high, _):
      return "\(min(max(Int(value.rounded()), low), high))"
    case .numbers(let low, let high, _):
      let short = Self.text(value)
      // Rounding must not lead out of the range.
      if let rounded = Double(short), rounded > high { return "\(high)" }
      if let rounded = Double(short), rounded < low { return "\(low)" }
      return short
    }
  }

  static func text(_ value: Double) -> String { String(format: "%.\(digits)g", value) }

  // MARK: Grids

  /// All choices; of a range so many values, evenly from end to end, or all whole numbers where there are no more.
  public func gridTexts(points: Int) -> [String] {
    switch self {
    case .choices(let texts): return texts
    case .integers(let low, let high, _):
      guard high - low >= points else { return (low...high).map(String.init) }
      return Self.distinct(steps(points, from: Double(low), to: Double(high)).map { "\(Int($0.rounded()))" })
    case .numbers(let low, let high, _):
      guard high > low else { return [Self.text(low)] }
      return Self.distinct(steps(points, from: low, to: high).map { text(at: place($0)) })
    }
  }

  private func steps(_ count: Int, from low: Double, to high: Double) -> [Double] {
    guard count > 1 else { return [isLogarithmic ? (low * high).squareRoot() : (low + high) / 2] }
    let (first, last) = (scaled(low), scaled(high))
    return (0..<count).map { index in
      let inner = first + (last - first) * Double(index) / Double(count - 1)
      return isLogarithmic ? exp(inner) : inner
    }
  }

  private static func distinct(_ texts: [String]) -> [String] {
    var seen: Set<String> = []
    return texts.filter { seen.insert($0).inserted }
  }
}
