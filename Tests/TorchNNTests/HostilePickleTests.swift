import Foundation
import TestSupport
import Testing
import Torch
import TorchNN

/// Pickles that were made to do harm: each is refused with one message, and none takes time or memory.
struct HostilePickleTests {
  /// The instructions of a pickle, as bytes.
  enum P {
    static func number(_ value: Int, _ count: Int) -> [UInt8] {
      (0..<count).map { UInt8(truncatingIfNeeded: value >> (8 * $0)) }
    }
    static func text(_ text: String) -> [UInt8] { [UInt8(ascii: "X")] + number(text.utf8.count, 4) + text.utf8 }
    static func int(_ value: Int) -> [UInt8] { [0x8a, 8] + number(value, 8) }
    static func global(_ module: String, _ name: String) -> [UInt8] { Array("c\(module)\n\(name)\n".utf8) }
    static func tuple(_ parts: [UInt8]...) -> [UInt8] {
      [UInt8(ascii: "(")] + parts.flatMap { $0 } + [UInt8(ascii: "t")]
    }
    static func sizes(_ values: [Int]) -> [UInt8] {
      [UInt8(ascii: "(")] + values.flatMap { int($0) } + [UInt8(ascii: "t")]
    }
    static func storage(
      _ key: String = "0", count: Int = 4, type: String = "FloatStorage", view: (offset: Int, count: Int)? = nil
    ) -> [UInt8] {
      let part = view.map { tuple(text("part"), int($0.offset), int($0.count)) } ?? []
      return tuple(text("storage"), global("torch", type), text(key), text("cpu"), int(count), part)
        + [UInt8(ascii: "Q")]
    }
    static func tensor(
      offset: Int = 0, shape: [Int] = [4], strides: [Int] = [1], storage: [UInt8] = P.storage()
    ) -> [UInt8] {
      global("torch._utils", "_rebuild_tensor_v2")
        + tuple(storage, int(offset), sizes(shape), sizes(strides), [0x89], [UInt8(ascii: "N")])
        + [UInt8(ascii: "R")]
    }
    static func dictionary(_ pairs: (String, [UInt8])...) -> [UInt8] {
      Array("}(".utf8) + pairs.flatMap { text($0.0) + $0.1 } + [UInt8(ascii: "u")]
    }
  }

  /// A zip file with a storage of four floats.
  static func zip(_ pickle: [UInt8], data: [UInt8] = Array(repeating: 0, count: 16)) -> ZipMaker {
    ZipMaker([
      .init("a/data.pkl", [0x80, 2] + pickle + [UInt8(ascii: ".")]), .init("a/byteorder", Array("little".utf8)),
      .init("a/data/0", data), .init("a/version", Array("3\n".utf8)),
    ])
  }

  /// A file of the form before the zip files, with one storage.
  static func old(
    _ pickle: [UInt8], count: Int = 4, data: [UInt8] = Array(repeating: 0, count: 16), isBigEndian: Bool = false
  ) -> [UInt8] {
    let magic: [UInt8] = [0x8a, 10, 0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19]
    let order = P.dictionary(("little_endian", [isBigEndian ? 0x89 : 0x88]))
    let keys = Array("](".utf8) + P.text("0") + Array("e".utf8)
    return [magic, P.int(1001), order, pickle, keys].flatMap { [0x80, 2] + $0 + Array(".".utf8) }
      + P.number(count, 8) + data
  }

  static func read(_ bytes: [UInt8]) throws -> Checkpoint { try Checkpoint.read(HostBuffer(bytes), path: "evil.pth") }

  @Test func theGoodOneIsRead() throws {
    let checkpoint = try Self.read(Self.zip(P.dictionary(("w", P.tensor(shape: [2, 2], strides: [1, 2])))).bytes)
    #expect(checkpoint["w"]?.shape == [2, 2])
    #expect(checkpoint["w"]?.strides == [1, 2])
  }

  struct Case: Sendable, CustomTestStringConvertible {
    var testDescription: String
    var words: String
    var bytes: [UInt8]

    init(_ name: String, _ words: String, _ pickle: [UInt8]) {
      (testDescription, self.words, bytes) = (name, words, HostilePickleTests.zip(pickle).bytes)
    }

