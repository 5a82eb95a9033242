import Foundation

/// A number that may change while training goes on: constant, or from one value to another.
public struct Ramp: Sendable, Equatable {
  public enum Shape: String, Sendable, Codable, CaseIterable {
    case linear
    case cosine
  }

  public var from: Double
  public var to: Double
  public var shape: Shape

  public init(from: Double, to: Double, shape: Shape = .linear) {
    self.from = from
    self.to = to
    self.shape = shape
  }

  public init(_ value: Double) { self.init(from: value, to: value) }

  public var isConstant: Bool { from == to }

  public var largest: Double { max(from, to) }

  /// - Parameter progress: 0 at the start, 1 at the end
  public func value(at progress: Double) -> Double {
    let progress = min(max(progress, 0), 1)
    switch shape {
    case .linear: return from + (to - from) * progress
    case .cosine: return to + (from - to) * (1 + Foundation.cos(.pi * progress)) / 2
    }
  }
}

extension Ramp: ExpressibleByFloatLiteral, ExpressibleByIntegerLiteral {
  public init(floatLiteral value: Double) { self.init(value) }
  public init(integerLiteral value: Int) { self.init(Double(value)) }
}
