/// Which classes the teacher finds alike: its mean soft targets, at several temperatures.
struct SimilaritySection {
  var data: ReportData

  func markup() -> Markup? {
    let similarities = data.similarities.filter { $0.matrix.count > 1 }
    guard let first = similarities.first else { return nil }
    let size = similarities.map(\.matrix.count).max() ?? 0
    let labels = (0..<size).map(data.className)
    return section(
      "similarity", "Which classes the teacher finds alike",
      lead:
        "Each row is the mean soft target of the images of one class. At T = 1 the teacher is nearly sure; a higher "
        + "temperature brings out what else an image might have been, which is what the student learns from it."
    ) {
      if size <= HeatMap.largestPictured {
        element("div", ["class": similarities.count.isMultiple(of: 2) ? "maps pairs" : "maps"]) {
          for (place, similarity) in similarities.enumerated() { map(similarity, place, labels) }
        }
      }
      if size > HeatMap.largestDrawn { pairs(first) }
    }
  }

  private func value(_ matrix: [[Double]], _ row: Int, _ column: Int) -> Double {
    guard row < matrix.count, column < matrix[row].count, matrix[row][column].isFinite else { return 0 }
    return matrix[row][column]
  }

  private func map(_ similarity: ReportData.Similarity, _ place: Int, _ labels: [String]) -> Markup? {
    let matrix = similarity.matrix
    var largest = 0.0
    for row in labels.indices {
      for column in labels.indices where row != column { largest = max(largest, value(matrix, row, column)) }
    }
    let temperature = "T = \(Quantity.plain(similarity.temperature))"
    return HeatMap(
      id: "similarity-\(place)", title: "\(temperature), full colour: \(Quantity.percent(largest, decimals: 1))",
      description: summary(matrix, labels), tone: .distilled, labels: labels
    ) { row, column in
      let share = value(matrix, row, column)
      let rounded = (share * 100).rounded()
      return HeatMap.Cell(
        strength: largest > 0 ? share / largest : 0, text: rounded >= 1 ? Quantity.number(rounded, decimals: 0) : "",
        note: "\(labels[row]) at \(temperature)\n\(labels[column]): \(Quantity.percent(share, decimals: 2))")
    }.markup()
  }

  private func alike(_ matrix: [[Double]], limit: Int) -> [(row: Int, column: Int, share: Double)] {
    var pairs: [(row: Int, column: Int, share: Double)] = []
    for row in matrix.indices {
      for column in matrix[row].indices where column != row {
        let share = value(matrix, row, column)
        if share > 0.001 { pairs.append((row, column, share)) }
      }
    }
    return Array(pairs.sorted { $0.share > $1.share }.prefix(limit))
  }

  private func summary(_ matrix: [[Double]], _ labels: [String]) -> String {
    "Most alike: "
      + alike(matrix, limit: 3).map {
        "\(data.className($0.row)) and \(data.className($0.column)) (\(Quantity.percent($0.share, decimals: 1)))"
      }.joined(separator: "; ") + "."
  }

  private func pairs(_ similarity: ReportData.Similarity) -> Markup? {
    let pairs = alike(similarity.matrix, limit: 20)
    guard !pairs.isEmpty else { return nil }
    return scrolling("Classes that the teacher finds most alike") {
      element("table") {
        element("thead") {
          element("tr") {
            element("th", ["scope": "col"]) { "True class" }
            element("th", ["scope": "col"]) { "Looks like" }
            element("th", ["scope": "col", "class": "number"]) {
              "Mean probability, T = \(Quantity.plain(similarity.temperature))"
            }
          }
        }
        element("tbody") {
          for pair in pairs {
            element("tr") {
              element("th", ["scope": "row"]) { data.className(pair.row) }
              element("td") { data.className(pair.column) }
              element("td", ["class": "number"]) { Quantity.percent(pair.share, decimals: 1) }
            }
          }
        }
      }
    }
  }
}
