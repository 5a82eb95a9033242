/// A table that translates keys between ours and those of a foreign checkpoint, in both directions.
///
/// Each pair names a key or the beginning of keys, up to a dot; the longest that fits counts. What no pair fits keeps its
/// name.
///
///     let map: KeyMap = ["classifier": "fc", "blocks": "encoder.layer"]
///     map.foreign("blocks.0.weight")      // encoder.layer.0.weight
///     map.ours("encoder.layer.0.weight")  // blocks.0.weight
///
/// The empty key stands for the beginning of all: `["": "module"]`.
public struct KeyMap: Sendable, ExpressibleByDictionaryLiteral {
  private let pairs: [(ours: String, foreign: String)]

  public init(_ pairs: [(ours: String, foreign: String)]) { self.pairs = pairs }

  public init(dictionaryLiteral pairs: (String, String)...) { self.init(pairs.map { (ours: $0.0, foreign: $0.1) }) }

  /// Our key in the foreign spelling.
  public func foreign(_ ours: String) -> String { translate(ours, pairs.map { ($0.ours, $0.foreign) }) }

  /// A foreign key in our spelling.
  public func ours(_ foreign: String) -> String { translate(foreign, pairs.map { ($0.foreign, $0.ours) }) }

  private func translate(_ key: String, _ table: [(from: String, to: String)]) -> String {
    var best: (from: String, to: String)?
    for pair in table where begins(key, with: pair.from) && pair.from.count >= (best?.from.count ?? 0) { best = pair }
    guard let best else { return key }
    let rest = key.dropFirst(best.from.count)
    return joined(best.to, String(rest.hasPrefix(".") ? rest.dropFirst() : rest))
  }

  private func begins(_ key: String, with start: String) -> Bool {
    start.isEmpty || key == start || key.hasPrefix(start + ".")
  }
}
