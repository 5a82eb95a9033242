/// The comparison of one setting as a table of text, for the report and for the terminal.
public struct ComparisonTable: Sendable {
  public struct Column: Sendable {
    public var title: String
    public var isNumeric: Bool
    /// What the column says, in a sentence.
    public var explanation: String
  }

  public struct Row: Sendable {
    public var cells: [String]
    /// The place of the row's arm in the setting; `nil` for the teacher.
    public var arm: Int?
    /// Whether this is the arm that the setting is about.
    public var isPrimary: Bool
  }

  public var columns: [Column]
  public var rows: [Row]

  /// The teacher, where there is one, and each arm of the setting.
  ///
  /// - Parameter token: what was predicted where that is the tokens of a text
  public init(_ setting: ReportData.Setting, teacher: ReportData.Teacher?, token: String? = nil) {
    columns = Self.allColumns(token)
    func ofTokens(_ score: (KeyPath<ReportData.Scores, Double?>) -> Double?) -> [String] {
      token == nil
        ? []
        : [Quantity.number(score(\.bitsPerToken), decimals: 3), Quantity.number(score(\.perplexity), decimals: 2)]
    }
    rows = []
    if let teacher {
      let scores = teacher.scores
      rows.append(
        Row(
          cells: ["teacher", Quantity.percent(scores.accuracy), ""] + ofTokens { scores[keyPath: $0] }
            + Self.cells(teacher.figures)
            + ["", Quantity.percent(scores.calibrationError)],
          arm: nil, isPrimary: false))
    }
    for (index, arm) in setting.arms.enumerated() {
      let gain = arm.kind == .alone ? "" : Quantity.gain(setting.gain(of: arm))
      rows.append(
        Row(
          cells: [arm.name, Quantity.percent(arm.accuracy), gain]
            + ofTokens { path in arm.spread { $0[keyPath: path] }?.mean } + Self.cells(setting.student) + [
              Quantity.percent(arm.spread(\.agreement)?.mean, decimals: 1),
              Quantity.percent(arm.spread(\.calibrationError)?.mean),
            ],
          arm: index, isPrimary: index == setting.primaryIndex))
    }
  }

  private static func cells(_ figures: ReportData.Figures) -> [String] {
    [
      Quantity.count(figures.parameters), Quantity.bytes(figures.bytes), Quantity.count(figures.multiplyAdds),
      Quantity.seconds(figures.latencySeconds), Quantity.rate(figures.imagesPerSecond),
    ]
  }

  private static func allColumns(_ token: String?) -> [Column] {
    let example = token == nil ? "image" : "text"
    let scored = token ?? "image"
    let ofTokens =
      token.map { token in
        [
          column("Bits/\(token)", "What a \(token) of the test split takes: its negative log-likelihood in bits"),
          column("Perplexity", "exp of the negative log-likelihood: the choice among so many equally likely ones"),
        ]
      } ?? []
    return [
      column("Model", isNumeric: false, "The teacher, and the same student trained in different ways"),
      column(
        "Accuracy", "On the test split\(token.map { ", by \($0)" } ?? ""): mean ± standard deviation over the seeds"),
      column("Gain", "Percentage points over the student alone, with the 95 % paired interval"),
    ] + ofTokens + [
      column("Parameters", "Trained numbers in the model"),
      column("Size", "Bytes of parameters and buffers"),
      column("Mult-adds", "Multiplications, each with its addition, for one \(example)"),
      column("Latency", "Time for one \(example) alone"),
      column(token == nil ? "Images/s" : "Texts/s", "Throughput in large batches"),
      column("Agreement", "Share of \(scored)s on which the model predicts what the teacher does"),
      column("ECE", "Expected calibration error: the distance between confidence and accuracy"),
    ]
  }

  private static func column(_ title: String, isNumeric: Bool = true, _ explanation: String) -> Column {
    Column(title: title, isNumeric: isNumeric, explanation: explanation)
  }
}

extension ReportData.Setting {
  /// The gain of an arm over the student alone; nil where nothing was compared.
  func gain(of arm: ReportData.Arm) -> ReportData.Interval? {
    baseline == nil || arm.kind == .alone ? nil : arm.gain ?? difference(of: arm)
  }

  /// The plain difference of the means, without an interval: what is left to say of a single seed.
  private func difference(of arm: ReportData.Arm) -> ReportData.Interval? {
    guard let baseline = baseline?.accuracy, let accuracy = arm.accuracy else { return nil }
    return ReportData.Interval(mean: accuracy.mean - baseline.mean, low: .nan, high: .nan)
  }
}