    init(_ name: String, _ words: String, file: [UInt8]) { (testDescription, self.words, bytes) = (name, words, file) }

    init(_ name: String, _ words: String, tensor: [UInt8]) { self.init(name, words, P.dictionary(("w", tensor))) }

    /// A tensor of all four elements, over a part of the storage in a file of the old form.
    init(_ name: String, _ words: String, part: (offset: Int, count: Int)) {
      let pickle = P.dictionary(("w", P.tensor(storage: P.storage(view: part))))
      self.init(name, words, file: HostilePickleTests.old(pickle))
    }

    /// The good file with a change.
    init(_ name: String, _ words: String, change: (inout ZipMaker) -> Void) {
      var maker = HostilePickleTests.zip(P.dictionary(("w", P.tensor())))
      change(&maker)
      self.init(name, words, file: maker.bytes)
    }
  }

  static let cases = [
    Case("a call", "'builtins.eval'", P.global("builtins", "eval") + P.tuple(P.text("1")) + Array("R".utf8)),
    Case("a call by the stack", "'os.system'", P.text("os") + P.text("system") + [0x93]),
    Case("an object of a class", "instruction 0x81", P.global("torch", "Tensor") + Array(")".utf8) + [0x81]),
    Case("protocol 0", "instruction 0x49", Array("I1\n".utf8)),
    Case("an unknown protocol", "protocol 9", [0x80, 9]),
    Case("a text of 4 GiB", "bytes are announced", Array("X".utf8) + [0xff, 0xff, 0xff, 0xff]),
    Case("a text of 2^63 bytes", "a negative length", [0x8d, 0, 0, 0, 0, 0, 0, 0, 0x80]),
    Case("bytes of 2^62 bytes", "bytes are announced", [0x8e, 0, 0, 0, 0, 0, 0, 0, 0x40]),
    Case("a number of 2 GiB", "bytes are announced", [0x8b, 0xff, 0xff, 0xff, 0x7f]),
    Case("a number of less than no bytes", "a negative length", [0x8b, 0xff, 0xff, 0xff, 0xff]),
    Case("nothing on the stack", "a value is missing", Array("R".utf8)),
    Case("no mark", "a mark is missing", Array("u".utf8)),
    Case("nothing remembered", "remembers nothing", Array("h".utf8) + [7]),
    Case("an odd number of keys", "a key has no value", Array("}(Nu".utf8)),
    Case("two results", "left over", Array("NN".utf8)),
    Case("a name without end", "a name does not end", Array("caaaa".utf8)),
    Case("no dictionary", "no dictionary with tensors", Array("N".utf8)),
    Case("a dictionary without tensors", "no dictionary with tensors", P.dictionary(("epoch", P.int(3)))),
    Case("a tensor alone", "a tensor without a name", P.tensor()),
    Case(
      "deep nesting", "no dictionary with tensors",
      Array(String(repeating: "](", count: 50_000).utf8) + Array("N".utf8)
        + Array(String(repeating: "e", count: 50_000).utf8)),
    Case(
      "a list in itself", "no dictionary with tensors", Array("]q".utf8) + [0] + Array("h".utf8) + [0] + Array("a".utf8)
    ),
    Case(
      "a dictionary in itself", "no dictionary with tensors",
      Array("}q".utf8) + [0] + P.text("x") + Array("h".utf8)
        + [0] + Array("s".utf8)),
    Case("pairs copied again and again", "copied again and again", copies),
    Case("a storage that is missing", "'7' of the tensor 'w' is missing", tensor: P.tensor(storage: P.storage("7"))),
    Case("a storage of another size", "has 16 bytes, but 5 elements", tensor: P.tensor(storage: P.storage(count: 5))),
    Case("a storage of 2^62 elements", "has 16 bytes, but", tensor: P.tensor(storage: P.storage(count: 1 << 62))),
    Case("a storage of less than nothing", "without a key or a size", tensor: P.tensor(storage: P.storage(count: -1))),
    Case("beyond the storage", "reaches beyond its storage", tensor: P.tensor(shape: [5])),
    Case("an offset beyond", "reaches beyond its storage", tensor: P.tensor(offset: 1)),
    Case("an empty tensor beyond", "reaches beyond its storage", tensor: P.tensor(offset: 5, shape: [0])),
    Case("strides beyond", "reaches beyond its storage", tensor: P.tensor(shape: [2, 2], strides: [4, 1])),
    Case("a negative stride", "negative strides", tensor: P.tensor(offset: 3, strides: [-1])),
    Case("a negative size", "negative size", tensor: P.tensor(shape: [-4])),
    Case("a negative offset", "negative size or place", tensor: P.tensor(offset: -1)),
    Case("a shape that overflows", "larger than any memory", tensor: P.tensor(shape: [1 << 62, 4], strides: [0, 0])),
    Case(
      "a shape that overflows beside a zero", "larger than any memory",
      tensor: P.tensor(shape: [0, 1 << 62, 4], strides: [0, 0, 0])),
    Case("strides that overflow", "beyond any memory", tensor: P.tensor(shape: [3, 2], strides: [.max, 1])),
    Case("a number repeated a billion times", "repeats its numbers", tensor: P.tensor(shape: [1 << 30], strides: [0])),
    Case(
      "seventeen dimensions", "17 dimensions",
      tensor: P.tensor(shape: Array(repeating: 1, count: 17), strides: Array(repeating: 1, count: 17))),
    Case("strides without sizes", "a shape without its strides", tensor: P.tensor(shape: [2, 2], strides: [1])),
    Case(
      "a marked tensor", "negated or conjugated",
      tensor: P.global("torch._utils", "_rebuild_tensor_v2")
        + P.tuple(
          P.storage(), P.int(0), P.sizes([4]), P.sizes([1]), [0x89], Array("N".utf8), P.dictionary(("neg", [0x88])))
        + Array("R".utf8)),
    Case(
      "elements that there are not here", "type float8_e5m2",
      tensor: P.global("torch._utils", "_rebuild_tensor_v3")
        + P.tuple(
          P.storage(), P.int(0), P.sizes([4]), P.sizes([1]), [0x89], Array("N".utf8), P.global("torch", "float8_e5m2"))
        + Array("R".utf8)),
    Case("a compressed pickle", "is compressed") { $0.members[0].method = 8 },
    Case("a zip bomb", "is compressed") { maker in
      maker.members[2].method = 8
      maker.members[2].count = 1 << 30
    },
    Case("a storage that claims more than there is", "the sizes of 'a/data/0'") { $0.members[2].count = 1 << 30 },
    Case("an encrypted storage", "is encrypted") { $0.members[2].isEncrypted = true },
    Case("two storages of a name", "two files called") { $0.members.append($0.members[2]) },
    Case("an unknown byte order", "in which order") { $0.members[1].data = Array("middle".utf8) },
    Case("no pickle", "no data.pkl") { $0.members[0].name = "a/other.pkl" },
    Case("something after the pickle", "follows the end") { $0.members[0].data += [0] },
    Case("a part beyond the storage", "lies beyond it", part: (2, 3)),
    Case("a part of less than nothing", "lies beyond it", part: (2, -1)),
    Case("a part from before the storage", "lies beyond it", part: (-1, 2)),
    Case("a part that overflows", "lies beyond it", part: (.max, 2)),
    // In the storage, but not in the part of it.
    Case("beyond the part", "reaches beyond its storage", part: (1, 3)),
    Case(
      "a part from nowhere", "a part of a storage", file: old(P.dictionary(("w", P.tensor(storage: partFromNowhere))))),
    Case("a part that begins within an element", "begins within an element", file: old(elementInTwo)),
    Case("another pickle", "but not by torch.save", file: [0x80, 2] + P.dictionary(("a", P.int(1))) + Array(".".utf8)),
  ]

