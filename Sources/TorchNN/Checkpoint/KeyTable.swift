import Torch

/// How another library spells a model's keys: a table that translates in both directions, whole tensors included that it
/// keeps in parts.
///
/// A row names a key or the beginning of keys, up to a dot; the longest that fits counts, and what no row fits keeps its
/// name, as in `KeyMap`. A joined row says that one tensor of ours is several of the other library's, one below the other,
/// as the maps of queries, keys and values are.
public struct KeyTable: Sendable {
  /// One tensor of ours that stands in parts elsewhere, all of one shape, one below the other along the first dimension.
  public struct Joined: Sendable, Equatable {
    public var ours: String
    public var parts: [String]

    public init(_ ours: String, _ parts: [String]) {
      self.ours = ours
      self.parts = parts
    }
  }

  /// Whose keys these are, such as `timm`.
  public let name: String
  public let map: KeyMap
  public let joined: [Joined]
  /// Keys of the other library, or beginnings of keys up to a dot, that no model of ours has a use for: numbers of places,
  /// masks, heads for pretraining. They are left out, whatever they hold.
  public let unused: [String]

  public init(_ name: String, _ pairs: [(ours: String, foreign: String)], joined: [Joined] = [], unused: [String] = [])
  {
    self.name = name
    map = KeyMap(pairs)
    self.joined = joined
    self.unused = unused
  }

  /// Whether a key of the other library is one that no model of ours has a use for.
  public func leavesOut(_ foreign: String) -> Bool {
    unused.contains { foreign == $0 || foreign.hasPrefix($0 + ".") }
  }

  /// A foreign checkpoint in our spelling: parts joined, what is of no use left out.
  ///
  /// - Throws: `TorchError` when parts cannot be joined that have one shape.
  public func ours(_ checkpoint: Checkpoint) throws -> Checkpoint {
    let found = Dictionary(checkpoint.tensors.map { ($0.name, $0.tensor) }) { first, _ in first }
    var whole: [String: Tensor] = [:]
    var inParts: Set<String> = []
    for row in joined {
      let parts = row.parts.compactMap { found[$0] }
      guard parts.count == row.parts.count, parts.allSatisfy({ $0.rank > 0 && $0.shape == parts[0].shape }) else {
        continue  // what is missing or misshapen is said when the checkpoint is loaded
      }
      whole[row.parts[0]] = try withoutGradient { try Tensor.concatenated(parts) }
      inParts.formUnion(row.parts)
    }
    let joinedKeys = Dictionary(joined.map { ($0.parts[0], $0.ours) }) { first, _ in first }
    var result = checkpoint
    result.tensors = checkpoint.tensors.compactMap { named in
      if leavesOut(named.name) { return nil }
      if let tensor = whole[named.name], let key = joinedKeys[named.name] {
        return NamedTensor(name: key, tensor: tensor)
      }
      if inParts.contains(named.name) { return nil }
      return NamedTensor(name: map.ours(named.name), tensor: named.tensor)
    }
    return result
  }

  /// Our tensors as the other library spells them, in parts where it has parts.
  ///
  /// - Throws: `TorchError` when a tensor cannot be divided into its parts.
  public func foreign(_ tensors: [NamedTensor]) throws -> [NamedTensor] {
    let parts = Dictionary(joined.map { ($0.ours, $0.parts) }) { first, _ in first }
    return try tensors.flatMap { named -> [NamedTensor] in
      guard let names = parts[named.name] else {
        return [NamedTensor(name: map.foreign(named.name), tensor: named.tensor)]
      }
      let rows = try named.tensor.size(0)
      guard rows % names.count == 0 else {
        throw TorchError(
          operation: "keys", shapes: [named.tensor.shape],
          message: "'\(named.name)' cannot be divided into \(names.count) parts")
      }
      let split = try withoutGradient { try named.tensor.detached().split(rows / names.count) }
      return try zip(names, split).map { NamedTensor(name: $0, tensor: try $1.contiguous()) }
    }
  }

  /// The keys of the other library that stand for one of ours: one, or its parts.
  public func foreign(_ ours: String) -> [String] {
    joined.first { $0.ours == ours }?.parts ?? [map.foreign(ours)]
  }
}

/// A module whose weights other libraries keep under keys of their own.
public protocol KnownElsewhere: Module {
  /// The spellings that are known besides the module's own keys.
  var keyTables: [KeyTable] { get }
  /// The beginnings of keys of the head: what a model that was only pretrained does not have.
  var headKeys: [String] { get }
}

/// What came of loading weights that other libraries may have written.
public struct ForeignLoad: Sendable, Equatable {
  /// Whose keys they had; nil: our own.
  public var spelling: String?
  /// The keys in the file that were left out because no model of ours has a use for them.
  public var unused: [String] = []
  /// The keys of the model that the file did not have, which keep the numbers that they had.
  public var fresh: [String] = []

  /// What a person should know of it.
  public var notices: [String] {
    func list(_ keys: [String]) -> String {
      keys.prefix(4).joined(separator: ", ") + (keys.count > 4 ? ", … (\(keys.count))" : "")
    }
    var notices: [String] = []
    if !unused.isEmpty { notices.append("left out of the weights, as nothing here uses it: \(list(unused))") }
    if !fresh.isEmpty { notices.append("not in the weights, so it starts at random: \(list(fresh))") }
    return notices
  }
}

extension Module {
  /// Loads weights in this module's own spelling or in another one that it knows, as strictly as `load`: nothing missing,
  /// nothing left over but what the table names, all of the same shapes.
  ///
  /// - Parameter newHead: lets the head (`headKeys`) keep its numbers where the file has none, as of a model that was only
  ///   pretrained, or one of other shapes, for other classes
  /// - Throws: `StateError` in the spelling that fits best. Then nothing was loaded.
  @discardableResult
  public func loadForeign(_ checkpoint: Checkpoint, newHead: Bool = false) throws -> ForeignLoad {
    let own = stateUnderEveryKey
    let known = Set(own.map(\.name))
    let elsewhere = self as? any KnownElsewhere
    /// How many keys of the file the module does not have, and the other way round.
    func misfits(_ checkpoint: Checkpoint) -> Int {
      let names = Set(checkpoint.tensors.map(\.name))
      return names.subtracting(known).count + known.subtracting(names).count
    }
    var best = (table: KeyTable?.none, checkpoint: checkpoint, misfits: misfits(checkpoint))
    for table in elsewhere?.keyTables ?? [] {
      let translated = try table.ours(checkpoint)
      let count = misfits(translated)
      if count < best.misfits { best = (table, translated, count) }
    }
    var result = ForeignLoad(spelling: best.table?.name)
    if let table = best.table { result.unused = checkpoint.tensors.map(\.name).filter(table.leavesOut) }
    if newHead, let heads = elsewhere?.headKeys {
      for head in heads.map({ $0 + "." }) {
        let own = state.filter { $0.name.hasPrefix(head) }
        let given = best.checkpoint.tensors.filter { $0.name.hasPrefix(head) }
        let shapes = Dictionary(given.map { ($0.name, $0.tensor.shape) }) { first, _ in first }
        guard given.isEmpty || own.contains(where: { shapes[$0.name] != $0.tensor.shape }) else { continue }
        best.checkpoint.tensors.removeAll { $0.name.hasPrefix(head) }
        best.checkpoint.tensors += own
        result.fresh += own.map(\.name)
      }
    }
    try load(best.checkpoint)
    return result
  }
}
