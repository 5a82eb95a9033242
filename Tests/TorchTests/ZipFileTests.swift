import TestSupport
import Testing

@testable import Torch

struct ZipFileTests {
  private static func read(_ bytes: [UInt8]) throws -> [ZipFile.Entry] {
    try bytes.withUnsafeBytes { try ZipFile($0).entries }
  }

  private static let two = ZipMaker([.init("a/one", [1, 2, 3]), .init("a/two", Array(repeating: 9, count: 100))])

  @Test(arguments: [false, true])
  func entriesAreFound(isLarge: Bool) throws {
    var maker = Self.two
    maker.isLarge = isLarge
    let bytes = maker.bytes
    let entries = try Self.read(bytes)
    #expect(entries.map(\.name) == ["a/one", "a/two"])
    #expect(entries.map(\.count) == [3, 100])
    #expect(Array(bytes[entries[0].range]) == [1, 2, 3])
    #expect(Array(bytes[entries[1].range]) == Array(repeating: 9, count: 100))
  }

  @Test func nothingInIt() throws { #expect(try Self.read(ZipMaker([]).bytes).isEmpty) }

  struct Case: Sendable, CustomTestStringConvertible {
    var testDescription: String
    var message: String
    var change: @Sendable (inout ZipMaker) -> Void

    init(_ name: String, _ message: String, _ change: @escaping @Sendable (inout ZipMaker) -> Void) {
      (testDescription, self.message, self.change) = (name, message, change)
    }
  }

  static let cases = [
    Case("two of one name", "two files called 'a/one'") { $0.members[1].name = "a/one" },
    Case("one block under two names", "'a/two' is called otherwise") { $0.members[1].offset = 0 },
    Case("one block under two names that agree", "lie over each other") { maker in
      // Inside the first content stands the head of a second file.
      let inner = ZipMaker([.init("a/two", [5])]).bytes.prefix(30 + 5 + 1)
      maker.members[0].data = Array(inner)
      maker.members[1].data = [5]
      maker.members[1].offset = 30 + 5
    },
    Case("a place beyond the file", "the sizes of 'a/two'") { $0.members[1].offset = 0x7fff_ffff },
    Case("a stored size that lies", "the sizes of 'a/one'") { $0.members[0].count = 1 << 30 },
    Case("a large size of 64 bits", "the sizes of 'a/one'") { maker in
      maker.isLarge = true
      maker.members[0].count = .max
      maker.members[0].method = 8
    },
    Case("a negative place", "the sizes of 'a/one'") { maker in
      maker.isLarge = true
      maker.members[0].offset = -8
    },
    Case("a head that says another name", "called otherwise") { $0.members[0].headName = "b/one" },
  ]

  @Test(arguments: cases) func isRefused(damage: Case) throws {
    var maker = Self.two
    damage.change(&maker)
    let error = try #require(throws: ZipError.self) { try Self.read(maker.bytes) }
    #expect(error.problem.contains(damage.message), "\(error.problem)")
  }

  @Test func everyShorterPartIsRefused() throws {
    let bytes = Self.two.bytes
    for count in 0..<bytes.count {
      #expect(throws: ZipError.self, "\(count)") { try Self.read(Array(bytes.prefix(count))) }
    }
  }
}
