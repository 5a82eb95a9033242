import DistillRecipes
import Foundation

/// The comparison of a run as text: a table for each setting, and what may be concluded.
struct ComparisonText {
  let text: String

  init(_ data: ReportData) {
    text = data.settings.map { setting in
      let comparison = ComparisonTable(setting, teacher: data.teacher)
      let rows = [comparison.columns.map(\.title)] + comparison.rows.map(\.cells)
      let widths = comparison.columns.indices.map { column in rows.map { $0[column].count }.max() ?? 0 }
      let lines = rows.map { row in
        zip(row, zip(comparison.columns, widths)).map { cell, layout in
          let padding = String(repeating: " ", count: layout.1 - cell.count)
          return layout.0.isNumeric ? padding + cell : cell + padding
        }.joined(separator: "  ")
      }
      return "\n\(setting.name)\n\(setting.description)\n\n\(lines.joined(separator: "\n"))\n\n\(setting.conclusion)"
    }.joined(separator: "\n")
  }
}
