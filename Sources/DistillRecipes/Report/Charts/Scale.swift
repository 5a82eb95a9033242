import Foundation

/// A linear map from values to places on the page.
struct Scale: Sendable {
  var low: Double
  var high: Double
  var start: Double
  var end: Double

  /// A scale over the finite values with some air around them; a single value, or none, gets a range of its own.
  init(over values: [Double], start: Double, end: Double, air: Double = 0.06, within limits: ClosedRange<Double>? = nil)
  {
    let finite = values.filter { $0.isFinite && abs($0) < 1e12 }
    var low = finite.min() ?? 0
    var high = finite.max() ?? 1
    if high - low < max(abs(high), 1e-6) * 1e-6 {
      let half = high == 0 ? 0.5 : abs(high) * 0.05
      (low, high) = (low - half, high + half)
    }
    let margin = (high - low) * air
    (low, high) = (low - margin, high + margin)
    if let limits {
      (low, high) = (max(low, limits.lowerBound), min(high, limits.upperBound))
      if high <= low { (low, high) = (limits.lowerBound, limits.upperBound) }
    }
    self.init(low: low, high: high, start: start, end: end)
  }

  init(low: Double, high: Double, start: Double, end: Double) {
    self.low = low
    self.high = high
    self.start = start
    self.end = end
  }

  func callAsFunction(_ value: Double) -> Double {
    guard value.isFinite, high > low else { return start }
    return start + (value - low) / (high - low) * (end - start)
  }

  /// Round values inside the scale, about `count` of them.
  func ticks(_ count: Int) -> [Double] {
    let span = high - low
    guard span > 0, span.isFinite, count > 0 else { return [] }
    let rough = span / Double(count)
    let power = pow(10, log10(rough).rounded(.down))
    let step = power * ([1, 2, 2.5, 5, 10].first { $0 * power >= rough } ?? 10)
    let first = Int((low / step - 1e-9).rounded(.up))
    let last = Int((high / step + 1e-9).rounded(.down))
    guard first <= last, last - first < 100 else { return [] }
    return (first...last).map { Double($0) * step }
  }

  /// Round values between two positive ones for a logarithmic axis, `most` of them at the most: 1, 2, 5 and their multiples
  /// by powers of ten, or 1 and 3, or the powers alone. Empty where that leaves fewer than two.
  static func logarithmicTicks(from low: Double, to high: Double, most: Int) -> [Double] {
    guard low > 0, high > low, high.isFinite, most > 1 else { return [] }
    let powers = Int(log10(low).rounded(.down))...Int(log10(high).rounded(.up))
    func values(_ leading: [Double]) -> [Double] {
      let all = powers.flatMap { power in leading.map { $0 * pow(10, Double(power)) } }
      let range = (low * (1 - 1e-9))...(high * (1 + 1e-9))
      return all.filter { range.contains($0) }
    }
    let rich: [[Double]] = [values([1, 2, 5]), values([1, 3])]
    var found = rich.first { $0.count <= most } ?? values([1])
    if found.count > most {
      let step = (found.count + most - 1) / most
      found = found.indices.filter { $0.isMultiple(of: step) }.map { found[$0] }
    }
    return found.count > 1 ? found : []
  }

  /// The decimals that tell two ticks apart.
  static func decimals(_ ticks: [Double]) -> Int {
    guard ticks.count > 1 else { return 2 }
    let step = abs(ticks[1] - ticks[0])
    return (0...4).first { abs(step * pow(10, Double($0)) - (step * pow(10, Double($0))).rounded()) < 1e-6 } ?? 4
  }
}

/// A coordinate with two decimals at most; a value that is not finite becomes 0, so that no picture breaks.
func coordinate(_ value: Double) -> String {
  guard value.isFinite, abs(value) < 1e9 else { return "0" }
  let hundredths = (value * 100).rounded()
  if hundredths.truncatingRemainder(dividingBy: 100) == 0 { return String(Int(hundredths / 100)) }
  return String(hundredths / 100)
}

/// A coordinate as a share of the width.
func share(_ value: Double) -> String { coordinate(value) + "%" }

/// The colour a model has throughout the report.
enum Tone: String, Sendable {
  case teacher, alone, distilled, third, fourth, fifth, sixth

  /// Those that have no meaning of their own.
  static let others: [Tone] = [.third, .fourth, .fifth, .sixth]

  var className: String { "tone-\(rawValue)" }
}

extension ReportData.Setting {
  /// The student alone and the arm that the setting is about have colours of their own.
  func tone(_ index: Int) -> Tone {
    let own = [arms.firstIndex { $0.kind == .alone }, primaryIndex]
    if index == own[0] { return .alone }
    if index == own[1] { return .distilled }
    return Tone.others[arms.indices.filter { $0 < index && !own.contains($0) }.count % Tone.others.count]
  }
}
