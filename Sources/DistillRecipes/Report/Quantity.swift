import Foundation

/// Numbers as people read them, the same in the report and in the terminal: thousands separators, a real minus sign,
/// units, and a dash for what was not measured or is not finite.
public enum Quantity {
  /// What stands for a number that is not there.
  public static let missing = "–"
  static let space = "\u{A0}"

  /// A share in per cent: `93.52 %`.
  public static func percent(_ share: Double?, decimals: Int = 2) -> String {
    guard let share, share.isFinite else { return missing }
    return fixed(share * 100, decimals: decimals) + space + "%"
  }

  /// A mean share with its spread over seeds: `81.64 ± 0.31 %`.
  public static func percent(_ spread: ReportData.Spread?, decimals: Int = 2) -> String {
    guard let spread, spread.mean.isFinite else { return missing }
    guard let deviation = spread.deviation, deviation.isFinite else { return percent(spread.mean, decimals: decimals) }
    return fixed(spread.mean * 100, decimals: decimals) + space + "±" + space
      + fixed(deviation * 100, decimals: decimals) + space + "%"
  }

  /// A difference of shares in percentage points, with its sign: `+8.3`.
  public static func points(_ difference: Double?, decimals: Int = 1) -> String {
    guard let difference, difference.isFinite else { return missing }
    return signed(difference * 100, decimals: decimals)
  }

  /// A gain with its interval, in percentage points: `+8.3 [7.9, 8.7]`; with two decimals where one would hide it.
  public static func gain(_ interval: ReportData.Interval?) -> String {
    guard let interval, interval.mean.isFinite else { return missing }
    let decimals = gainDecimals(interval)
    let mean = points(interval.mean, decimals: decimals)
    guard let bounds = bounds(interval) else { return mean }
    return mean + space + bounds
  }

  /// The interval of a gain alone, in percentage points: `[7.9, 8.7]`.
  public static func bounds(_ interval: ReportData.Interval) -> String? {
    guard interval.low.isFinite, interval.high.isFinite else { return nil }
    let decimals = gainDecimals(interval)
    return "[\(fixed(interval.low * 100, decimals: decimals)),\(space)"
      + "\(fixed(interval.high * 100, decimals: decimals))]"
  }

  static func gainDecimals(_ interval: ReportData.Interval) -> Int {
    let ends = [interval.mean, interval.low, interval.high].filter(\.isFinite)
    return (ends.map(abs).min() ?? 1) < 0.01 || abs(interval.high - interval.low) < 0.001 ? 2 : 1
  }

  /// A whole number with thousands separators, `26,698`; from a million on, `1.24 M`; from a thousand million, `4.1 G`.
  public static func count(_ value: Int?) -> String {
    guard let value else { return missing }
    let size = Double(value.magnitude)
    let sign = value < 0 ? "−" : ""
    if size >= 1e9 { return sign + significant(size / 1e9) + space + "G" }
    if size >= 1e6 { return sign + significant(size / 1e6) + space + "M" }
    return integer(value)
  }

  /// Bytes in decimal units: `107 kB`.
  public static func bytes(_ value: Int?) -> String {
    guard let value else { return missing }
    let size = Double(value)
    if size >= 1e9 { return significant(size / 1e9) + space + "GB" }
    if size >= 1e6 { return significant(size / 1e6) + space + "MB" }
    if size >= 1e3 { return significant(size / 1e3) + space + "kB" }
    return integer(value) + space + "B"
  }

  /// A duration: `84 µs`, `1.20 ms`, `3.4 s`, `4 min 05 s`.
  public static func seconds(_ value: Double?) -> String {
    guard let value, value.isFinite, value >= 0, value < 1e12 else { return missing }
    if value == 0 { return "0" + space + "s" }
    if value < 0.9995e-3 { return significant(value * 1e6) + space + "µs" }
    if value < 0.9995 { return significant(value * 1e3) + space + "ms" }
    if value < 59.95 { return significant(value) + space + "s" }
    let whole = Int(value.rounded())
    if whole < 3600 { return "\(whole / 60)" + space + "min" + space + padded(whole % 60) + space + "s" }
    return "\(whole / 3600)" + space + "h" + space + padded(whole / 60 % 60) + space + "min"
  }

  /// How many in a second, to three digits: `48,200`.
  public static func rate(_ value: Double?) -> String {
    guard let value, value.isFinite, value >= 0, value < 1e15 else { return missing }
    if value < 1000 { return significant(value) }
    let unit = Foundation.pow(10, (log10(value)).rounded(.down) - 2)
    return integer(Int((value / unit).rounded() * unit))
  }

  /// How many times, `14×`; one decimal below ten.
  public static func ratio(_ value: Double?) -> String {
    guard let value, value.isFinite, value > 0 else { return missing }
    return (value < 9.95 ? fixed(value, decimals: 1) : value < 1000 ? fixed(value, decimals: 0) : rate(value)) + "×"
  }

  /// A plain number with so many decimals, a thousands separator and a real minus sign.
  public static func number(_ value: Double?, decimals: Int) -> String {
    guard let value, value.isFinite else { return missing }
    return fixed(value, decimals: decimals)
  }

  /// A temperature or another setting: as few digits as it needs.
  public static func plain(_ value: Double) -> String {
    guard value.isFinite else { return missing }
    if value == value.rounded(), abs(value) < 1e9 { return integer(Int(value)) }
    return String(format: "%.4g", value)
  }

  // MARK: Pieces

  /// A whole number with thousands separators.
  public static func integer(_ value: Int) -> String {
    let digits = String(value.magnitude)
    var result = ""
    for (index, digit) in digits.enumerated() {
      if index > 0, (digits.count - index).isMultiple(of: 3) { result += "," }
      result.append(digit)
    }
    return (value < 0 ? "−" : "") + result
  }

  private static func fixed(_ value: Double, decimals: Int) -> String {
    guard abs(value) < 1e15 else { return String(format: "%.3g", value) }
    let text = String(format: "%.\(decimals)f", abs(value))
    let parts = text.split(separator: ".", maxSplits: 1)
    let whole = parts.first.flatMap { Int($0) }.map(integer) ?? text
    let magnitude = parts.count > 1 ? whole + "." + parts[1] : whole
    return (value < 0 && text.contains { ("1"..."9").contains($0) } ? "−" : "") + magnitude
  }

  private static func signed(_ value: Double, decimals: Int) -> String {
    let text = fixed(value, decimals: decimals)
    return text.hasPrefix("−") || !text.contains { ("1"..."9").contains($0) } ? text : "+" + text
  }

  /// Three digits that count: `1.24`, `12.4`, `124`.
  private static func significant(_ value: Double) -> String {
    let size = abs(value)
    if size >= 99.95 { return fixed(value, decimals: 0) }
    if size >= 9.995 { return fixed(value, decimals: 1) }
    return fixed(value, decimals: 2)
  }

  private static func padded(_ value: Int) -> String { value < 10 ? "0\(value)" : "\(value)" }
}
