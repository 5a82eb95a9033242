import Torch

/// What a pickle says that only holds tensors and plain values around them. It is read, and never executed: a pickle is a
/// program for a small machine, and one that calls anything but the few functions which make tensors is refused, by the
/// name of what it would call.
///
/// All that it makes lies in flat lists and points to each other by number, so that neither loops nor deep nesting do
/// harm, and what is pointed to many times is there once.
///
/// ## Reference
/// https://docs.python.org/3/library/pickle.html, protocols 2 to 5; `pickletools.py` of CPython for the instructions
struct Pickle {
  enum Value {
    case none
    case bool(Bool)
    case integer(Int)
    /// A whole number of more than 64 bits.
    case largeInteger
    case number(Double)
    /// Where a text, in UTF-8, lies in the file.
    case text(start: Int, count: Int)
    case bytes
    /// A tuple, a list or a set: a place in `sequences`.
    case sequence(Int, isList: Bool)
    /// A place in `dictionaries`.
    case dictionary(Int)
    case name(Name)
    /// A place in `tensors`.
    case tensor(Int)
    /// A place in `storages`.
    case storage(Int)
    /// Something of no interest, such as a device.
    case other
  }

  /// What may be named.
  enum Name: Equatable {
    case orderedDictionary
    /// What makes something of no interest: a set, a device, a size, bytes, a table of counts.
    case plain
    case rebuildTensor, rebuildTensorV2, rebuildTensorV3, rebuildParameter, rebuildParameterWithState, rebuildFromType
    case tensorType
    case dtype(DType)
    /// nil: of bytes, whatever they are.
    case storageType(DType?)
    /// An element type that there is, but not here.
    case foreignType(String)
  }

  /// What `torch.save` writes in the place of a storage.
  struct Storage {
    var key: String
    /// nil: bytes, whatever they are.
    var dtype: DType?
    /// The name of an element type that there is not here.
    var foreignType: String?
    /// Elements; bytes where there is no type.
    var count: Int
    /// In the old form, the part of the storage that this is: from which element on, and how many.
    var view: (offset: Int, count: Int)?
  }

  struct StoredTensor {
    var storage: Int
    /// nil: of a type that there is not here.
    var dtype: DType?
    var foreignType: String?
    var offset: Int
    var shape: [Int]
    var strides: [Int]
  }

  /// Why it was not read, in words that go on after the path.
  struct Failure: Error {
    var problem: String
  }

  private(set) var sequences: [[Value]] = []
  private(set) var dictionaries: [[(key: Value, value: Value)]] = []
  private(set) var tensors: [StoredTensor] = []
  private(set) var storages: [Storage] = []
  private(set) var root = Value.none
  /// How many bytes it took.
  private(set) var end = 0

  /// The file's bytes, from which the texts are.
  let bytes: UnsafeRawBufferPointer
  private let limit: Int
  private var position: Int
  private var stack: [Value] = []
  private var marks: [Int] = []
  private var memo: [Int: Value] = [:]
  /// How many elements may yet be copied from one list to another.
  private var copies: Int

  /// No state dict needs so many; each takes some tens of bytes here.
  private static let mostSteps = 20_000_000

  /// - Parameters:
  ///   - bytes: have to stay where they are as long as this is used
  ///   - range: where the pickle begins, and where it has to have ended
  init(_ bytes: UnsafeRawBufferPointer, in range: Range<Int>) throws {
    self.bytes = bytes
    position = range.lowerBound
    limit = range.upperBound
    copies = range.count + 1000
    var steps = 0
    while try step() {
      steps += 1
      guard steps < Self.mostSteps else { throw Failure(problem: "its pickle has more than \(steps) instructions") }
    }
    end = position
    (stack, marks, memo) = ([], [], [:])
  }

  /// A text; nil for everything else, and for bytes that are none.
  func text(_ value: Value) -> String? {
    guard case .text(let start, let count) = value else { return nil }
    return String(validating: UnsafeRawBufferPointer(rebasing: bytes[start..<start + count]), as: UTF8.self)
  }

  // MARK: The machine

  private static let advice = "fetch or write the file again"

