/// Changes files, so that much of them stays what a reader expects: it knows where the parts of each format are, changes one
/// of them, and puts lengths and checksums right again, most of the time.
public struct Mutator {
  var random: SplitMix
  private let reader: HostileReader
  private let seeds: [[UInt8]]

  /// Larger inputs only take longer.
  private static let largest = 1 << 15

  public init(_ reader: HostileReader, seeds: [[UInt8]], seed: UInt64) {
    self.reader = reader
    self.seeds = seeds
    random = SplitMix(state: seed)
  }

  /// The next input.
  public mutating func next() -> [UInt8] {
    guard let seed = seeds.randomElement(using: &random) else { return [] }
    let bytes = mutated(seed)
    return bytes.count > Self.largest ? Array(bytes.prefix(Self.largest)) : bytes
  }

  /// A changed copy of a file.
  public mutating func mutated(_ file: [UInt8]) -> [UInt8] {
    var bytes = file
    if chance(80), let changed = inParts(file) { bytes = changed }
    if bytes == file || chance(15) { change(&bytes) }
    return bytes
  }

  mutating func chance(_ percent: Int) -> Bool { Int.random(in: 0..<100, using: &random) < percent }

  mutating func below(_ limit: Int) -> Int { limit <= 1 ? 0 : Int.random(in: 0..<limit, using: &random) }

  // MARK: Bytes

  static let numbers: [Int] = [
    0, 1, 2, 3, 7, 8, 15, 16, 17, 63, 64, 127, 128, 255, 256, 0x7fff, 0xffff, 0x10000, 0x7fff_ffff, 0x8000_0000,
    0xffff_ffff, 0x1_0000_0000, 1 << 40, 1 << 61, 1 << 62, .max, .max - 1, .min, -1, -2, -8,
  ]

  /// One to some changes of any kind.
  mutating func change(_ bytes: inout [UInt8]) {
    for _ in 0...(chance(60) ? 0 : below(6)) { changeOnce(&bytes) }
  }

  private mutating func changeOnce(_ bytes: inout [UInt8]) {
    let place = below(bytes.count)
    let length = min(bytes.count - place, 1 + below(chance(80) ? 8 : 300))
    switch below(11) {
    case 0 where !bytes.isEmpty: bytes[place] ^= 1 << UInt8(below(8))
    case 1 where !bytes.isEmpty: bytes[place] = UInt8(below(256))
    case 2: bytes.removeSubrange(place..<place + length)
    case 3: bytes.insert(contentsOf: bytes[place..<place + length], at: below(bytes.count + 1))
    case 4 where chance(30): bytes.removeSubrange(place...)
    case 5: bytes.insert(contentsOf: tokens.randomElement(using: &random) ?? [], at: place)
    case 6:
      let token = tokens.randomElement(using: &random) ?? []
      bytes.replaceSubrange(place..<min(bytes.count, place + token.count), with: token)
    case 7, 8:
      // A number of 1 to 8 bytes, of either order.
      let width = min([1, 2, 4, 8][below(4)], bytes.count - place)
      guard width > 0 else { return }
      let value = numberNear(bytes.count)
      for index in 0..<width { bytes[place + index] = UInt8(truncatingIfNeeded: value >> (8 * index)) }
      if chance(25) { bytes[place..<place + width].reverse() }
    case 9: changeDigits(&bytes)
    default:
      guard let other = seeds.randomElement(using: &random), !other.isEmpty else { return }
      let start = below(other.count)
      bytes.insert(contentsOf: other[start..<min(other.count, start + 1 + below(64))], at: place)
    }
  }

  mutating func numberNear(_ count: Int) -> Int {
    chance(40) ? count + below(9) - 4 : (Self.numbers.randomElement(using: &random) ?? 0)
  }

