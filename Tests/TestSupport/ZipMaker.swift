/// Zip files, right ones and wrong ones.
public struct ZipMaker: Sendable {
  public struct Member: Sendable {
    public var name: String
    public var data: [UInt8]
    public var method = 0
    /// What the file says of its size, where it lies.
    public var count: Int?
    /// Where its head is, where the directory lies about that.
    public var offset: Int?
    /// What its head calls it, where the directory calls it otherwise.
    public var headName: String?
    public var isEncrypted = false

    public init(_ name: String, _ data: [UInt8]) {
      self.name = name
      self.data = data
    }
  }

  public var members: [Member]
  /// Whether all sizes and places stand in extra fields of 64 bits.
  public var isLarge = false

  public init(_ members: [Member]) { self.members = members }

  private static func bytes(_ number: Int, _ count: Int) -> [UInt8] {
    (0..<count).map { UInt8(truncatingIfNeeded: number >> (8 * $0)) }
  }

  /// The file.
  public var bytes: [UInt8] {
    var result: [UInt8] = []
    var directory: [UInt8] = []
    for member in members {
      let (name, headName) = (Array(member.name.utf8), Array((member.headName ?? member.name).utf8))
      let (count, offset) = (member.count ?? member.data.count, member.offset ?? result.count)
      let flags = Self.bytes(member.isEncrypted ? 1 : 0, 2)
      func facts(_ large: Bool) -> [UInt8] {
        let sizes =
          large ? [UInt8](repeating: 0xff, count: 8) : Self.bytes(member.data.count, 4) + Self.bytes(count, 4)
        return Self.bytes(member.method, 2) + [0, 0, 0, 0, 0, 0, 0, 0] + sizes
      }
      let extra =
        isLarge ? [1, 0, 24, 0] + Self.bytes(count, 8) + Self.bytes(member.data.count, 8) + Self.bytes(offset, 8) : []
      directory += [0x50, 0x4b, 1, 2, 45, 0, 45, 0] + flags + facts(isLarge) + Self.bytes(name.count, 2)
      directory += Self.bytes(extra.count, 2) + [UInt8](repeating: 0, count: 10)
      directory += (isLarge ? [0xff, 0xff, 0xff, 0xff] : Self.bytes(offset, 4)) + name + extra
      result += [0x50, 0x4b, 3, 4, 45, 0] + flags + facts(false) + Self.bytes(headName.count, 2) + [0, 0] + headName
      result += member.data
    }
    let start = result.count
    result += directory
    if isLarge {
      let large = result.count
      result += [0x50, 0x4b, 6, 6] + Self.bytes(44, 8) + [45, 0, 45, 0] + [UInt8](repeating: 0, count: 8)
      result += Self.bytes(members.count, 8) + Self.bytes(members.count, 8) + Self.bytes(directory.count, 8)
      result += Self.bytes(start, 8) + [0x50, 0x4b, 6, 7, 0, 0, 0, 0] + Self.bytes(large, 8) + [1, 0, 0, 0]
    }
    let number = Self.bytes(isLarge ? 0xffff : members.count, 2)
    result += [0x50, 0x4b, 5, 6, 0, 0, 0, 0] + number + number
    return result + Self.bytes(isLarge ? 0xffff_ffff : directory.count, 4)
      + Self.bytes(isLarge ? 0xffff_ffff : start, 4) + [0, 0]
  }
}
