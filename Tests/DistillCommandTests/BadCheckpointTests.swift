import Foundation
import Testing

/// The parts of a safetensors file, to be put together wrongly.
struct SafetensorsFile {
  var header: [String: Any]
  var data: Data

  init(_ path: String) throws {
    let bytes = [UInt8](try read(path))
    let length = bytes.prefix(8).enumerated().reduce(0) { $0 | Int($1.element) << (8 * $1.offset) }
    let header = Data(bytes[8..<(8 + length)])
    self.header = try #require(try JSONSerialization.jsonObject(with: header) as? [String: Any])
    data = Data(bytes[(8 + length)...])
  }

  func encoded(headerLength: UInt64? = nil) throws -> Data {
    let text = try JSONSerialization.data(withJSONObject: header)
    return Data(withUnsafeBytes(of: (headerLength ?? UInt64(text.count)).littleEndian) { Array($0) }) + text + data
  }

  func entry(_ name: String) throws -> [String: Any] { try #require(header[name] as? [String: Any]) }
}

@Suite("Bad input: checkpoints")
struct BadCheckpointTests {
  private static let weights = "teacher/model.safetensors"

  /// Spoils the weights of the teacher.
  private static func spoiled(
    _ name: String, _ words: String..., spoil: @escaping @Sendable (inout SafetensorsFile) throws -> Void
  ) -> BadInput {
    BadInput(name: name, words: [weights] + words) { folder in
      var file = try SafetensorsFile("\(folder)/\(weights)")
      try spoil(&file)
      try write(try file.encoded(), to: "\(folder)/\(weights)")
    }
  }

  private static func replaced(
    _ name: String, _ words: String..., with make: @escaping @Sendable (Data) throws -> Data
  ) -> BadInput {
    BadInput(name: name, words: [weights] + words) { folder in
      try write(try make(try read("\(folder)/\(weights)")), to: "\(folder)/\(weights)")
    }
  }

  private static func set(_ key: String, of tensor: String, to value: Any, in file: inout SafetensorsFile) throws {
    var entry = try file.entry(tensor)
    entry[key] = value
    file.header[tensor] = entry
  }

  static let cases: [BadInput] = [
    spoiled("a missing and an unexpected key", "output.bias", "output.offset") { file in
      file.header["output.offset"] = file.header.removeValue(forKey: "output.bias")
    },
    spoiled("an extra key", "extra") { file in
      file.header["extra"] = ["dtype": "F32", "shape": [1], "data_offsets": [file.data.count, file.data.count + 4]]
      file.data += Data(repeating: 0, count: 4)
    },
    spoiled("a misshapen key", "output.weight", "[64, 10]", "[10, 64]") { file in
      try set("shape", of: "output.weight", to: [64, 10], in: &file)
    },
    spoiled("whole numbers for weights", "output.weight", "int32") { file in
      try set("dtype", of: "output.weight", to: "I32", in: &file)
    },
    spoiled("an unknown type", "output.weight", "F8_E4M3") { file in
      try set("dtype", of: "output.weight", to: "F8_E4M3", in: &file)
    },
    spoiled("offsets that overlap", "overlap") { file in
      let first = try #require(try file.entry("hidden.0.linear.weight")["data_offsets"] as? [Int])
      let second = try #require(try file.entry("hidden.0.linear.bias")["data_offsets"] as? [Int])
      let length = second[1] - second[0]
      try set("data_offsets", of: "hidden.0.linear.bias", to: [first[0], first[0] + length], in: &file)
    },
    spoiled("offsets beyond the file", "output.bias") { file in
      try set("data_offsets", of: "output.bias", to: [1_000_000, 1_000_040], in: &file)
    },
    spoiled("offsets that overflow", "output.bias") { file in
      try set("data_offsets", of: "output.bias", to: [Int.max - 1, Int.max], in: &file)
    },
    spoiled("a shape beyond memory", "output.bias") { file in
      try set("shape", of: "output.bias", to: [Int.max, Int.max], in: &file)
    },
    spoiled("a negative size", "output.bias", "-10") { file in
      try set("shape", of: "output.bias", to: [-10], in: &file)
    },
    spoiled("an entry that is no object", "output.bias") { file in file.header["output.bias"] = 7 },
    spoiled("bytes that belong to nothing") { file in file.data += Data(repeating: 0, count: 12) },
    replaced("an empty file", "empty") { _ in Data() },
    replaced("a truncated file") { $0.prefix($0.count / 2) },
    replaced("a file cut in its header") { $0.prefix(40) },
    replaced("a header larger than the file", "header") { data in
      Data(withUnsafeBytes(of: UInt64(1 << 40).littleEndian) { Array($0) }) + data.dropFirst(8)
    },
    replaced("a header that is no JSON", "header") { data in
      Data(withUnsafeBytes(of: UInt64(16).littleEndian) { Array($0) }) + Data("this is no JSON!".utf8)
    },
    replaced("a cut file of torch.save", "truncated zip file") { _ in
      Data([0x50, 0x4b, 0x03, 0x04]) + Data(repeating: 7, count: 99)
    },
    BadInput(name: "weights that are not there", words: [weights]) {
      try FileManager.default.removeItem(atPath: "\($0)/\(weights)")
    },
    BadInput(name: "a model folder that does not say what it is", words: ["teacher/config.json"]) {
      try FileManager.default.removeItem(atPath: "\($0)/teacher/config.json")
    },
    BadInput(name: "a damaged config.json", words: ["teacher/config.json"]) {
      try write("{\"model\": {\"archi", to: "\($0)/teacher/config.json")
    },
    BadInput(name: "a config.json without its model", words: ["teacher/config.json", "model"]) {
      try write("{\"labels\": []}", to: "\($0)/teacher/config.json")
    },
    BadInput(name: "a config.json of another architecture", words: ["transformer"]) { folder in
      let path = "\(folder)/teacher/config.json"
      let text = String(decoding: try read(path), as: UTF8.self).replacingOccurrences(
        of: "\"mlp\"", with: "\"transformer\"")
      try write(text, to: path)
    },
  ]

  @Test("Refused with one clear message by check and run, and nothing is lost", arguments: cases)
  func refused(input: BadInput) throws { try input.isRefused() }

  @Test("Weights that are not numbers are a problem, before a student learns from them")
  func notNumbers() throws {
    try Sample.withTeacher { folder in
      let path = "\(folder)/\(Self.weights)"
      var file = try SafetensorsFile(path)
      let nan = withUnsafeBytes(of: Float.nan) { Array($0) }
      let offsets = try #require(try file.entry("output.bias")["data_offsets"] as? [Int])
      file.data.replaceSubrange(
        (file.data.startIndex + offsets[0])..<(file.data.startIndex + offsets[0] + 4), with: nan)
      try write(try file.encoded(), to: path)
      let outcome = try Command.run(["check"], in: folder)
      #expect(outcome.code == 2)
      #expect(outcome.output.contains("not finite"))
    }
  }

  @Test("The same for evaluate and inspect", arguments: ["evaluate", "inspect"])
  func otherCommands(command: String) throws {
    try Sample.withTeacher { folder in
      let path = "\(folder)/\(Self.weights)"
      try write(try read(path).prefix(100), to: path)
      let outcome = try Command.run(
        [command, "teacher"] + (command == "evaluate" ? ["--dataset", "digits"] : []), in: folder)
      #expect(outcome.code == 2)
      #expect(outcome.errors.contains(Self.weights))
      #expect(outcome.output.isEmpty)
    }
  }
}
