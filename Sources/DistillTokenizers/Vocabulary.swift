/// Tokens and their numbers. Tokens are told apart by their bytes: Swift's texts would hold "é" as one character and as two
/// to be the same.
struct Vocabulary: Sendable {
  /// The tokens' UTF-8, one after the other.
  private var bytes: [UInt8] = []
  /// Where each token begins, and after the last one its end.
  private var starts: [Int32] = [0]
  private var ids: [Int32] = []
  /// Places in `ids`, at the hash of their tokens or behind it; −1 where there is none.
  private var table: [Int32] = Array(repeating: -1, count: 16)
  private var places: [Int32: Int32] = [:]
  /// So that nobody can write a file whose tokens all have the same hash.
  private let seed = UInt64.random(in: .min ... .max)
  /// The length of the longest token, in bytes.
  private(set) var longest = 0

  var count: Int { ids.count }

  /// The highest number; −1 where there is none.
  var highest: Int32 { ids.max() ?? -1 }

  mutating func reserve(_ count: Int) {
    ids.reserveCapacity(count)
    starts.reserveCapacity(count + 1)
  }

  /// Adds a token. One that is there already gets the new number.
  mutating func insert(_ token: some Collection<UInt8>, id: Int32) {
    let token = Array(token)
    token.withUnsafeBufferPointer { token in
      if let place = place(of: token) {
        if places[ids[place]] == Int32(place) { places[ids[place]] = nil }
        ids[place] = id
        places[id] = Int32(place)
        return
      }
      let place = Int32(ids.count)
      bytes += token
      starts.append(Int32(bytes.count))
      ids.append(id)
      places[id] = place
      longest = max(longest, token.count)
      if ids.count * 2 > table.count { grow() } else { put(place, hash: hash(token)) }
    }
  }

  private mutating func put(_ place: Int32, hash: UInt64) {
    var slot = Int(hash) & (table.count - 1)
    while table[slot] >= 0 { slot = (slot + 1) & (table.count - 1) }
    table[slot] = place
  }

  private mutating func grow() {
    table = Array(repeating: -1, count: table.count * 2)
    bytes.withUnsafeBufferPointer { bytes in
      for place in ids.indices {
        let token = UnsafeBufferPointer(rebasing: bytes[Int(starts[place])..<Int(starts[place + 1])])
        put(Int32(place), hash: hash(token))
      }
    }
  }

  // MARK: Hashes

  /// The hash of no bytes.
  var emptyHash: UInt64 { seed }

  /// The hash of bytes and one more.
  @inline(__always)
  func hash(_ hash: UInt64, and byte: UInt8) -> UInt64 {
    let mixed = (hash ^ UInt64(byte)) &* 0x9E37_79B9_7F4A_7C15
    return mixed ^ mixed >> 29
  }

  private func hash(_ token: UnsafeBufferPointer<UInt8>) -> UInt64 {
    token.reduce(emptyHash) { hash($0, and: $1) } & UInt64(Int.max)
  }

  // MARK: Looking up

  /// The number of a token of which the hash is known.
  @inline(__always)
  func id(of token: UnsafeBufferPointer<UInt8>, hash: UInt64) -> Int32? {
    var slot = Int(hash & UInt64(Int.max)) & (table.count - 1)
    while table[slot] >= 0 {
      let place = Int(table[slot])
      let start = Int(starts[place])
      if Int(starts[place + 1]) - start == token.count, bytes[start..<start + token.count].elementsEqual(token) {
        return ids[place]
      }
      slot = (slot + 1) & (table.count - 1)
    }
    return nil
  }

  private func place(of token: UnsafeBufferPointer<UInt8>) -> Int? {
    var slot = Int(hash(token)) & (table.count - 1)
    while table[slot] >= 0 {
      let place = Int(table[slot])
      if bytes[Int(starts[place])..<Int(starts[place + 1])].elementsEqual(token) { return place }
      slot = (slot + 1) & (table.count - 1)
    }
    return nil
  }

  func id(of token: some Collection<UInt8>) -> Int32? {
    Array(token).withUnsafeBufferPointer { token in place(of: token).map { ids[$0] } }
  }

  func id(of token: String) -> Int32? { id(of: token.utf8) }

  /// The token of a number.
  func token(of id: Int32) -> String? {
    guard let place = places[id] else { return nil }
    return String(decoding: bytes[Int(starts[Int(place)])..<Int(starts[Int(place) + 1])], as: UTF8.self)
  }
}
