/// The checksum of the records in TensorBoard's files: the cyclic redundancy check of 32 bits with Castagnoli's
/// polynomial, bits reversed, as in RFC 3720.
enum CRC32C {
  private static let table: [UInt32] = (0..<256).map { index in
    (0..<8).reduce(UInt32(index)) { value, _ in value & 1 == 1 ? 0x82F6_3B78 ^ (value >> 1) : value >> 1 }
  }

  static func checksum(_ bytes: some Sequence<UInt8>) -> UInt32 {
    ~bytes.reduce(UInt32.max) { table[Int(($0 ^ UInt32($1)) & 0xFF)] ^ ($0 >> 8) }
  }

  /// The checksum turned by 15 bits, plus a constant: so the file format stores it, since the checksum of bytes that
  /// hold their own checksum says little.
  static func masked(_ bytes: some Sequence<UInt8>) -> UInt32 {
    let checksum = checksum(bytes)
    return ((checksum >> 15) | (checksum << 17)) &+ 0xA282_EAD8
  }
}
