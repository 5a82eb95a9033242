/// What is wrong with the lines of a file: the first few in words, the others counted.
struct LineProblems {
  private let file: String
  private var words: [String] = []
  private var count = 0

  init(file: String) { self.file = file }

  mutating func report(_ problem: String) {
    count += 1
    if words.count < 5 { words.append(problem) }
  }

  /// - Throws: `DataError` when something was reported.
  func finish() throws {
    guard count > 0 else { return }
    if count == 1 { throw DataError(file: file, words[0]) }
    let others = count > words.count ? "\nand \(count - words.count) more" : ""
    throw DataError(file: file, "\(count) problems:\n\(words.joined(separator: "\n"))\(others)")
  }
}
