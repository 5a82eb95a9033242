/// Finds the row of an example among those that were labelled, which stand in the rising order of their numbers.
struct ExampleRows: Sendable {
  private enum Form {
    /// All numbers from this one on.
    case range(Int)
    /// The row of each number from this one on; −1 where it was not labelled.
    case table(Int, [Int32])
    /// The numbers, to be searched.
    case sorted([Int])
  }

  let count: Int
  private let form: Form

  /// Rows of all numbers from `first` on.
  init(first: Int, count: Int) {
    self.count = count
    form = .range(first)
  }

  /// - Parameter ids: in rising order, none twice
  init(_ ids: [Int]) {
    count = ids.count
    guard let first = ids.first, let last = ids.last else {
      form = .range(0)
      return
    }
    let span = last - first + 1
    if span == ids.count {
      form = .range(first)
    } else if span <= 8 * ids.count + 1024, ids.count < Int(Int32.max) {
      // Not more than 32 bytes for each example.
      var table = [Int32](repeating: -1, count: span)
      for (row, id) in ids.enumerated() { table[id - first] = Int32(row) }
      form = .table(first, table)
    } else {
      form = .sorted(ids)
    }
  }

  /// nil where the example was not labelled.
  func row(of id: Int) -> Int? {
    switch form {
    case .range(let first): return id >= first && id - first < count ? id - first : nil
    case .table(let first, let table):
      guard id >= first, id - first < table.count, table[id - first] >= 0 else { return nil }
      return Int(table[id - first])
    case .sorted(let ids):
      var (low, high) = (0, ids.count)
      while low < high {
        let middle = (low + high) / 2
        if ids[middle] < id { low = middle + 1 } else { high = middle }
      }
      return low < ids.count && ids[low] == id ? low : nil
    }
  }

  /// The rows of the examples of a batch.
  ///
  /// - Throws: `DistillationError` that names the first one that was not labelled.
  func rows(of ids: [Int]) throws -> [Int] {
    try ids.map { id in
      guard let row = row(of: id) else { throw DistillationError("example \(id) was not labelled by the teacher") }
      return row
    }
  }

  /// - Throws: `DistillationError` when some of a training's examples were not labelled.
  func requireAll(_ ids: [Int]) throws {
    let missing = ids.filter { row(of: $0) == nil }
    guard let first = missing.first else { return }
    throw DistillationError(
      "\(missing.count) of the \(ids.count) examples that the training shows were not labelled by the teacher, such as "
        + "number \(first)")
  }
}