  /// Another number in the place of one that is written in digits.
  private mutating func changeDigits(_ bytes: inout [UInt8]) {
    let digits = UInt8(ascii: "0")...UInt8(ascii: "9")
    let starts = bytes.indices.filter { digits.contains(bytes[$0]) && ($0 == 0 || !digits.contains(bytes[$0 - 1])) }
    guard let start = starts.randomElement(using: &random) else { return }
    let end = bytes[start...].firstIndex { !digits.contains($0) } ?? bytes.count
    bytes.replaceSubrange(start..<end, with: "\(numberNear(below(2) == 0 ? bytes.count : 24))".utf8)
  }

  private var tokens: [[UInt8]] {
    switch reader {
    case .safetensors, .index:
      return [
        "{", "}", "[", "]", ":", ",", "\"", "\\u0000", "\\ud800", "null", "true", "-1", "1e999", "0.5", "\"dtype\"",
        "\"shape\"", "\"data_offsets\"", "\"__metadata__\"", "\"F32\"", "\"U8\"", "[0,0]", "../", "/etc/passwd",
        "\"weight_map\":{", "9223372036854775807", "-9223372036854775808", "18446744073709551616",
      ].map { Array($0.utf8) }
    case .torch:
      return Self.instructions
    case .npy, .npz:
      return [
        "'descr': '<f4'", "'shape': (0, 9223372036854775807, 9223372036854775807)", "(4,)", "True", "'|b1'", ">f8",
      ]
      .map { Array($0.utf8) }
    case .tokenizer:
      return [
        "{", "}", "[", "]", ",", "null", "true", "-1", "1e99", "\"\"", "\\u0000", "\\ud800", "4294967296", "2147483648",
        "\"type\":\"Sequence\"", "\"normalizers\":[", "\"type\":\"Split\"", "\"Regex\":\"(a*)*b\"", "\"String\":\"\"",
        "\"type\":\"Replace\",\"content\":\"aaaaaaaaaaaaaaaa\"", "\"type\":\"Prepend\",\"prepend\":\"\"",
        "\"type\":\"NFKD\"",
        "\"type\":\"Fuse\"", "\"type\":\"Strip\"", "\"max_input_chars_per_word\":0", "\"id\":0", "\"unk_token\":\"a\"",
        "\"byte_fallback\":true", "\"ignore_merges\":true", "\"dropout\":0.5", "[\"a\",\"aa\"]",
      ].map { Array($0.utf8) }
    case .onnx: return Self.operators.map { Array($0.utf8) }
    case .image:
      return [
        Array("IDAT".utf8), Array("PLTE".utf8), Array("tRNS".utf8), Array("IEND".utf8), [0xff, 0xd8], [0xff, 0xd9],
        [0xff, 0xc0], [0xff, 0xc2], [0xff, 0xc4], [0xff, 0xdb], [0xff, 0xda], [0xff, 0xdd], [0xff, 0xee],
      ]
    }
  }

  private static let instructions: [[UInt8]] =
    "().0NJKMGXTUBCaesu}]tRbQqrhjc2".utf8.map { [$0] }
    + [
      [0x80, 2], [0x85], [0x86], [0x87], [0x88], [0x89], [0x8a, 1, 0xff], [0x8a, 8, 0, 0, 0, 0, 0, 0, 0, 0x80],
      [0x8b, 0xff, 0xff, 0xff, 0x7f], [0x8b, 0, 0, 0, 0x80], [0x8c, 1, 0x61], [0x8d, 0, 0, 0, 0, 0, 0, 0, 0x80],
      [0x8e, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f], [0x8f], [0x90], [0x91], [0x93], [0x94], [0x95], [0x96],
      [UInt8(ascii: "h"), 0], [UInt8(ascii: "h"), 5], [UInt8(ascii: "q"), 0], [UInt8(ascii: "K"), 0],
      [UInt8(ascii: "K"), 3], [UInt8(ascii: "J"), 0xff, 0xff, 0xff, 0xff],
      [UInt8(ascii: "r"), 0xff, 0xff, 0xff, 0xff],
    ]
    + [
      "ctorch._utils\n_rebuild_tensor_v2\n", "ctorch._utils\n_rebuild_tensor_v3\n",
      "ctorch._utils\n_rebuild_parameter\n",
      "ctorch._tensor\n_rebuild_from_type_v2\n", "ctorch\nFloatStorage\n", "ctorch\nfloat32\n", "ctorch\nTensor\n",
      "ccollections\nOrderedDict\n", "cposix\nsystem\n", "ctorch.storage\nUntypedStorage\n", "}(", "](", "((", ")R",
      "\u{85}R",
    ].map { Array($0.utf8) }

