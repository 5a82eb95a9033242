import DistillRecipes

/// The comparison of a run as text: for each setting a table, and what may be concluded.
struct ComparisonText {
  let data: ReportData

  init(_ data: ReportData) { self.data = data }

  func text(for terminal: Terminal) -> String {
    data.settings.map { setting in
      """

      \(terminal.styled(setting.name, .bold))
      \(setting.description)

      \(TextTable(ComparisonTable(setting, teacher: data.teacher)).text(for: terminal))
      \(setting.conclusion)
      """
    }.joined(separator: "\n")
  }
}