  private static let partFromNowhere =
    P.tuple(
      P.text("storage"), P.global("torch", "FloatStorage"), P.text("0"), P.text("cpu"), P.int(4),
      P.tuple(P.text("part"), P.int(0))) + [UInt8(ascii: "Q")]

  /// Eight bytes each, in a part that begins with the second element of four bytes.
  private static let elementInTwo: [UInt8] = {
    let arguments = P.tuple(
      P.storage(view: (1, 2)), P.int(0), P.sizes([1]), P.sizes([1]), [0x89], Array("N".utf8),
      P.global("torch", "float64"))
    return P.dictionary(("w", P.global("torch._utils", "_rebuild_tensor_v3") + arguments + Array("R".utf8)))
  }()

  /// Ten thousand pairs, and ten thousand dictionaries made of them.
  private static let copies: [UInt8] = {
    let pair = P.tuple(P.text("a"), P.int(1))
    let list = Array("](".utf8) + (0..<10_000).flatMap { _ in pair } + Array("e".utf8) + [0x85, UInt8(ascii: "q"), 0]
    let dictionary = P.global("collections", "OrderedDict") + Array("h".utf8) + [0] + Array("R".utf8)
    return Array("(".utf8) + list + (0..<10_000).flatMap { _ in dictionary } + Array("t".utf8)
  }()

