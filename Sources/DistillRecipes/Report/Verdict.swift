/// What the first setting says, in words: the headline of the report and the last line in the terminal.
public struct Verdict: Sendable, Hashable {
  public enum Kind: Sendable, Hashable {
    /// The interval lies above zero.
    case helped
    /// The interval lies below zero.
    case hurt
    /// The interval holds zero.
    case unclear
    /// There is no interval: a single seed, or no comparison at all.
    case unknown
  }

  public var kind: Kind
  /// "Distillation helped".
  public var statement: String
  /// The gain in percentage points, "+8.3 points"; empty where there is none.
  public var gain: String
  /// "[7.9, 8.7]", or empty.
  public var bounds: String

  /// "Distillation helped: +8.3 points [7.9, 8.7]".
  public var sentence: String {
    gain.isEmpty ? statement : "\(statement): \(gain)" + (bounds.isEmpty ? "" : " \(bounds)")
  }

  public init(_ data: ReportData) {
    guard let setting = data.settings.first, let primary = setting.primary,
      let interval = setting.gain ?? setting.difference(of: primary), interval.mean.isFinite
    else {
      self.init(kind: .unknown, statement: "Nothing was compared", gain: "", bounds: "")
      return
    }
    let gain = Quantity.points(interval.mean, decimals: Quantity.gainDecimals(interval)) + Quantity.space + "points"
    guard let bounds = Quantity.bounds(interval) else {
      self.init(kind: .unknown, statement: "Too few seeds for a verdict", gain: gain, bounds: "")
      return
    }
    if interval.low > 0 {
      self.init(kind: .helped, statement: "Distillation helped", gain: gain, bounds: bounds)
    } else if interval.high < 0 {
      self.init(kind: .hurt, statement: "Distillation hurt", gain: gain, bounds: bounds)
    } else {
      self.init(kind: .unclear, statement: "No clear difference", gain: gain, bounds: bounds)
    }
  }

  private init(kind: Kind, statement: String, gain: String, bounds: String) {
    self.kind = kind
    self.statement = statement
    self.gain = gain
    self.bounds = bounds
  }
}