  private func damaged(_ what: String) -> Failure {
    Failure(problem: "its pickle is damaged: \(what) at byte \(position); \(Self.advice)")
  }

  private mutating func take(_ count: Int) throws -> UnsafeRawBufferPointer {
    guard count >= 0, count <= limit - position else {
      throw damaged(count < 0 ? "a negative length" : "\(count) bytes are announced, and \(limit - position) are left,")
    }
    defer { position += count }
    return UnsafeRawBufferPointer(rebasing: bytes[position..<position + count])
  }

  /// A little-endian number without a sign; one that needs the 64th bit is negative.
  private mutating func number(_ count: Int) throws -> Int {
    Int(truncatingIfNeeded: try take(count).reversed().reduce(UInt64(0)) { $0 << 8 | UInt64($1) })
  }

  private mutating func pop() throws -> Value {
    guard stack.count > (marks.last ?? 0), let value = stack.popLast() else { throw damaged("a value is missing") }
    return value
  }

  private mutating func popToMark() throws -> [Value] {
    guard let mark = marks.popLast() else { throw damaged("a mark is missing") }
    // A copy: a slice would let the whole stack be copied.
    let values = Array(stack[mark...])
    stack.removeLast(stack.count - mark)
    return values
  }

  /// What is on top stays there.
  private func top() throws -> Value {
    guard stack.count > (marks.last ?? 0), let value = stack.last else { throw damaged("a value is missing") }
    return value
  }

  private mutating func addSequence(_ values: some Sequence<Value>, isList: Bool) -> Value {
    sequences.append(Array(values))
    return .sequence(sequences.count - 1, isList: isList)
  }

  private mutating func addDictionary() -> Value {
    dictionaries.append([])
    return .dictionary(dictionaries.count - 1)
  }

  private mutating func pushText(_ count: Int) throws {
    let start = position
    _ = try take(count)
    stack.append(.text(start: start, count: count))
  }

  private mutating func pushBytes(_ count: Int) throws {
    _ = try take(count)
    stack.append(.bytes)
  }

  /// A whole number of so many bytes, the last of which has the sign.
  private mutating func pushInteger(_ count: Int) throws {
    let digits = try take(count)
    guard count <= 8 else {
      stack.append(.largeInteger)
      return
    }
    let sign: UInt64 = digits.last.map { $0 >= 0x80 ? .max : 0 } ?? 0
    stack.append(.integer(Int(truncatingIfNeeded: digits.reversed().reduce(sign) { $0 << 8 | UInt64($1) })))
  }