  // MARK: Parts of formats

  private mutating func inParts(_ file: [UInt8]) -> [UInt8]? {
    switch reader {
    case .safetensors:
      guard let length = Self.number(file, 0, 8), length <= file.count - 8 else { return nil }
      var header = Array(file[8..<8 + length])
      var data = Array(file[(8 + length)...])
      if chance(10) { change(&data) } else { change(&header) }
      return Self.bytes(of: header.count, 8) + header + data
    case .torch where file.starts(with: [0x50, 0x4b]), .npz: return inZip(file)
    case .npy:
      guard file.count > 10, let length = Self.number(file, 8, 2), 10 + length <= file.count, file[6] == 1 else {
        return nil
      }
      var header = Array(file[10..<10 + length])
      change(&header)
      return file[..<8] + Self.bytes(of: header.count, 2) + header + file[(10 + length)...]
    case .image where file.starts(with: [0x89]): return inChunks(file)
    case .onnx:
      var changed = file
      for _ in 0...(chance(50) ? 0 : below(5)) { changed = inMessage(changed, depth: 0) ?? changed }
      return changed
    default: return nil
    }
  }

  private static func number(_ bytes: [UInt8], _ place: Int, _ count: Int) -> Int? {
    guard place >= 0, place <= bytes.count - count else { return nil }
    let value = bytes[place..<place + count].reversed().reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
    return Int(exactly: value)
  }

  private static func bytes(of number: Int, _ count: Int) -> [UInt8] {
    (0..<count).map { UInt8(truncatingIfNeeded: number >> (8 * $0)) }
  }

  private struct Member {
    var name: [UInt8]
    var method: Int
    var count: Int
    var checksum: Int?
    var data: [UInt8]
  }

