import DistillData
import Torch

/// Where outputs that were computed before are kept.
protocol StoredOutputs: AnyObject {
  var features: [CachedFeature] { get }

  /// What was kept of each member's logits for some rows of a view.
  func logits(_ rows: [Int], view: Int, device: Device) throws -> (logits: [Tensor], kept: [KeptLogits?])

  /// What was kept of a feature, in float32.
  func feature(_ index: Int, _ rows: [Int], view: Int, device: Device) throws -> Tensor
}

/// In memory, on the device that they were computed on: all logits, in float32.
final class OutputsInMemory: StoredOutputs {
  /// For each member `[views · examples] + shape`.
  private let logits: [Tensor]
  private let exampleCount: Int

  init(_ logits: [Tensor], exampleCount: Int) {
    self.logits = logits
    self.exampleCount = exampleCount
  }

  let features: [CachedFeature] = []

  func logits(_ rows: [Int], view: Int, device: Device) throws -> (logits: [Tensor], kept: [KeptLogits?]) {
    let places = try Self.places(rows, view: view, of: exampleCount, device: device)
    return (try logits.map { try $0.gathered(places) }, logits.map { _ in nil })
  }

  func feature(_ index: Int, _ rows: [Int], view: Int, device: Device) throws -> Tensor {
    throw DistillationError("only logits are kept in memory")
  }

  static func places(_ rows: [Int], view: Int, of exampleCount: Int, device: Device) throws -> Tensor {
    try Tensor(rows.map { Int64(view * exampleCount + $0) }).to(device)
  }
}

/// In the shards of a cache: rows are copied from the mapped files straight into the batch.
final class OutputsInShards: StoredOutputs {
  private let cache: TeacherCache

  init(_ cache: TeacherCache) { self.cache = cache }

  var features: [CachedFeature] { cache.description.contents.features }

  func logits(_ rows: [Int], view: Int, device: Device) throws -> (logits: [Tensor], kept: [KeptLogits?]) {
    let places = try places(rows, view: view)
    var logits: [Tensor] = []
    var kept: [KeptLogits?] = []
    for member in cache.description.contents.logitShapes.indices {
      let found = try cache.codec.logits(of: member) { try gather($0, places).to(device) }
      logits.append(found.logits)
      kept.append(found.kept)
    }
    return (logits, kept)
  }

  func feature(_ index: Int, _ rows: [Int], view: Int, device: Device) throws -> Tensor {
    let places = try places(rows, view: view)
    return try cache.codec.feature(index) { try gather($0, places).to(device) }
  }

  private struct Place {
    let shard: CacheShard
    let row: Int
  }

  /// Where rows of a view are, in shards whose checksums are right.
  private func places(_ rows: [Int], view: Int) throws -> [Place] {
    let plan = cache.description.shards
    var verified = -1
    return try rows.map { row in
      let shard = cache.shards[view * plan.perView + row / plan.rowsPerShard]
      if cache.verifies, shard.index != verified {
        try shard.verify(cache.rows, firstRow: plan.rows(of: shard.index).lowerBound)
        verified = shard.index
      }
      return Place(shard: shard, row: row % plan.rowsPerShard)
    }
  }

  private func gather(_ column: Int, _ places: [Place]) throws -> Tensor {
    let form = cache.codec.columns[column]
    let size = form.rowByteCount
    let buffer = HostBuffer(byteCount: places.count * size)
    if var target = buffer.bytes.baseAddress {
      for place in places {
        guard let start = place.shard.start(of: column) else { continue }
        target.copyMemory(from: start + place.row * size, byteCount: size)
        target += size
      }
    }
    return try Tensor(buffer, shape: [places.count] + form.shape, dtype: form.type)
  }
}