  /// One instruction; false at the end.
  private mutating func step() throws -> Bool {
    let code = try take(1)[0]
    switch code {
    case 0x80:
      let version = try number(1)
      guard version <= 5 else { throw Failure(problem: "it is pickled by the protocol \(version); 2 to 5 are known") }
    case 0x95: _ = try take(8)  // how long the next part is
    case UInt8(ascii: "."):
      root = try pop()
      guard stack.isEmpty, marks.isEmpty else { throw damaged("something is left over") }
      return false
    case UInt8(ascii: "("): marks.append(stack.count)
    case UInt8(ascii: "N"): stack.append(.none)
    case 0x88: stack.append(.bool(true))
    case 0x89: stack.append(.bool(false))
    case UInt8(ascii: "J"): stack.append(.integer(Int(Int32(truncatingIfNeeded: try number(4)))))
    case UInt8(ascii: "K"): stack.append(.integer(try number(1)))
    case UInt8(ascii: "M"): stack.append(.integer(try number(2)))
    case 0x8a: try pushInteger(try number(1))
    case 0x8b: try pushInteger(Int(Int32(truncatingIfNeeded: try number(4))))
    case UInt8(ascii: "G"):
      stack.append(.number(Double(bitPattern: try take(8).reduce(UInt64(0)) { $0 << 8 | UInt64($1) })))
    case UInt8(ascii: "X"): try pushText(try number(4))
    case 0x8c: try pushText(try number(1))
    case 0x8d: try pushText(try number(8))
    case UInt8(ascii: "U"): try pushText(try number(1))  // texts of Python 2
    case UInt8(ascii: "T"): try pushText(Int(Int32(truncatingIfNeeded: try number(4))))
    case UInt8(ascii: "B"): try pushBytes(try number(4))
    case UInt8(ascii: "C"): try pushBytes(try number(1))
    case 0x8e, 0x96: try pushBytes(try number(8))
    case UInt8(ascii: ")"): stack.append(addSequence([], isList: false))
    case UInt8(ascii: "]"): stack.append(addSequence([], isList: true))
    case 0x8f: stack.append(addSequence([], isList: true))
    case UInt8(ascii: "}"): stack.append(addDictionary())
    case UInt8(ascii: "t"), 0x91:
      let values = try popToMark()
      stack.append(addSequence(values, isList: false))
    case 0x85, 0x86, 0x87:
      let values = try (0x85...code).map { _ in try pop() }
      stack.append(addSequence(values.reversed(), isList: false))
    case UInt8(ascii: "a"): try append([try pop()])
    case UInt8(ascii: "e"), 0x90: try append(try popToMark())
    case UInt8(ascii: "s"):
      let value = try pop()
      try set([try pop(), value])
    case UInt8(ascii: "u"): try set(try popToMark())
    case UInt8(ascii: "c"):
      let module = try line()
      stack.append(.name(try Self.known(module: module, name: try line())))
    case 0x93:
      let (name, module) = (try pop(), try pop())
      guard let name = text(name), let module = text(module) else { throw damaged("a name is no text") }
      stack.append(.name(try Self.known(module: module, name: name)))
    case UInt8(ascii: "R"):
      let arguments = try pop()
      stack.append(try called(try pop(), with: arguments))
    case UInt8(ascii: "b"): try build()
    case UInt8(ascii: "Q"): stack.append(try stored(try pop()))
    case UInt8(ascii: "q"): memo[try number(1)] = try top()
    case UInt8(ascii: "r"): memo[try number(4)] = try top()
    case 0x94: memo[memo.count] = try top()
    case UInt8(ascii: "h"): try recall(try number(1))
    case UInt8(ascii: "j"): try recall(try number(4))
    default:
      throw Failure(
        problem: "its pickle has the instruction 0x\(String(code, radix: 16)) at byte \(position - 1), which a file of "
          + "tensors does not need: \(Self.remedy)")
    }
    return true
  }

  private mutating func recall(_ place: Int) throws {
    guard let value = memo[place] else { throw damaged("it remembers nothing by the number \(place)") }
    stack.append(value)
  }

  private mutating func append(_ values: some Collection<Value>) throws {
    guard case .sequence(let place, isList: true) = try top() else { throw damaged("what grows is no list") }
    sequences[place].append(contentsOf: values)
  }

  private mutating func set(_ pairs: some Collection<Value>) throws {
    guard pairs.count.isMultiple(of: 2) else { throw damaged("a key has no value") }
    guard case .dictionary(let place) = try top() else { throw damaged("what has keys is no dictionary") }
    var iterator = pairs.makeIterator()
    while let key = iterator.next(), let value = iterator.next() { dictionaries[place].append((key, value)) }
  }

  /// What is said of an object after it was made. A state dict has the versions of its modules there.
  private mutating func build() throws {
    _ = try pop()
    switch try top() {
    case .dictionary, .tensor: break
    default: throw damaged("something is added to what cannot have it")
    }
  }

  /// Up to the end of a line.
  private mutating func line() throws -> String {
    let rest = bytes[position..<min(limit, position + 1000)]
    guard let end = rest.firstIndex(of: 10) else { throw damaged("a name does not end") }
    let line = try take(end - position)
    position += 1
    guard let text = String(validating: line, as: UTF8.self) else { throw damaged("a name is no text") }
    return text
  }

  // MARK: What may be named and called

  static let remedy = "save the weights alone from Python, torch.save(model.state_dict(), path)"

