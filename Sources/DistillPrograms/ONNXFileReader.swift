import Torch

/// Looks through the messages of an ONNX file. See `ONNXFile` for what has to hold.
struct ONNXFileReader {
  private let bytes: UnsafeRawBufferPointer
  private let path: String
  private var external: ONNXExternalWeights
  private var calls = ONNXCalls()
  private var nodeCount = 0

  private static let mostNodes = 200_000
  static let mostDimensions = 16
  /// How deep graphs may lie in the nodes of others, and types in types.
  private static let mostDepth = 16

  init(_ bytes: UnsafeRawBufferPointer, path: String) {
    self.bytes = bytes
    self.path = path
    external = ONNXExternalWeights(path: path)
  }

  /// - Returns: the files with weights that it names, sorted
  /// - Throws: `ProgramError`, `ProtobufReader.Failure`
  mutating func externalFiles() throws -> [String] {
    try readModel()
    return external.files
  }

  private func fail(_ problem: String) -> ProgramError { ProgramError(path: path, problem: problem) }

  private func text(_ part: Range<Int>) -> String { String(decoding: bytes[part], as: UTF8.self) }

  /// Where a message, a text or a list lies.
  private func part(_ field: ProtobufReader.Field, of message: String) throws -> Range<Int> {
    guard case .part(let part) = field.value else {
      throw ProtobufReader.Failure(problem: "the field \(field.number) of a \(message) is of another kind")
    }
    return part
  }

  // MARK: Messages

  private mutating func readModel() throws {
    var reader = ProtobufReader(bytes, 0..<bytes.count)
    var hasGraph = false
    while let field = try reader.next() {
      switch field.number {
      case 7:
        guard !hasGraph else { throw fail("it has two graphs") }
        hasGraph = true
        try readGraph(try part(field, of: "model"), depth: 0)
      case 25: try readFunction(try part(field, of: "model"))
      default: break
      }
    }
    guard hasGraph else { throw fail("it is no ONNX model: there is no graph in it") }
    guard calls.nodesOnceAllAreInTheirPlace(atMost: Self.mostNodes) != nil else {
      throw fail("its functions call each other in a circle, or become more than \(Self.mostNodes) nodes")
    }
  }

  private mutating func readGraph(_ range: Range<Int>, depth: Int) throws {
    guard depth < Self.mostDepth else { throw fail("its graphs lie more than \(Self.mostDepth) deep in each other") }
    var reader = ProtobufReader(bytes, range)
    while let field = try reader.next() {
      switch field.number {
      case 1: try readNode(try part(field, of: "graph"), depth: depth)
      case 5: try readTensor(try part(field, of: "graph"))
      case 15: throw fail("it has sparse weights, which are not read: export it with dense ones")
      case 11, 12, 13: try readValue(try part(field, of: "graph"))
      default: break
      }
    }
  }

  private mutating func readFunction(_ range: Range<Int>) throws {
    var reader = ProtobufReader(bytes, range)
    var name = ONNXCalls.Name()
    var nodes: [Range<Int>] = []
    while let field = try reader.next() {
      switch field.number {
      case 1: name.name = text(try part(field, of: "function"))
      case 7: nodes.append(try part(field, of: "function"))
      case 10: name.domain = text(try part(field, of: "function"))
      case 11: try readAttribute(try part(field, of: "function"), depth: 0)
      case 12: try readValue(try part(field, of: "function"))
      case 13: name.overload = text(try part(field, of: "function"))
      default: break
      }
    }
    guard !name.name.isEmpty else { throw fail("it has a function without a name") }
    guard calls.begin(name) else { throw fail("it has two functions called '\(name.name.prefix(100))'") }
    for node in nodes { try readNode(node, depth: 0) }
    calls.end()
  }

