/// A message in the wire format of Protocol Buffers, written field by field, and read again.
///
/// TensorBoard's files need eight small messages with three kinds of fields. What swift-protobuf's generator writes for
/// them is many times as long as this file, and everybody who builds the package would compile its runtime for them
/// alone. Whatever needs the messages of a whole schema should take that library, and this may go then. A test lets
/// TensorBoard's own classes read what is written here.
struct ProtobufMessage {
  /// What is on the wire behind a field's number.
  enum Value: Equatable {
    case varint(UInt64)
    case fixed64(UInt64)
    case bytes([UInt8])
    case fixed32(UInt32)
  }

  struct Field: Equatable {
    var number: Int
    var value: Value
  }

  private(set) var bytes: [UInt8] = []

  // MARK: Writing

  /// A whole number: `int32`, `int64` or the value of an enumeration.
  mutating func append(_ number: Int, as field: Int) {
    appendKey(field, wireType: 0)
    appendVarint(UInt64(bitPattern: Int64(number)))
  }

  mutating func append(_ number: Double, as field: Int) {
    appendKey(field, wireType: 1)
    appendLittleEndian(number.bitPattern)
  }

  mutating func append(_ number: Float, as field: Int) {
    appendKey(field, wireType: 5)
    appendLittleEndian(number.bitPattern)
  }

  mutating func append(_ text: String, as field: Int) { append(Array(text.utf8), as: field) }

  mutating func append(_ message: ProtobufMessage, as field: Int) { append(message.bytes, as: field) }

  mutating func append(_ content: [UInt8], as field: Int) {
    appendKey(field, wireType: 2)
    appendVarint(UInt64(content.count))
    bytes += content
  }

  private mutating func appendKey(_ field: Int, wireType: UInt64) { appendVarint(UInt64(field) << 3 | wireType) }

  /// Seven bits a byte, the lowest first; the eighth says that more follow.
  private mutating func appendVarint(_ value: UInt64) {
    var rest = value
    while rest > 0x7F {
      bytes.append(UInt8(rest & 0x7F) | 0x80)
      rest >>= 7
    }
    bytes.append(UInt8(rest))
  }

  private mutating func appendLittleEndian(_ value: some FixedWidthInteger) {
    bytes += withUnsafeBytes(of: value.littleEndian) { Array($0) }
  }

  // MARK: Reading

  /// The fields of a message in the order in which they were written; nil where the bytes are none.
  static func fields(of bytes: [UInt8]) -> [Field]? {
    var rest = bytes[...]
    var fields: [Field] = []
    while !rest.isEmpty {
      guard let key = takeVarint(&rest), key >> 3 > 0, key >> 3 < 1 << 29 else { return nil }
      let number = Int(key >> 3)
      switch key & 7 {
      case 0:
        guard let value = takeVarint(&rest) else { return nil }
        fields.append(Field(number: number, value: .varint(value)))
      case 1:
        guard let value = takeLittleEndian(8, &rest) else { return nil }
        fields.append(Field(number: number, value: .fixed64(value)))
      case 2:
        guard let count = takeVarint(&rest), count <= UInt64(rest.count) else { return nil }
        fields.append(Field(number: number, value: .bytes(Array(rest.prefix(Int(count))))))
        rest = rest.dropFirst(Int(count))
      case 5:
        guard let value = takeLittleEndian(4, &rest) else { return nil }
        fields.append(Field(number: number, value: .fixed32(UInt32(value))))
      default: return nil
      }
    }
    return fields
  }

  private static func takeVarint(_ rest: inout ArraySlice<UInt8>) -> UInt64? {
    var value: UInt64 = 0
    for shift in stride(from: UInt64(0), to: 70, by: 7) {
      guard let byte = rest.popFirst() else { return nil }
      value |= UInt64(byte & 0x7F) << shift
      if byte & 0x80 == 0 { return value }
    }
    return nil
  }

  private static func takeLittleEndian(_ count: Int, _ rest: inout ArraySlice<UInt8>) -> UInt64? {
    guard rest.count >= count else { return nil }
    let value = rest.prefix(count).reversed().reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
    rest = rest.dropFirst(count)
    return value
  }
}
