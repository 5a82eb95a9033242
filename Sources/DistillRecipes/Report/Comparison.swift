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
  public init(_ setting: ReportData.Setting, teacher: ReportData.Teacher?) {
    columns = Self.allColumns
    rows = []
    if let teacher {
      let scores = teacher.scores
      rows.append(
        Row(
          cells: ["teacher", Quantity.percent(scores.accuracy), ""] + Self.cells(teacher.figures)
            + ["", Quantity.percent(scores.calibrationError)],
          arm: nil, isPrimary: false))
    }
    for (index, arm) in setting.arms.enumerated() {
      let gain = arm.kind == .alone ? "" : Quantity.gain(setting.gain(of: arm))
      rows.append(
        Row(
          cells: [arm.name, Quantity.percent(arm.accuracy), gain] + Self.cells(setting.student) + [
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

  private static let allColumns = [
    column("Model", isNumeric: false, "The teacher, and the same student trained in different ways"),
    column("Accuracy", "On the test split: mean ± standard deviation over the seeds"),
    column("Gain", "Percentage points over the student alone, with the 95 % paired interval"),
    column("Parameters", "Trained numbers in the model"),
    column("Size", "Bytes of parameters and buffers"),
    column("Mult-adds", "Multiplications, each with its addition, for one image"),
    column("Latency", "Time for one image alone"),
    column("Images/s", "Throughput in large batches"),
    column("Agreement", "Share of images on which the model predicts what the teacher does"),
    column("ECE", "Expected calibration error: the distance between confidence and accuracy"),
  ]

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
