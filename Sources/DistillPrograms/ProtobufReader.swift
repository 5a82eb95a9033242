/// The fields of a message as protobuf writes them, one after the other. Nothing is copied, and no length leads out of the
/// message.
///
/// ## Reference
/// https://protobuf.dev/programming-guides/encoding/
struct ProtobufReader {
  enum Value {
    /// Of variable length, such as all whole numbers.
    case number(UInt64)
    /// Four or eight bytes, such as a number with a fraction.
    case fixed(Range<Int>)
    /// A text, a message, or a list of numbers: where it lies in the file.
    case part(Range<Int>)
  }

  struct Field {
    var number: Int
    var value: Value
  }

  /// Where it is damaged, in words that go on after the path.
  struct Failure: Error {
    var problem: String
  }

  private let bytes: UnsafeRawBufferPointer
  private var place: Int
  private let end: Int

  /// - Parameters:
  ///   - bytes: the whole file
  ///   - part: where in it the message lies
  init(_ bytes: UnsafeRawBufferPointer, _ part: Range<Int>) {
    self.bytes = bytes
    (place, end) = (part.lowerBound, part.upperBound)
  }

  private func failure(_ what: String) -> Failure { Failure(problem: "\(what) at byte \(place)") }

  /// nil at the end of the message.
  mutating func next() throws -> Field? {
    guard place < end else { return nil }
    let tag = try number()
    guard tag >> 3 > 0, tag >> 3 < 1 << 29 else { throw failure("there is no field \(tag >> 3)") }
    let field = Int(tag >> 3)
    switch tag & 7 {
    case 0: return Field(number: field, value: .number(try number()))
    case 1: return Field(number: field, value: .fixed(try part(8)))
    case 2: return Field(number: field, value: .part(try part(try number())))
    case 5: return Field(number: field, value: .fixed(try part(4)))
    default: throw failure("the field \(field) is of no kind that there is")
    }
  }

  /// The next number of a list of them.
  mutating func nextNumber() throws -> UInt64? { place < end ? try number() : nil }

  private mutating func part(_ count: UInt64) throws -> Range<Int> {
    guard count <= UInt64(end - place) else {
      throw failure("\(count) bytes are announced, and \(end - place) are left")
    }
    defer { place += Int(count) }
    return place..<place + Int(count)
  }

  private mutating func number() throws -> UInt64 {
    var value: UInt64 = 0
    for index in 0..<10 as Range<UInt64> {
      guard place < end else { throw failure("a number is cut off") }
      let byte = UInt64(bytes[place])
      place += 1
      value |= (byte & 0x7f) << (7 * index)
      if byte < 0x80 { return value }
    }
    throw failure("a number has no end")
  }
}
