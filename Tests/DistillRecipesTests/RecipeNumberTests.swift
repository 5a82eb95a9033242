import Testing

@testable import DistillRecipes

@Suite("Numbers in recipes")
struct RecipeNumberTests {
  private func node(_ text: String) -> RecipeNode { RecipeNode(.scalar(text, isQuoted: false)) }

  @Test("What is a number is just what YAML's patterns say, and exponents without a point")
  func patterns() throws {
    let number = /[-+]?([0-9][0-9_]*\.?[0-9_]*|\.[0-9][0-9_]*)([eE][-+]?[0-9]+)?/
    let whole = /[-+]?[0-9][0-9_]*/
    var texts = [""]
    for _ in 0..<5 { texts = [""] + texts.flatMap { text in ["1", ".", "_", "-", "e"].map { text + $0 } } }
    texts += ["nan", "inf", "infinity", "-inf", "0x10", "0x1p3", "1p3", "1f", "１", "²"]
    texts += ["1 ", " 1", "1\n", "1e\u{301}5", "é"]
    for text in Set(texts) {
      let value = node(text).numberValue
      let isNumber = try number.wholeMatch(in: text) != nil
      let isWhole = try whole.wholeMatch(in: text) != nil
      #expect((value != nil) == isNumber, "\(text)")
      #expect(node(text).isWholeNumber == isWhole, "\(text)")
    }
  }

  @Test(
    "Their values",
    arguments: [
      ("0", 0), ("-7", -7), ("+7", 7), ("1_000", 1000), ("1.", 1), (".5", 0.5), ("-.5e-3", -0.0005), ("1.e2", 100),
      ("1e-3", 0.001), ("1E+3", 1000), ("1_0.2_5", 10.25),
    ])
  func values(text: String, value: Double) { #expect(node(text).numberValue == value) }

  @Test("Beyond what 64 bits hold they are no numbers")
  func limits() {
    #expect(node("1e999").numberValue == nil)
    #expect(node("9223372036854775807").intValue == .max)
    #expect(node("9223372036854775808").intValue == nil)
  }
}
