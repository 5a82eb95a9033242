import Torch

/// Numbers in a file that another program wrote, with any number of dimensions. They stay where they lie, which may be in
/// a mapped file larger than memory, and become ours row by row.
public struct NumberArray: Sendable {
  /// What an element is.
  public enum ElementType: String, Sendable, CaseIterable {
    case bool, int8, int16, int32, int64, uint8, uint16, uint32, uint64, float16, float32, float64

    public var byteCount: Int {
      switch self {
      case .bool, .int8, .uint8: 1
      case .int16, .uint16, .float16: 2
      case .int32, .uint32, .float32: 4
      case .int64, .uint64, .float64: 8
      }
    }

    /// Whether its elements have a fraction.
    public var isFloatingPoint: Bool { self == .float16 || self == .float32 || self == .float64 }
  }

  public let shape: [Int]
  public let type: ElementType
  /// The file that it comes from, with the name of the array in it, for messages.
  public let name: String
  private let isBigEndian: Bool
  private let bytes: HostBuffer
  private let start: Int
  /// How many elements apart neighbours along each dimension are.
  private let strides: [Int]

  /// - Parameters:
  ///   - start: of the first element, in bytes
  ///   - isColumnMajor: whether the first dimension changes fastest (Fortran's order), and not the last
  /// - Throws: `DataError` when the elements do not lie in the buffer.
  init(
    shape: [Int], type: ElementType, isBigEndian: Bool = false, isColumnMajor: Bool = false, in bytes: HostBuffer,
    from start: Int, name: String
  ) throws {
    guard shape.allSatisfy({ $0 >= 0 }), let count = product(shape + [type.byteCount]), start >= 0,
      start <= bytes.bytes.count, count <= bytes.bytes.count - start
    else {
      throw DataError(
        file: name, "is cut off: \(shape) of \(type) do not fit in \(max(0, bytes.bytes.count - start)) bytes",
        remedy: "Write or fetch the file again")
    }
    self.shape = shape
    self.type = type
    self.isBigEndian = isBigEndian
    self.bytes = bytes
    self.start = start
    self.name = name
    var strides = [Int](repeating: 1, count: shape.count)
    var stride = 1
    for dimension in isColumnMajor ? Array(shape.indices) : shape.indices.reversed() {
      strides[dimension] = stride
      stride *= shape[dimension]
    }
    self.strides = strides
  }

  /// The size of the last dimension; 1 for a single number.
  public var columnCount: Int { shape.last ?? 1 }

  /// How many rows there are: the product of all sizes but the last.
  public var rowCount: Int { shape.dropLast().reduce(1, *) }

  /// Rows as float32, one after the other: `[rows, columnCount]`. A number that is too large becomes infinite.
  public func floats(rows: Range<Int>) -> [Float] {
    var numbers: [Float] = []
    numbers.reserveCapacity(rows.count * columnCount)
    read(rows) { numbers.append(float($0)) }
    return numbers
  }

  /// All elements of an array of whole numbers, in row-major order.
  ///
  /// - Parameter fromWholeFractions: whether 3.0 counts as 3
  /// - Throws: `DataError` when they are no whole numbers, or one is too large.
  public func integers(fromWholeFractions: Bool = false) throws -> [Int] {
    if fromWholeFractions, type.isFloatingPoint {
      var numbers: [Int] = []
      var broken: Double?
      read(0..<rowCount) { place in
        let value = type == .float64 ? Double(bitPattern: load(UInt64.self, place)) : Double(float(place))
        // Beyond, not every whole number has a form of its own.
        guard let number = Int(exactly: value), abs(value) < 0x1p53 else { return broken = broken ?? value }
        numbers.append(number)
      }
      if let broken { throw DataError(file: name, "holds \(broken) where whole numbers are needed") }
      return numbers
    }
    guard !type.isFloatingPoint else {
      throw DataError(file: name, "holds numbers of type \(type) where whole numbers are needed")
    }
    var numbers: [Int] = []
    var tooLarge: UInt64?
    read(0..<rowCount) { place in
      if type == .uint64 {
        let value = load(UInt64.self, place)
        if value > UInt64(Int.max) { tooLarge = value }
        numbers.append(Int(truncatingIfNeeded: value))
      } else {
        numbers.append(integer(place))
      }
    }
    if let tooLarge { throw DataError(file: name, "holds the number \(tooLarge), which is too large") }
    return numbers
  }

  /// Calls `body` with the place of each element of some rows, in row-major order.
  private func read(_ rows: Range<Int>, _ body: (Int) -> Void) {
    let stride = (strides.last ?? 1) * type.byteCount
    for row in rows {
      var rest = row
      var element = 0
      for dimension in shape.indices.dropLast().reversed() {
        element += rest % shape[dimension] * strides[dimension]
        rest /= shape[dimension]
      }
      var place = start + element * type.byteCount
      for _ in 0..<columnCount {
        body(place)
        place += stride
      }
    }
  }

  private func load<Number: FixedWidthInteger>(_: Number.Type, _ place: Int) -> Number {
    let number = bytes.bytes.loadUnaligned(fromByteOffset: place, as: Number.self)
    return isBigEndian ? Number(bigEndian: number) : Number(littleEndian: number)
  }

  private func float(_ place: Int) -> Float {
    switch type {
    case .float16: Self.float(half: load(UInt16.self, place))
    case .float32: Float(bitPattern: load(UInt32.self, place))
    case .float64: Float(Double(bitPattern: load(UInt64.self, place)))
    case .uint64: Float(load(UInt64.self, place))
    default: Float(integer(place))
    }
  }

  private func integer(_ place: Int) -> Int {
    switch type {
    case .bool, .uint8: Int(load(UInt8.self, place))
    case .int8: Int(load(Int8.self, place))
    case .int16: Int(load(Int16.self, place))
    case .uint16: Int(load(UInt16.self, place))
    case .int32: Int(load(Int32.self, place))
    case .uint32: Int(load(UInt32.self, place))
    default: Int(load(Int64.self, place))
    }
  }

  /// The number that the 16 bits of a float16 stand for: Swift has the type on some machines only.
  static func float(half bits: UInt16) -> Float {
    let sign = UInt32(bits & 0x8000) << 16
    let (exponent, fraction) = (UInt32(bits >> 10 & 0x1f), UInt32(bits & 0x3ff))
    switch exponent {
    case 0:
      let size = Float(fraction) * 0x1p-24
      return sign == 0 ? size : -size
    case 31: return Float(bitPattern: sign | 0x7f80_0000 | fraction << 13)
    default: return Float(bitPattern: sign | (exponent + 112) << 23 | fraction << 13)
    }
  }
}
