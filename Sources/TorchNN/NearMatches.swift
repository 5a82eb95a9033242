/// The names most like `name`, best first: those that contain it or are at most a third of its length in edits away.
package func closest(to name: String, in candidates: [String], limit: Int = 3) -> [String] {
  let scored = Set(candidates).filter { !$0.isEmpty }.map { candidate in
    (candidate, editDistance(name.lowercased(), candidate.lowercased()))
  }
  let near = scored.filter { candidate, distance in
    distance <= max(2, name.count / 3) || (name.count >= 3 && candidate.contains(name))
  }
  return near.sorted { ($0.1, $0.0) < ($1.1, $1.0) }.prefix(limit).map(\.0)
}

/// Levenshtein's distance, with a swap of neighbours counted as one edit.
private func editDistance(_ first: String, _ second: String) -> Int {
  let first = Array(first)
  let second = Array(second)
  var rows = [[Int]](repeating: [Int](repeating: 0, count: second.count + 1), count: first.count + 1)
  for i in 0...first.count { rows[i][0] = i }
  for j in 0...second.count { rows[0][j] = j }
  for i in first.indices {
    for j in second.indices {
      var best = min(rows[i][j + 1] + 1, rows[i + 1][j] + 1, rows[i][j] + (first[i] == second[j] ? 0 : 1))
      if i > 0, j > 0, first[i] == second[j - 1], first[i - 1] == second[j] { best = min(best, rows[i - 1][j - 1] + 1) }
      rows[i + 1][j + 1] = best
    }
  }
  return rows[first.count][second.count]
}
