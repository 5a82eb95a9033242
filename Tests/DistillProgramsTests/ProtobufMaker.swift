/// Messages of protobuf, right ones and wrong ones, and ONNX files of them.
enum ProtobufMaker {
  static func number(_ value: UInt64) -> [UInt8] {
    var (value, bytes) = (value, [UInt8]())
    while value > 0x7f {
      bytes.append(UInt8(value & 0x7f) | 0x80)
      value >>= 7
    }
    return bytes + [UInt8(value)]
  }

  static func field(_ number: Int, _ value: Int) -> [UInt8] {
    self.number(UInt64(number) << 3) + self.number(UInt64(bitPattern: Int64(value)))
  }

  static func field(_ number: Int, _ content: [UInt8]) -> [UInt8] {
    self.number(UInt64(number) << 3 | 2) + self.number(UInt64(content.count)) + content
  }

  static func field(_ number: Int, _ text: String) -> [UInt8] { field(number, Array(text.utf8)) }

  // MARK: ONNX

  /// An input or output of float32; nil: a size that any will do for.
  static func value(_ name: String, _ shape: [Int?]) -> [UInt8] {
    let sizes = shape.flatMap { field(1, $0.map { field(1, $0) } ?? field(2, "N")) }
    return field(1, name) + field(2, field(1, field(1, 1) + field(2, sizes)))
  }

  static func tensor(_ name: String, _ shape: [Int], type: Int = 1, bytes: Int? = nil, _ more: [UInt8] = []) -> [UInt8]
  {
    let sizes = shape.flatMap { field(1, $0) }
    let raw = bytes.map { field(9, [UInt8](repeating: 0, count: $0)) } ?? []
    return sizes + field(2, type) + field(8, name) + raw + more
  }

  /// A tensor whose numbers are in another file.
  static func external(_ name: String, _ shape: [Int], _ facts: KeyValuePairs<String, String>) -> [UInt8] {
    let entries = facts.flatMap { field(13, field(1, $0.key) + field(2, $0.value)) }
    return tensor(name, shape, entries + field(14, 1))
  }

  static func node(_ type: String, _ inputs: [String], _ outputs: [String], _ more: [UInt8] = []) -> [UInt8] {
    inputs.flatMap { field(1, $0) } + outputs.flatMap { field(2, $0) } + field(4, type) + more
  }

  /// A model of one node: what comes in plus a weight.
  static func model(
    input: [Int?] = [nil, 1, 8, 8], output: [Int?] = [nil, 1, 8, 8], weight: [UInt8] = tensor("w", [1], bytes: 4),
    graph more: [UInt8] = [], model rest: [UInt8] = []
  ) -> [UInt8] {
    let graph =
      field(1, node("Add", ["x", "w"], ["y"])) + field(2, "g") + field(5, weight) + field(11, value("x", input))
      + field(12, value("y", output)) + more
    return field(1, 8) + field(8, field(2, 17)) + field(7, graph) + rest
  }
}