  /// Another zip file with one of the contents, names or numbers changed.
  private mutating func inZip(_ file: [UInt8]) -> [UInt8]? {
    var members: [Member] = []
    guard let found = file.indices.reversed().first(where: { Self.number(file, $0, 4) == 0x0605_4b50 }),
      var place = Self.number(file, found + 16, 4), let count = Self.number(file, found + 10, 2)
    else { return nil }
    for _ in 0..<count {
      guard Self.number(file, place, 4) == 0x0201_4b50, let nameLength = Self.number(file, place + 28, 2),
        let extra = Self.number(file, place + 30, 2), let head = Self.number(file, place + 42, 4),
        let stored = Self.number(file, place + 20, 4), let method = Self.number(file, place + 10, 2),
        let size = Self.number(file, place + 24, 4), let headName = Self.number(file, head + 26, 2),
        let headExtra = Self.number(file, head + 28, 2)
      else { return nil }
      let start = head + 30 + headName + headExtra
      guard start + stored <= file.count, place + 46 + nameLength <= file.count else { return nil }
      members.append(
        Member(
          name: Array(file[place + 46..<place + 46 + nameLength]), method: method, count: size, checksum: nil,
          data: Array(file[start..<start + stored])))
      if method != 0 { members[members.count - 1].checksum = Self.number(file, place + 16, 4) }
      place += 46 + nameLength + extra
    }
    guard !members.isEmpty else { return nil }
    let pickle = members.firstIndex { $0.name.suffix(8).elementsEqual("data.pkl".utf8) }
    let which = pickle.flatMap { chance(75) ? $0 : nil } ?? below(members.count)
    switch below(20) {
    case 0: change(&members[which].name)
    case 1: members.append(members[which])
    case 2: members.remove(at: which)
    case 3: members[which].count = numberNear(members[which].count)
    case 4: members[which].method = [0, 8, 9, 99][below(4)]
    default:
      let isStored = members[which].method == 0
      change(&members[which].data)
      if isStored { members[which].count = members[which].data.count }
    }
    var result: [UInt8] = []
    var directory: [UInt8] = []
    for member in members {
      let checksum = member.checksum ?? Checksum.crc32(member.data)
      let facts =
        Self.bytes(of: member.method, 2) + [0, 0, 0, 0] + Self.bytes(of: checksum, 4)
        + Self.bytes(of: member.data.count, 4) + Self.bytes(of: member.count, 4) + Self.bytes(of: member.name.count, 2)
      directory += [0x50, 0x4b, 1, 2, 20, 0, 20, 0, 0, 0] + facts + [UInt8](repeating: 0, count: 12)
      directory += Self.bytes(of: result.count, 4) + member.name
      result += [0x50, 0x4b, 3, 4, 20, 0, 0, 0] + facts + [0, 0] + member.name + member.data
    }
    let start = result.count
    let number = Self.bytes(of: members.count, 2)
    return result + directory + [0x50, 0x4b, 5, 6, 0, 0, 0, 0] + number + number
      + Self.bytes(of: directory.count, 4) + Self.bytes(of: start, 4) + [0, 0]
  }

  /// A PNG picture with one chunk changed, and its checksum right.
  private mutating func inChunks(_ file: [UInt8]) -> [UInt8]? {
    var chunks: [[UInt8]] = []
    var place = 8
    while place + 12 <= file.count {
      let length = file[place..<place + 4].reduce(0) { $0 << 8 | Int($1) }
      guard place + 12 + length <= file.count else { return nil }
      chunks.append(Array(file[place + 4..<place + 8 + length]))
      place += 12 + length
    }
    guard !chunks.isEmpty else { return nil }
    let which = below(chunks.count)
    switch below(8) {
    case 0: chunks.append(chunks[which])
    case 1: chunks.remove(at: which)
    case 2: chunks.swapAt(which, below(chunks.count))
    default:
      var content = Array(chunks[which].dropFirst(4))
      change(&content)
      chunks[which] = chunks[which].prefix(4) + content
    }
    return chunks.reduce(Array(file[..<8])) { result, chunk in
      result + Self.bytes(of: max(0, chunk.count - 4), 4).reversed() + chunk
        + Self.bytes(of: Checksum.crc32(chunk), 4).reversed()
    }
  }
}

/// Numbers that look drawn, the same for the same seed.
public struct SplitMix: RandomNumberGenerator {
  var state: UInt64

  public mutating func next() -> UInt64 {
    state &+= 0x9e37_79b9_7f4a_7c15
    var value = state
    value = (value ^ (value >> 30)) &* 0xbf58_476d_1ce4_e5b9
    value = (value ^ (value >> 27)) &* 0x94d0_49bb_1331_11eb
    return value ^ (value >> 31)
  }
}

/// CRC-32, as zip files and PNG pictures have it.
enum Checksum {
  private static let table: [UInt32] = (0..<256).map { index in
    (0..<8).reduce(UInt32(index)) { value, _ in value & 1 == 1 ? 0xedb8_8320 ^ (value >> 1) : value >> 1 }
  }

  static func crc32(_ bytes: [UInt8]) -> Int {
    Int(~bytes.reduce(~UInt32(0)) { table[Int(UInt8(truncatingIfNeeded: $0) ^ $1)] ^ ($0 >> 8) })
  }
}