  private mutating func readNode(_ range: Range<Int>, depth: Int) throws {
    nodeCount += 1
    guard nodeCount <= Self.mostNodes else { throw fail("it has more than \(Self.mostNodes) nodes") }
    var reader = ProtobufReader(bytes, range)
    var name = ONNXCalls.Name()
    while let field = try reader.next() {
      switch field.number {
      case 4: name.name = text(try part(field, of: "node"))
      case 5: try readAttribute(try part(field, of: "node"), depth: depth)
      case 7: name.domain = text(try part(field, of: "node"))
      case 8: name.overload = text(try part(field, of: "node"))
      default: break
      }
    }
    guard !name.name.isEmpty else { throw fail("it has a node without an operator") }
    calls.add(name)
  }

  private mutating func readAttribute(_ range: Range<Int>, depth: Int) throws {
    var reader = ProtobufReader(bytes, range)
    // Of two, a reader would make one of both.
    var seen: Set<Int> = []
    while let field = try reader.next() {
      switch field.number {
      case 5, 6, 14:
        guard seen.insert(field.number).inserted else { throw fail("it has an attribute with two values") }
        let part = try part(field, of: "attribute")
        if field.number == 5 { try readTensor(part) }
        if field.number == 6 { try readGraph(part, depth: depth + 1) }
        if field.number == 14 { try readType(part, depth: 0) }
      case 10: try readTensor(try part(field, of: "attribute"))
      case 11: try readGraph(try part(field, of: "attribute"), depth: depth + 1)
      case 15: try readType(try part(field, of: "attribute"), depth: 0)
      case 22, 23: throw fail("it has sparse numbers, which are not read: export it with dense ones")
      default: break
      }
    }
  }

  // MARK: Numbers

  private mutating func readTensor(_ range: Range<Int>) throws {
    let tensor = try ONNXTensor(bytes, range, path: path)
    guard let place = tensor.external else { return }
    guard let byteCount = tensor.byteCount else { throw fail("\(tensor.shown) cannot be in another file") }
    try external.check(place, byteCount: byteCount, of: tensor.shown)
  }

  // MARK: Shapes

  private func readValue(_ range: Range<Int>) throws {
    var reader = ProtobufReader(bytes, range)
    var hasType = false
    while let field = try reader.next() {
      guard field.number == 2 else { continue }
      guard !hasType else { throw fail("it has a value of two types") }
      hasType = true
      try readType(try part(field, of: "value"), depth: 0)
    }
  }

  private func readType(_ range: Range<Int>, depth: Int) throws {
    guard depth < Self.mostDepth else { throw fail("its types lie more than \(Self.mostDepth) deep in each other") }
    var reader = ProtobufReader(bytes, range)
    while let field = try reader.next() {
      var inner: ProtobufReader
      switch field.number {
      case 1, 4, 5, 8, 9: inner = ProtobufReader(bytes, try part(field, of: "type"))
      default: continue
      }
      // A tensor, also a sparse one, has a shape; a list, a map and what may be missing have the type of what is in them.
      let (isTensor, isMap) = (field.number == 1 || field.number == 8, field.number == 5)
      while let field = try inner.next() {
        guard field.number == (isTensor || isMap ? 2 : 1) else { continue }
        let part = try part(field, of: "type")
        if isTensor { try readShape(part) } else { try readType(part, depth: depth + 1) }
      }
    }
  }

  private func readShape(_ range: Range<Int>) throws {
    var reader = ProtobufReader(bytes, range)
    var count = 0
    while let field = try reader.next() {
      guard field.number == 1 else { continue }
      count += 1
      guard count <= Self.mostDimensions else { throw fail("it has a tensor of more than \(count - 1) dimensions") }
      var size = ProtobufReader(bytes, try part(field, of: "shape"))
      while let field = try size.next() {
        // Some write −1 for a size that any will do for.
        guard field.number == 1, case .number(let number) = field.value, Int64(bitPattern: number) < -1 else {
          continue
        }
        throw fail("it has a tensor of the negative size \(Int64(bitPattern: number)); fetch or write it again")
      }
    }
  }
}
