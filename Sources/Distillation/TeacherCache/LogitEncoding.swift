import Foundation
import Torch
import TorchNN

/// How a teacher cache keeps the logits of each member for each example, or token.
public enum LogitEncoding: Sendable, Equatable {
  /// All of them, as float32 (exactly), float16 or bfloat16.
  case all(DType)
  /// The k likeliest classes and the mass of all others together.
  case topK(TopK)
  /// Classes drawn from the distribution, for `sampled_soft_targets`.
  case sampled(Sampled)

  /// The logits v of the k likeliest classes, their numbers, and log Σ exp(v / T) over all other classes for each of some
  /// temperatures T.
  ///
  /// At these temperatures the probabilities of the k classes, and the mass of the rest, are exact up to the rounding of
  /// `values`; each other class is taken to have an equal share of that mass. Other temperatures are refused. With k at the
  /// number of classes or above, all logits are there, for any temperature.
  public struct TopK: Sendable, Equatable {
    public var k: Int
    public var temperatures: [Double]
    /// float32, float16 or bfloat16.
    public var values: DType

    public init(k: Int, temperatures: [Double], values: DType = .float16) {
      self.k = k
      self.temperatures = temperatures
      self.values = values
    }
  }

  /// `count` classes x drawn with replacement from r ∝ pᵅ, p = softmax(v / T), with log p(x), and p(x) / r(x) where α is
  /// not 1: an estimate of the loss and its gradient that is right on average. The draws are a function of the seed, the
  /// example, its view and the place of the token.
  public struct Sampled: Sendable, Equatable {
    public var count: Int
    public var temperature: Double
    /// α
    public var proposalPower: Double
    public var seed: UInt64
    /// What log p is kept in: float32, float16 or bfloat16. It has no influence on the gradient.
    public var values: DType

    public init(
      count: Int, temperature: Double, proposalPower: Double = 1, seed: UInt64 = 0, values: DType = .float16
    ) {
      self.count = count
      self.temperature = temperature
      self.proposalPower = proposalPower
      self.seed = seed
      self.values = values
    }
  }

  /// What is wrong with its numbers; nil when nothing is.
  func problem(memberCount: Int) -> String? {
    func isFloat(_ type: DType) -> Bool { [.float32, .float16, .bfloat16].contains(type) }
    let types = "logits are kept as float32, float16 or bfloat16"
    switch self {
    case .all(let type): return isFloat(type) ? nil : types
    case .topK(let kept):
      guard isFloat(kept.values) else { return types }
      guard kept.k >= 1 else { return "at least one class has to be kept, not \(kept.k)" }
      guard !kept.temperatures.isEmpty, kept.temperatures.allSatisfy({ $0 > 0 && $0.isFinite }),
        Set(kept.temperatures).count == kept.temperatures.count
      else { return "the likeliest classes are kept for one or more different, positive temperatures" }
      return nil
    case .sampled(let drawn):
      guard isFloat(drawn.values) else { return types }
      guard drawn.count >= 1 else { return "at least one class has to be drawn, not \(drawn.count)" }
      guard drawn.temperature > 0, drawn.temperature.isFinite else { return "the temperature has to be positive" }
      guard drawn.proposalPower >= 0, drawn.proposalPower.isFinite else { return "the proposal's power is negative" }
      guard memberCount == 1 else {
        return "classes can be drawn for a single teacher only, not for \(memberCount) members: keep the likeliest"
      }
      return nil
    }
  }

  /// Whether it is all of the logits, for a member with so many classes.
  func isComplete(classCount: Int) -> Bool {
    switch self {
    case .all: true
    case .topK(let kept): kept.k >= classCount
    case .sampled: false
    }
  }
}

extension LogitEncoding: CustomStringConvertible {
  public var description: String {
    switch self {
    case .all(let type): "all logits as \(type)"
    case .topK(let kept):
      "the \(kept.k) likeliest classes as \(kept.values), the mass of the others at temperature \(kept.temperatures.asList)"
    case .sampled(let drawn):
      "\(drawn.count) classes drawn at temperature \(drawn.temperature.short)"
        + (drawn.proposalPower == 1 ? "" : " with proposal power \(drawn.proposalPower.short)") + ", seed \(drawn.seed)"
    }
  }
}

