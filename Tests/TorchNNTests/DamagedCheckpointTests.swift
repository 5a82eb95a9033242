import Foundation
import TestSupport
import Testing
import Torch
import TorchNN

/// Files that are damaged, or made to do harm: each is refused with one message that says what is wrong.
struct DamagedCheckpointTests {
  struct Case: Sendable, CustomTestStringConvertible {
    var name: String
    var bytes: [UInt8]
    var message: String
    var testDescription: String { name }
  }

  private static func length(_ value: UInt64) -> [UInt8] { withUnsafeBytes(of: value.littleEndian) { Array($0) } }

  private static func file(_ header: String, data: Int = 0) -> [UInt8] {
    length(UInt64(header.utf8.count)) + Array(header.utf8) + [UInt8](repeating: 7, count: data)
  }

  private static func tensor(_ body: String, data: Int = 8) -> [UInt8] { file("{\"a\":{\(body)}}", data: data) }

  static let cases = [
    Case(name: "empty", bytes: [], message: "cut off or empty"),
    Case(name: "seven bytes", bytes: [UInt8](repeating: 0, count: 7), message: "cut off or empty"),
    Case(name: "header of no bytes", bytes: length(0), message: "ends too early"),
    Case(name: "header larger than the file", bytes: length(1000) + Array("{}".utf8), message: "claims 1000 bytes"),
    Case(name: "header one byte too long", bytes: length(3) + Array("{}".utf8), message: "claims 3 bytes"),
    Case(
      name: "header of 2^63 bytes", bytes: length(1 << 63) + Array("{}".utf8), message: "claims 9223372036854775808"),
    Case(
      name: "header of 2^64 - 1 bytes", bytes: length(.max) + Array("{}".utf8), message: "claims 18446744073709551615"),
    Case(name: "not JSON", bytes: file("hello world"), message: "not JSON"),
    Case(name: "zeros", bytes: length(8) + [UInt8](repeating: 0, count: 8), message: "not JSON"),
    Case(name: "cut JSON", bytes: file("{\"a\":{\"dtype\":\"F32\""), message: "ends too early"),
    Case(name: "a list", bytes: file("[1]"), message: "not a JSON object"),
    Case(name: "something after the end", bytes: file("{} {}"), message: "something follows the end"),
    Case(name: "deep nesting", bytes: file(String(repeating: "[", count: 100_000)), message: "nested too deeply"),
    Case(name: "not UTF-8", bytes: length(7) + [0x7b, 0x22, 0xff, 0xfe, 0x22, 0x3a, 0x7d], message: "not UTF-8"),
    Case(name: "control character", bytes: file("{\"a\nb\":1}"), message: "control character"),
    Case(name: "half a surrogate", bytes: file("{\"\\ud800\":1}"), message: "surrogate"),
    Case(name: "unknown escape", bytes: file("{\"\\q\":1}"), message: "unknown escape"),
    Case(name: "missing colon", bytes: file("{\"a\" 1}"), message: "colon is missing"),
    Case(name: "missing comma", bytes: file("{\"a\":1 \"b\":2}"), message: "comma is missing"),
    Case(name: "trailing comma", bytes: file("{\"a\":1,}"), message: "key is missing"),
    Case(
      name: "duplicate tensor",
      bytes: file(
        "{\"a\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]},\"a\":{\"dtype\":\"U8\",\"shape\":[4],"
          + "\"data_offsets\":[4,8]}}", data: 8), message: "'a' stands twice"),
    Case(
      name: "duplicate field",
      bytes: tensor("\"dtype\":\"U8\",\"shape\":[8],\"shape\":[8],\"data_offsets\":[0,8]"),
      message: "'shape' stands twice"),
    Case(name: "entry that is a number", bytes: file("{\"a\":1}"), message: "entry of tensor 'a' is not an object"),
    Case(name: "no dtype", bytes: tensor("\"shape\":[2],\"data_offsets\":[0,8]"), message: "'a' has no dtype"),
    Case(name: "no shape", bytes: tensor("\"dtype\":\"F32\",\"data_offsets\":[0,8]"), message: "'a' has no shape"),
    Case(name: "no offsets", bytes: tensor("\"dtype\":\"F32\",\"shape\":[2]"), message: "'a' has no data_offsets"),
    Case(
      name: "dtype that is a number", bytes: tensor("\"dtype\":6,\"shape\":[2],\"data_offsets\":[0,8]"),
      message: "dtype of tensor 'a' is not a text"),
    Case(
      name: "unknown dtype", bytes: tensor("\"dtype\":\"F8_E4M3\",\"shape\":[8],\"data_offsets\":[0,8]"),
      message: "type F8_E4M3; convert it to one of BF16, BOOL, F16"),
    Case(
      name: "shape that is no list", bytes: tensor("\"dtype\":\"F32\",\"shape\":2,\"data_offsets\":[0,8]"),
      message: "shape of tensor 'a' is not a list"),
    Case(
      name: "negative size", bytes: tensor("\"dtype\":\"F32\",\"shape\":[-2],\"data_offsets\":[0,8]"),
      message: "negative number -2"),
    Case(
      name: "two negative sizes", bytes: tensor("\"dtype\":\"F32\",\"shape\":[-1,-2],\"data_offsets\":[0,8]"),
      message: "negative number -1"),
    Case(
      name: "fractional size", bytes: tensor("\"dtype\":\"F32\",\"shape\":[1.5],\"data_offsets\":[0,8]"),
      message: "whole numbers"),
    Case(
      name: "size of more than 64 bits",
      bytes: tensor("\"dtype\":\"F32\",\"shape\":[99999999999999999999],\"data_offsets\":[0,8]"),
      message: "whole numbers"),
    Case(
      name: "number beyond all",
      bytes: tensor("\"dtype\":\"F32\",\"shape\":[1e999],\"data_offsets\":[0,8]"), message: "cannot be read"),
    Case(
      name: "shape that overflows",
      bytes: tensor("\"dtype\":\"F32\",\"shape\":[4611686018427387904,4],\"data_offsets\":[0,8]"),
      message: "larger than any memory"),
    Case(
      name: "bytes that overflow",
      bytes: tensor("\"dtype\":\"F64\",\"shape\":[2305843009213693952],\"data_offsets\":[0,8]"),
      message: "larger than any memory"),
    Case(
      name: "overflow hidden behind a zero",
      bytes: tensor("\"dtype\":\"F32\",\"shape\":[0,4611686018427387904,4],\"data_offsets\":[0,0]", data: 0),
      message: "larger than any memory"),
    Case(
      name: "too many dimensions",
      bytes: tensor("\"dtype\":\"U8\",\"shape\":[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1],\"data_offsets\":[0,1]", data: 1),
      message: "17 dimensions"),
    Case(
      name: "one offset", bytes: tensor("\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[8]"),
      message: "not two numbers"),
    Case(
      name: "negative offset", bytes: tensor("\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[-8,0]"),
      message: "negative number -8"),
    Case(
      name: "offsets turned round", bytes: tensor("\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[8,0]"),
      message: "before its start"),
    Case(
      name: "data cut off", bytes: tensor("\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]", data: 5),
      message: "cut off"),
    Case(
      name: "offset that overflows",
      bytes: tensor("\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,9223372036854775807]"), message: "cut off"),
    Case(
      name: "shape larger than its bytes", bytes: tensor("\"dtype\":\"F32\",\"shape\":[3],\"data_offsets\":[0,8]"),
      message: "needs 12 bytes, not 8"),
    Case(
      name: "shape smaller than its bytes", bytes: tensor("\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[0,8]"),
      message: "needs 4 bytes, not 8"),
    Case(
      name: "overlap",
      bytes: file(
        "{\"a\":{\"dtype\":\"U8\",\"shape\":[6],\"data_offsets\":[0,6]},\"b\":{\"dtype\":\"U8\",\"shape\":[4],"
          + "\"data_offsets\":[4,8]}}", data: 8), message: "'a' and 'b' overlap at byte 4"),
    Case(
      name: "two tensors over the same bytes",
      bytes: file(
        "{\"a\":{\"dtype\":\"U8\",\"shape\":[8],\"data_offsets\":[0,8]},\"b\":{\"dtype\":\"U8\",\"shape\":[8],"
          + "\"data_offsets\":[0,8]}}", data: 8), message: "overlap"),
    Case(
      name: "hole in front", bytes: tensor("\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[4,8]"),
      message: "4 bytes between the header and 'a'"),
    Case(
      name: "hole in the middle",
      bytes: file(
        "{\"a\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[0,2]},\"b\":{\"dtype\":\"U8\",\"shape\":[4],"
          + "\"data_offsets\":[4,8]}}", data: 8), message: "2 bytes between 'a' and 'b'"),
    Case(
      name: "hole at the end", bytes: tensor("\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]"),
      message: "4 bytes after the last tensor"),
    Case(name: "data without tensors", bytes: file("{}", data: 3), message: "3 bytes after the last tensor"),
    Case(name: "metadata that is a text", bytes: file("{\"__metadata__\":\"x\"}"), message: "not an object of texts"),
    Case(
      name: "metadata with a number", bytes: file("{\"__metadata__\":{\"epoch\":3}}"),
      message: "__metadata__.epoch is not a text"),
    Case(
      name: "cut file of torch.save", bytes: [0x50, 0x4b, 0x03, 0x04, 0, 0, 8, 8, 0, 0], message: "truncated zip file"),
    Case(
      name: "pointer of Git LFS", bytes: Array("version https://git-lfs.github.com/spec/v1\n".utf8), message: "Git LFS"),
  ]

