import Testing

/// What code for distillation gets wrong elsewhere, row by row. Each row has a test that fails if we fall in; its title
/// begins with `Trap` and the number. What cannot go wrong yet is said here, with the reason.
@Suite struct TrapListTests {
  static let traps: [Int: String] = [
    1: "the divergence is divided by the number of classes",
    2: "T² is missing, or dropped in a branch",
    3: "the teacher is left in training mode",
    4: "the student is left in evaluation mode",
    5: "a gradient goes through the teacher",
    6: "precomputed rows do not line up with shuffled data or workers",
    7: "outputs computed on one augmentation are used with another",
    8: "outputs of other weights or data are used",
    9: "the softmax is taken twice, or probabilities are taken for log probabilities",
    10: "the direction of the divergence is swapped",
    11: "numbers vanish or overflow in half precision",
    12: "the loss changes with accumulation or a short last batch",
    13: "the fused and the plain loss are two things",
    14: "the mean of logits is called a mean of probabilities",
    15: "a path matches no layer, and another is taken",
    16: "the model is chosen by its test score",
    17: "a small gain of one seed is claimed",
    18: "adapters are not seeded, not optimized or not saved",
    19: "the loss that is logged is not the one that is optimized",
    20: "tokens of teacher and student are off by one",
    21: "teacher and student have other classes",
    22: "a teacher with smoothed labels meets a high temperature",
    23: "one temperature is taken for granted",
    24: "a training that goes on has lost its place",
  ]

  /// Rows of which a part cannot go wrong yet.
  static let notYet: [Int: String] = [
    6: "several ranks: a training runs in one process",
    8: "files of outputs: they are kept in memory while a run lasts, beside the teacher that made them",
    12: "several ranks: a training runs in one process",
    20: "teachers whose outputs are tokens of their own: teacher and student read the same batch",
    21: "padded rows of a vocabulary: the numbers of classes have to be the same",
    23: "a choice by the program: settings compare temperatures, and a person chooses by their validation scores",
  ]

  /// The rows that a title names: `Trap 9: …`, `Traps 7 and 8: …`.
  static func rows(in source: String) -> Set<Int> {
    let titles = source.matches(of: #/@Test\(\s*"Traps? ([0-9]+)(?: and ([0-9]+))?:/#)
    return Set(titles.flatMap { match in [Int(match.1), match.2.flatMap { Int($0) }].compactMap(\.self) })
  }

  @Test func everyTrapHasItsTest() throws {
    let sources = try Package.files(in: "Tests", ending: ".swift").filter { !$0.hasSuffix("/TrapListTests.swift") }
    let tested = try sources.reduce(into: Set<Int>()) { $0.formUnion(Self.rows(in: try Package.text($1))) }
    #expect(Set(Self.traps.keys) == Set(1...24))
    for (row, trap) in Self.traps.sorted(by: { $0.key < $1.key }) where !tested.contains(row) {
      Issue.record("no test is called Trap \(row): \(trap)")
    }
    #expect(tested.isSubset(of: Self.traps.keys))
    #expect(Set(Self.notYet.keys).isSubset(of: Self.traps.keys))
  }

  @Test func titlesAreRead() {
    let source = """
      @Test("Trap 3: one") func one() {}
      @Test(
        "Traps 7 and 12: two", arguments: [1])
      // "Trap 4: none"
      """
    #expect(Self.rows(in: source) == [3, 7, 12])
  }
}