extension LogitEncoding: Codable {
  private enum CodingKeys: String, CodingKey {
    case kind, values, k, temperatures, count, temperature
    case proposalPower = "proposal_power"
    case seed
  }

  private enum Kind: String, Codable {
    case all
    case topK = "top_k"
    case sampled
  }

  public init(from decoder: any Decoder) throws {
    let values = try decoder.container(keyedBy: CodingKeys.self)
    let type = try values.decode(NamedType.self, forKey: .values).type
    switch try values.decode(Kind.self, forKey: .kind) {
    case .all: self = .all(type)
    case .topK:
      self = .topK(
        TopK(
          k: try values.decode(Int.self, forKey: .k),
          temperatures: try values.decode([Double].self, forKey: .temperatures), values: type))
    case .sampled:
      self = .sampled(
        Sampled(
          count: try values.decode(Int.self, forKey: .count),
          temperature: try values.decode(Double.self, forKey: .temperature),
          proposalPower: try values.decode(Double.self, forKey: .proposalPower),
          seed: try values.decode(UInt64.self, forKey: .seed), values: type))
    }
  }

  public func encode(to encoder: any Encoder) throws {
    var values = encoder.container(keyedBy: CodingKeys.self)
    switch self {
    case .all(let type):
      try values.encode(Kind.all, forKey: .kind)
      try values.encode(NamedType(type), forKey: .values)
    case .topK(let kept):
      try values.encode(Kind.topK, forKey: .kind)
      try values.encode(NamedType(kept.values), forKey: .values)
      try values.encode(kept.k, forKey: .k)
      try values.encode(kept.temperatures, forKey: .temperatures)
    case .sampled(let drawn):
      try values.encode(Kind.sampled, forKey: .kind)
      try values.encode(NamedType(drawn.values), forKey: .values)
      try values.encode(drawn.count, forKey: .count)
      try values.encode(drawn.temperature, forKey: .temperature)
      try values.encode(drawn.proposalPower, forKey: .proposalPower)
      try values.encode(drawn.seed, forKey: .seed)
    }
  }
}

/// How a teacher cache keeps what a layer of the teacher gave.
public enum FeatureEncoding: String, Codable, Sendable, CaseIterable {
  case float32
  case float16
  /// Whole numbers from −127 to 127 with a scale for each example and each slice along the first dimension of what was
  /// tapped: for maps `[C, H, W]` one for each channel, for tokens `[L, D]` one for each token, for vectors `[D]` one in
  /// all. With x the largest absolute value of a slice the scale is x / 127, and no number is off by more than x / 254.
  case int8
}

/// A layer of the teacher whose activations are to be kept.
public struct CachedFeature: Codable, Sendable, Equatable {
  public var path: String
  public var side: Tap.Side
  /// Of which member of an ensemble; nil: of a teacher without members.
  public var member: Int?
  public var encoding: FeatureEncoding

  public init(_ tap: Tap, member: Int? = nil, encoding: FeatureEncoding = .float16) {
    path = tap.path
    side = tap.side
    self.member = member
    self.encoding = encoding
  }

  public var tap: Tap { Tap(path, side) }
}

/// The type of an element by its name in safetensors, such as `F16`.
struct NamedType: Codable {
  let type: DType

  init(_ type: DType) { self.type = type }

  init(from decoder: any Decoder) throws {
    let container = try decoder.singleValueContainer()
    let name = try container.decode(String.self)
    guard let type = DType.allCases.first(where: { SafetensorsHeader.name(of: $0) == name }) else {
      throw DecodingError.dataCorruptedError(in: container, debugDescription: "no type is called \(name)")
    }
    self.type = type
  }

  func encode(to encoder: any Encoder) throws {
    var container = encoder.singleValueContainer()
    try container.encode(SafetensorsHeader.name(of: type))
  }
}
