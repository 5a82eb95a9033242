import Foundation
import Torch

/// A density on the line from 0 to 1: a mixture of normal distributions at the places that were seen, cut off at the ends,
/// and of an even one, which counts as much as one place.
///
/// Each normal distribution is as wide as the larger gap to its neighbours, the ends counted as such, and no narrower than
/// 1 / min(100, n + 1):
///
///     p(x) = (1 + Σᵢ N(x; μᵢ, σᵢ) / Zᵢ) / (n + 1)     Zᵢ = Φ((1 − μᵢ) / σᵢ) − Φ((0 − μᵢ) / σᵢ)
///
/// ## Reference
/// Bergstra, Bardenet, Bengio, Kégl: Algorithms for hyper-parameter optimization. NeurIPS 2011, section 4.
struct ParzenEstimator {
  struct Kernel: Equatable {
    var center: Double
    var deviation: Double

    /// The part of it between two places.
    func mass(_ low: Double, _ high: Double) -> Double {
      func distribution(_ x: Double) -> Double { 0.5 * erfc(-(x - center) / (deviation * 2.0.squareRoot())) }
      return distribution(high) - distribution(low)
    }
  }

  let kernels: [Kernel]

  init(_ places: [Double]) {
    let sorted = places.sorted()
    let narrowest = 1 / Double(min(100, sorted.count + 1))
    kernels = sorted.enumerated().map { index, place in
      let before = index > 0 ? sorted[index - 1] : 0
      let after = index + 1 < sorted.count ? sorted[index + 1] : 1
      return Kernel(center: place, deviation: min(max(place - before, after - place, narrowest), 1))
    }
  }

  func density(_ x: Double) -> Double {
    let sum = kernels.reduce(1.0) { sum, kernel in
      let distance = (x - kernel.center) / kernel.deviation
      let normal = exp(-distance * distance / 2) / (kernel.deviation * (2 * Double.pi).squareRoot())
      return sum + normal / kernel.mass(0, 1)
    }
    return sum / Double(kernels.count + 1)
  }

  /// The probability of a cell, which is that of a whole number.
  func mass(_ cell: ClosedRange<Double>) -> Double {
    let sum = kernels.reduce(cell.upperBound - cell.lowerBound) { sum, kernel in
      sum + kernel.mass(cell.lowerBound, cell.upperBound) / kernel.mass(0, 1)
    }
    return sum / Double(kernels.count + 1)
  }

  func draw(using source: inout RandomSource) -> Double {
    let index = Int(source.next(upperBound: UInt64(kernels.count + 1)))
    guard index < kernels.count else { return source.uniform() }
    let kernel = kernels[index]
    // A third of each of them at the least lies between the ends.
    for _ in 0..<200 {
      let radius = (-2 * log(1 - source.uniform())).squareRoot()
      let angle = 2 * Double.pi * source.uniform()
      let place = kernel.center + kernel.deviation * radius * cos(angle)
      if place >= 0, place <= 1 { return place }
    }
    return kernel.center
  }
}

/// The probabilities of choices: how often each was seen, and once more.
///
///     p(c) = (1 + nᶜ) / (K + n)
struct ChoiceEstimator {
  let choices: [String]
  let probabilities: [Double]

  init(_ choices: [String], seen: [String]) {
    self.choices = choices
    let counts = choices.map { choice in Double(1 + seen.count { $0 == choice }) }
    let sum = counts.reduce(0, +)
    probabilities = counts.map { $0 / sum }
  }

  func probability(_ choice: String) -> Double {
    choices.firstIndex(of: choice).map { probabilities[$0] } ?? 0
  }

  func draw(using source: inout RandomSource) -> String {
    var rest = source.uniform()
    for (choice, probability) in zip(choices, probabilities) {
      rest -= probability
      if rest < 0 { return choice }
    }
    return choices[choices.count - 1]
  }
}
