/// How far two lists of numbers rise and fall together, from −1 to 1.
public enum Correlation {
  /// Pearson's: of the numbers themselves; 0 where all numbers of a list are equal.
  ///
  ///     r = Σ (xᵢ − x̄)(yᵢ − ȳ) / √(Σ (xᵢ − x̄)² · Σ (yᵢ − ȳ)²)
  ///
  /// - Throws: `DistillationError` when they are not equally long, or shorter than 2.
  public static func pearson(_ x: [Double], _ y: [Double]) throws -> Double {
    guard x.count == y.count, x.count > 1 else {
      throw DistillationError("a correlation needs two lists of one length from 2 on, not of \(x.count) and \(y.count)")
    }
    let (meanX, meanY) = (mean(x), mean(y))
    var (both, ofX, ofY) = (0.0, 0.0, 0.0)
    for (x, y) in zip(x, y) {
      both += (x - meanX) * (y - meanY)
      ofX += (x - meanX) * (x - meanX)
      ofY += (y - meanY) * (y - meanY)
    }
    let size = (ofX * ofY).squareRoot()
    return size > 0 ? both / size : 0
  }

  /// Spearman's: Pearson's of the ranks. Equal numbers share the mean of their ranks.
  ///
  /// - Throws: `DistillationError` as `pearson` does.
  public static func spearman(_ x: [Double], _ y: [Double]) throws -> Double { try pearson(ranks(x), ranks(y)) }

  private static func mean(_ numbers: [Double]) -> Double { numbers.reduce(0, +) / Double(numbers.count) }

  private static func ranks(_ numbers: [Double]) -> [Double] {
    let order = numbers.indices.sorted { numbers[$0] < numbers[$1] }
    var ranks = [Double](repeating: 0, count: numbers.count)
    var start = 0
    while start < order.count {
      var end = start + 1
      while end < order.count, numbers[order[end]] == numbers[order[start]] { end += 1 }
      for place in order[start..<end] { ranks[place] = Double(start + end - 1) / 2 }
      start = end
    }
    return ranks
  }
}