  @Test(arguments: cases)
  func isRefused(damage: Case) throws {
    try withTemporaryFolder { folder in
      let path = "\(folder)/damaged.safetensors"
      try Data(damage.bytes).write(to: URL(fileURLWithPath: path))
      let error = try #require(throws: CheckpointError.self) { try Checkpoint.read(path) }
      #expect(error.description.hasPrefix("\(path): "))
      #expect(error.problem.contains(damage.message), "\(error.problem)")
      #expect(!error.problem.contains("\n"))
    }
  }

  /// Every shorter part of a good file is refused, and none of its bytes, changed, ends the process.
  @Test func cutsAndChangedBytesNeverTrap() throws {
    try withTemporaryFolder { folder in
      let path = "\(folder)/a.safetensors"
      try TinyModel.mlp(2, hidden: 2, classes: 2).save(to: path, metadata: ["format": "pt"])
      let good = Array(try #require(FileManager.default.contents(atPath: path)))
      let headerEnd = 8 + Int(good[0]) + 256 * Int(good[1])
      for count in 0..<good.count {
        try Data(good.prefix(count)).write(to: URL(fileURLWithPath: path))
        #expect(throws: CheckpointError.self, "\(count) bytes") { try Checkpoint.read(path) }
      }
      var random = RandomSource(seed: 1, "damage")
      for place in 0..<headerEnd {
        var bytes = good
        bytes[place] = UInt8.random(in: 0...255, using: &random)
        try Data(bytes).write(to: URL(fileURLWithPath: path))
        do {
          for named in try Checkpoint.read(path).tensors { _ = try named.tensor.doubles() }
        } catch is CheckpointError {}
      }
    }
  }

  @Test func filesThatAreNotThere() throws {
    try withTemporaryFolder { folder in
      let missing = try #require(throws: CheckpointError.self) { try Checkpoint.read("\(folder)/a.safetensors") }
      #expect(missing.description == "\(folder)/a.safetensors: there is no such file")
      let directory = try #require(throws: CheckpointError.self) { try Checkpoint.read(folder) }
      #expect(directory.problem.contains("it is a folder"))
    }
  }

  /// The bytes of a tensor need not lie as its elements need it; then they are copied.
  @Test func unalignedTensorsAreRead() throws {
    try withTemporaryFolder { folder in
      let path = "\(folder)/a.safetensors"
      let header =
        "{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]},\"b\":{\"dtype\":\"F64\",\"shape\":[2],"
        + "\"data_offsets\":[1,17]}}"
      var bytes = Self.length(UInt64(header.utf8.count)) + Array(header.utf8) + [5]
      for value in [1.5, -2] { bytes += withUnsafeBytes(of: value) { Array($0) } }
      try Data(bytes).write(to: URL(fileURLWithPath: path))
      let checkpoint = try Checkpoint.read(path)
      #expect(try checkpoint["a"]?.doubles() == [5])
      #expect(try checkpoint["b"]?.doubles() == [1.5, -2])
    }
  }
}
