import Distillation
import Testing

/// Against SciPy: scipy.stats.pearsonr and spearmanr.
@Suite struct CorrelationTests {
  private let x = [0.3, -1.2, 2.5, 0.3, 4.0, -0.7, 1.1]
  private let y = [1.0, -0.5, 2.0, 0.2, 2.0, 0.1, -3.0]

  @Test func equalsSciPy() throws {
    #expect(abs(try Correlation.pearson(x, y) - 0.47610556692606537) < 1e-12)
    #expect(abs(try Correlation.spearman(x, y) - 0.6181818181818182) < 1e-12)
  }

  @Test func onlyTheOrderCountsForRanks() throws {
    let grown = x.map { $0 * $0 * $0 * 100 + 5 }
    #expect(abs(try Correlation.spearman(x, grown) - 1) < 1e-12)
    #expect(try Correlation.pearson(x, grown) < 0.99)
    #expect(abs(try Correlation.pearson(x, x.map { 3 - 2 * $0 }) + 1) < 1e-12)
  }

  @Test func whatHasNoSpreadHasNoCorrelation() throws {
    #expect(try Correlation.pearson([1, 1, 1], [1, 2, 3]) == 0)
    #expect(try Correlation.spearman([1, 1, 1], [1, 2, 3]) == 0)
  }

  @Test func listsOfOtherLengthsAreRefused() {
    #expect(throws: DistillationError.self) { try Correlation.pearson([1, 2], [1, 2, 3]) }
    #expect(throws: DistillationError.self) { try Correlation.spearman([1], [1]) }
  }
}