  private static let types: [String: DType] = [
    "uint8": .uint8, "int8": .int8, "int16": .int16, "short": .int16, "int32": .int32, "int": .int32, "int64": .int64,
    "long": .int64, "float16": .float16, "half": .float16, "float32": .float32, "float": .float32, "float64": .float64,
    "double": .float64, "bool": .bool, "bfloat16": .bfloat16,
  ]
  private static let storageTypes: [String: DType] = [
    "ByteStorage": .uint8, "CharStorage": .int8, "ShortStorage": .int16, "IntStorage": .int32, "LongStorage": .int64,
    "HalfStorage": .float16, "FloatStorage": .float32, "DoubleStorage": .float64, "BoolStorage": .bool,
    "BFloat16Storage": .bfloat16,
  ]
  private static let foreignTypes: Set = [
    "uint16", "uint32", "uint64", "complex32", "complex64", "complex128", "cfloat", "cdouble", "chalf", "float8_e4m3fn",
    "float8_e5m2", "float8_e4m3fnuz", "float8_e5m2fnuz", "float8_e8m0fnu", "float4_e2m1fn_x2", "quint8", "qint8",
    "qint32", "quint4x2", "quint2x4",
  ]
  private static let foreignStorageTypes = [
    "ComplexFloatStorage": "complex64", "ComplexDoubleStorage": "complex128", "QInt8Storage": "qint8",
    "QUInt8Storage": "quint8", "QInt32Storage": "qint32",
  ]
  private static let others: [String: Name] = [
    "collections.OrderedDict": .orderedDictionary, "builtins.set": .plain, "builtins.frozenset": .plain,
    "__builtin__.set": .plain, "__builtin__.frozenset": .plain, "torch.device": .plain, "torch.Size": .plain,
    "_codecs.encode": .plain, "builtins.bytearray": .plain, "__builtin__.bytearray": .plain,
    "collections.Counter": .plain,
    "torch._utils._rebuild_tensor": .rebuildTensor,
    "torch._utils._rebuild_tensor_v2": .rebuildTensorV2, "torch._utils._rebuild_tensor_v3": .rebuildTensorV3,
    "torch._utils._rebuild_parameter": .rebuildParameter,
    "torch._utils._rebuild_parameter_with_state": .rebuildParameterWithState,
    "torch._tensor._rebuild_from_type_v2": .rebuildFromType, "torch.Tensor": .tensorType,
    "torch.nn.parameter.Parameter": .tensorType, "torch.nn.parameter.Buffer": .tensorType,
    "torch.storage.UntypedStorage": .storageType(nil), "torch.UntypedStorage": .storageType(nil),
  ]

  private static func known(module: String, name: String) throws -> Name {
    let whole = "\(module).\(name)"
    if let found = others[whole] { return found }
    if module == "torch" {
      if let dtype = types[name] { return .dtype(dtype) }
      if let dtype = storageTypes[name] { return .storageType(dtype) }
      if foreignTypes.contains(name) { return .foreignType(name) }
      if let type = foreignStorageTypes[name] { return .foreignType(type) }
    }
    throw Failure(
      problem: "it holds more than tensors: it asks for '\(whole.prefix(100))', which Python would execute and Distill "
        + "does not. Where you trust it, \(remedy)")
  }

  private func list(_ value: Value) -> [Value]? {
    guard case .sequence(let place, _) = value else { return nil }
    return sequences[place]
  }

  private mutating func called(_ function: Value, with arguments: Value) throws -> Value {
    guard case .name(let name) = function else { throw damaged("what is called has no name") }
    guard let arguments = list(arguments) else { throw damaged("the arguments of a call are missing") }
    switch name {
    case .orderedDictionary: return try dictionary(of: arguments)
    case .plain: return .other
    case .rebuildTensor where arguments.count == 4, .rebuildTensorV2 where (6...7).contains(arguments.count):
      if arguments.count == 7 { try refuseMarks(arguments[6]) }
      return try tensor(arguments, type: nil)
    case .rebuildTensorV3 where (7...8).contains(arguments.count):
      if arguments.count == 8 { try refuseMarks(arguments[7]) }
      return try tensor(arguments, type: arguments[6])
    case .rebuildParameter where arguments.count == 3, .rebuildParameterWithState where arguments.count == 4:
      guard case .tensor = arguments[0] else { throw damaged("a parameter is no tensor") }
      return arguments[0]
    case .rebuildFromType where arguments.count == 4:
      guard case .name(let inner) = arguments[0], inner != .rebuildFromType, case .name(.tensorType) = arguments[1]
      else { throw damaged("a tensor of an unknown kind") }
      return try called(arguments[0], with: arguments[2])
    default: throw damaged("a call that cannot be")
    }
  }

