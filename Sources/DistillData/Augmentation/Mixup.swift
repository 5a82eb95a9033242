import Foundation
import Torch

extension Mixture {
  /// first ← (1 − weight) · first + weight · second.
  ///
  /// ## Reference
  /// Zhang, Cisse, Dauphin, Lopez-Paz: mixup: Beyond empirical risk minimization. ICLR 2018.
  static func blend(
    _ first: UnsafeMutablePointer<Float>, _ second: UnsafePointer<Float>, weight: Float, count: Int
  ) {
    let kept = 1 - weight
    for position in 0..<count { first[position] = kept * first[position] + weight * second[position] }
  }
}

extension RandomSource {
  /// A number from the Beta distribution with both parameters `alpha`.
  mutating func beta(_ alpha: Double) -> Double {
    if alpha == 1 { return uniform() }
    let first = gamma(alpha)
    let second = gamma(alpha)
    return first + second > 0 ? first / (first + second) : (uniform() < 0.5 ? 0 : 1)
  }

  /// A number from the Gamma distribution with scale 1.
  ///
  /// ## Reference
  /// Marsaglia, Tsang: A simple method for generating gamma variables. ACM Transactions on Mathematical Software, 2000.
  mutating func gamma(_ shape: Double) -> Double {
    if shape < 1 {
      let boost = pow(1 - uniform(), 1 / shape)
      return gamma(shape + 1) * boost
    }
    let d = shape - 1.0 / 3
    let c = 1 / (9 * d).squareRoot()
    while true {
      let x = normal()
      let cube = 1 + c * x
      guard cube > 0 else { continue }
      let v = cube * cube * cube
      if log(1 - uniform()) < 0.5 * x * x + d - d * v + d * log(v) { return d * v }
    }
  }

  /// A number from the standard normal distribution (Box and Muller).
  mutating func normal() -> Double {
    let radius = (-2 * log(1 - uniform())).squareRoot()
    return radius * cos(2 * Double.pi * uniform())
  }
}