  @Test(arguments: cases) func isRefused(damage: Case) throws {
    let begin = ContinuousClock.now
    let error = try #require(throws: CheckpointError.self) { try Self.read(damage.bytes) }
    #expect(error.problem.contains(damage.words), "\(error.problem)")
    #expect(error.description.hasPrefix("evil.pth: "))
    #expect(!error.problem.contains("\n") && error.problem.utf8.count < 2000)
    #expect(begin.duration(to: .now) < .seconds(20))
  }

  /// Each level names the one below twice: a billion paths, thirty dictionaries.
  @Test func whatIsNamedTwiceIsLookedAtOnce() throws {
    var pickle = P.dictionary(("w", P.tensor()))
    for level in 1..<30 {
      let again = Array("q".utf8) + [UInt8(level)]
      pickle =
        Array("}(".utf8) + P.text("a") + pickle + again + P.text("b") + Array("h".utf8) + [
          UInt8(level), UInt8(ascii: "u"),
        ]
    }
    // The tensors lie deeper than anybody puts them.
    let deep = try #require(throws: CheckpointError.self) { try Self.read(Self.zip(pickle).bytes) }
    #expect(deep.problem.contains("no dictionary with tensors"))
  }

  /// Many parts of a storage that has to be copied, since its numbers are turned round or lie between places where they can be
  /// used: it is copied once, however many there are.
  @Test(arguments: [false, true]) func manyPartsOfOneStorage(isBigEndian: Bool) throws {
    let count = 1 << 12
    let pairs = (0..<200).flatMap { index in
      P.text("t\(index)")
        + P.tensor(shape: [2], storage: P.storage(count: count, view: (index, count - index)))
    }
    // In front of the storage so many bytes more that it begins between two places.
    let (start, data) = (Array("}(".utf8), [UInt8](repeating: 0, count: 4 * count))
    for extra in isBigEndian ? [0] : [1, 2, 3] {
      let name = P.text(String(repeating: "x", count: extra)) + [0x88]
      let file = Self.old(
        start + name + pairs + Array("u".utf8), count: count, data: data, isBigEndian: isBigEndian)
      let checkpoint = try Self.read(file)
      #expect(checkpoint.tensors.count == 200)
      // All is one memory.
      for index in stride(from: 0, to: 200, by: 2) {
        try withoutGradient { try #require(checkpoint["t\(index)"]).fill(Double(index)) }
      }
      for index in stride(from: 1, to: 198, by: 2) {
        #expect(try checkpoint["t\(index)"]?.doubles() == [Double(index - 1), Double(index + 1)])
      }
    }
  }

  /// A thousand tensors over one storage are read, but not a million times its size.
  @Test func oneStorageForManyTensors() throws {
    let data = [UInt8](repeating: 0, count: 1 << 20)
    func file(_ count: Int) -> [UInt8] {
      let tensor =
        P.tensor(shape: [1 << 18], storage: P.storage(count: 1 << 18)) + Array("q".utf8) + [0]
      var pickle = Array("}(".utf8) + P.text("t0") + tensor
      for index in 1..<count { pickle += P.text("t\(index)") + Array("h".utf8) + [0] }
      return Self.zip(pickle + Array("u".utf8), data: data).bytes
    }
    #expect(try Self.read(file(20)).tensors.count == 20)
    let error = try #require(throws: CheckpointError.self) { try Self.read(file(1000)) }
    #expect(error.problem.contains("more than 32 times"), "\(error.problem)")
  }
}