  /// A dictionary that Python 2 gave its pairs with.
  private mutating func dictionary(of arguments: [Value]) throws -> Value {
    let made = addDictionary()
    guard let first = arguments.first else { return made }
    guard arguments.count == 1, let pairs = list(first), case .dictionary(let place) = made else {
      throw damaged("a dictionary of something else than pairs")
    }
    copies -= pairs.count
    guard copies >= 0 else { throw damaged("the same is copied again and again") }
    for pair in pairs {
      guard let pair = list(pair), pair.count == 2 else { throw damaged("a dictionary of something else than pairs") }
      dictionaries[place].append((pair[0], pair[1]))
    }
    return made
  }

  /// A tensor whose numbers were to be negated, or conjugated, when they are looked at has a mark that says so.
  private func refuseMarks(_ value: Value) throws {
    switch value {
    case .none: return
    case .dictionary(let place) where dictionaries[place].isEmpty: return
    default:
      throw Failure(
        problem: "it holds a tensor that is negated or conjugated only when it is looked at: save tensor.resolve_neg()")
    }
  }

  static let mostDimensions = 16

  private mutating func tensor(_ arguments: [Value], type: Value?) throws -> Value {
    guard case .storage(let storage) = arguments[0], case .integer(let offset) = arguments[1] else {
      throw damaged("a tensor without its storage")
    }
    func sizes(_ value: Value) throws -> [Int] {
      guard case .sequence(let place, _) = value else { throw damaged("a tensor without a shape") }
      guard sequences[place].count <= Self.mostDimensions else {
        throw damaged("a tensor of \(sequences[place].count) dimensions")
      }
      return try sequences[place].map { element in
        guard case .integer(let size) = element else { throw damaged("a shape with something else than numbers") }
        return size
      }
    }
    var made = StoredTensor(
      storage: storage, dtype: storages[storage].dtype, offset: offset, shape: try sizes(arguments[2]),
      strides: try sizes(arguments[3]))
    guard made.shape.count == made.strides.count else { throw damaged("a shape without its strides") }
    switch type {
    case .name(.dtype(let dtype)): made.dtype = dtype
    case .name(.foreignType(let name)): (made.dtype, made.foreignType) = (nil, name)
    case nil:
      if made.dtype == nil { made.foreignType = storages[storage].foreignType }
    default: throw damaged("a tensor without a type")
    }
    tensors.append(made)
    return .tensor(tensors.count - 1)
  }

  /// What stands in the place of a storage: `('storage', type, key, device, count)`, in the old form with a view.
  private mutating func stored(_ identity: Value) throws -> Value {
    guard let parts = list(identity), parts.count >= 5, text(parts[0]) == "storage" else {
      if let parts = list(identity), let first = parts.first, text(first) == "module" {
        throw Failure(problem: "it holds a whole Python module, with its code: \(Self.remedy)")
      }
      throw damaged("a storage that is none")
    }
    var storage = Storage(key: "", dtype: nil, count: 0)
    switch parts[1] {
    case .name(.storageType(let dtype)): storage.dtype = dtype
    case .name(.foreignType(let name)): storage.foreignType = name
    default: throw damaged("a storage without a type")
    }
    guard case .text(_, let length) = parts[2], length <= 64, let key = text(parts[2]),
      case .integer(let count) = parts[4], count >= 0
    else { throw damaged("a storage without a key or a size") }
    (storage.key, storage.count) = (key, count)
    if parts.count > 5, let view = list(parts[5]) {
      guard view.count == 3, case .integer(let offset) = view[1], case .integer(let size) = view[2] else {
        throw damaged("a part of a storage")
      }
      storage.view = (offset, size)
    }
    storages.append(storage)
    return .storage(storages.count - 1)
  }
}
