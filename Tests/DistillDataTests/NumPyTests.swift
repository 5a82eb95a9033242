import Foundation
import TestSupport
import Testing
import Torch

@testable import DistillData

/// Files that NumPy wrote (`scripts/fixtures/numpy_files.py`), and such as nobody should believe.
@Suite struct NumPyTests {
  private let numbers = (0..<12).map { Float($0) - 5.5 }

  private func file(_ name: String) -> String {
    URL(filePath: #filePath).deletingLastPathComponent().appending(path: "../Fixtures/numpy/\(name)").path
  }

  @Test(arguments: ["f2", "f4", "f8", "big", "fortran", "version2", "version3"])
  func readsEveryForm(name: String) throws {
    let array = try NPY.read(file("\(name).npy"))
    #expect(array.shape == [3, 4] && array.rowCount == 3 && array.columnCount == 4)
    #expect(array.floats(rows: 0..<3) == numbers)
    #expect(array.floats(rows: 1..<2) == Array(numbers[4..<8]))
  }

  @Test func readsViewsInTheOrderOfFortran() throws {
    let array = try NPY.read(file("views.npy"))
    #expect(array.shape == [2, 3, 4])
    #expect(array.floats(rows: 0..<6) == (0..<24).map(Float.init))
    #expect(array.floats(rows: 4..<5) == [16, 17, 18, 19])
  }

  @Test func readsWholeNumbers() throws {
    #expect(try NPY.read(file("ids.npy")).integers() == [2, 0, 1])
    #expect(message { _ = try NPY.read(file("f4.npy")).integers() }.contains("whole numbers are needed"))
  }

  @Test(arguments: ["stored", "deflated"])
  func readsSeveralArrays(name: String) throws {
    let file = try NPZ(file("\(name).npz"))
    #expect(file.names == ["ids", "logits"])
    #expect(try file.array("logits")?.floats(rows: 0..<3) == numbers)
    #expect(try file.array("ids")?.integers() == [2, 0, 1])
    #expect(try file.array("other") == nil)
  }

  @Test func everyHalfIsWhatItSays() {
    // The value of a float16 from its definition.
    for bits in UInt16.min ... .max {
      let (exponent, fraction) = (Int(bits >> 10 & 31), Float(bits & 1023) / 1024)
      let sign: Float = bits >> 15 == 1 ? -1 : 1
      let found = NumberArray.float(half: bits)
      switch exponent {
      case 31: #expect(fraction == 0 ? found == sign * .infinity : found.isNaN)
      case 0: #expect(found == sign * fraction * Float(sign: .plus, exponent: -14, significand: 1))
      default: #expect(found == sign * (1 + fraction) * Float(sign: .plus, exponent: exponent - 15, significand: 1))
      }
    }
  }

  @Test func nothingIsExecuted() {
    #expect(message { _ = try NPY.read(file("objects.npy")) }.contains("pickled Python objects"))
    #expect(message { _ = try NPY.read(file("records.npy")) }.contains("several fields"))
  }

  private func npy(_ header: String, _ data: [UInt8] = [], version: UInt8 = 1) -> [UInt8] {
    let length = header.utf8.count
    return NPY.magic + [version, 0, UInt8(length & 255), UInt8(length >> 8)] + Array(header.utf8) + data
  }

  @Test func refusesDamagedArrays() throws {
    try withFolder { folder in
      let path = "\(folder)/a.npy"
      func refusal(_ bytes: [UInt8]) throws -> String {
        try write(bytes, to: path)
        let said = message { _ = try NPY.read(path) }
        #expect(said.contains(path))
        return said
      }
      func header(_ shape: String, type: String = "<f4", more: String = "") -> String {
        "{'descr': '\(type)', 'fortran_order': False, 'shape': \(shape), \(more)}\n"
      }
      let good = npy(header("(2,)"), [UInt8](repeating: 0, count: 8))
      try write(good, to: path)
      #expect(try NPY.read(path).shape == [2])
      #expect(try refusal([]).contains("only 0 bytes"))
      #expect(try refusal(Array(good[..<9])).contains("only 9 bytes"))
      #expect(try refusal(Array(good[..<30])).contains("is cut off"))
      #expect(try refusal(Array(good.dropLast())).contains("is cut off: [2] of float32 need 8 bytes"))
      #expect(try refusal(good + [1]).contains("goes on after its elements"))
      #expect(try refusal([1] + good).contains("does not begin with"))
      #expect(try refusal(npy(header("(2,)"), version: 9)).contains("format 9.0"))
      let most = "9223372036854775807"
      #expect(try refusal(npy(header("(\(most), \(most))"))).contains("impossible shape"))
      #expect(try refusal(npy(header("(99999999999999999999,)"))).contains("NumPy does not write"))
      #expect(try refusal(npy(header("(1000000, 1000000)"))).contains("is cut off"))
      #expect(try refusal(npy(header("(1,1,1,1,1,1,1,1,1)"))).contains("9 dimensions"))
      #expect(try refusal(npy(header("(-1,)"))).contains("NumPy does not write"))
      #expect(try refusal(npy(header("(2,)", type: "|S8"))).contains("type '|S8'"))
      #expect(try refusal(npy(header("(2,)", type: "<c8"))).contains("type '<c8'"))
      #expect(try refusal(npy(header("(2,)", more: "'shape': (3,)"))).contains("NumPy does not write"))
      #expect(try refusal(npy(header("(2,)", more: "'x': open('/etc/passwd')"))).contains("NumPy does not write"))
      #expect(try refusal(npy("{'descr': '<f4'}")).contains("NumPy does not write"))
      #expect(try refusal(npy("[1, 2]")).contains("NumPy does not write"))
      #expect(try refusal(NPY.magic + [2, 0, 255, 255, 255, 255]).contains("claims 4294967295 bytes"))
      #expect(mkfifo("\(folder)/pipe", 0o600) == 0)
      #expect(message { _ = try NPY.read("\(folder)/pipe") }.contains("not a regular file"))
    }
  }

  @Test func refusesDamagedFilesOfSeveralArrays() throws {
    try withFolder { folder in
      let path = "\(folder)/a.npz"
      let good = Array(try Data(contentsOf: URL(filePath: file("stored.npz"))))
      let deflated = Array(try Data(contentsOf: URL(filePath: file("deflated.npz"))))
      func refusal(_ bytes: [UInt8]) throws -> String {
        try write(bytes, to: path)
        let said = message {
          let file = try NPZ(path)
          for name in file.names { _ = try file.array(name) }
        }
        #expect(said.contains(path))
        return said
      }
      #expect(try refusal([]).contains("0 bytes"))
      #expect(try refusal(Array(good.dropLast(3))).contains("it has no directory"))
      #expect(try refusal(Array(good[..<100])).contains("it has no directory"))
      // A byte of the numbers, and of the compressed ones.
      let place = try #require(good.firstRange(of: NPY.magic)).upperBound + 130
      var wrong = good
      wrong[place] ^= 1
      #expect(try refusal(wrong).contains("its checksum is wrong"))
      wrong = deflated
      wrong[80] ^= 0xff
      #expect(try !refusal(wrong).isEmpty)
      // A length in the directory that is not the data's.
      let entry = try #require(deflated.firstRange(of: [0x50, 0x4b, 1, 2])).lowerBound
      wrong = deflated
      wrong.replaceSubrange(entry + 24..<entry + 28, with: [0xff, 0xff, 0xff, 0x7f])
      #expect(try refusal(wrong).contains("do not fit in"))
      wrong = deflated
      wrong.replaceSubrange(entry + 42..<entry + 46, with: [0xf0, 0xff, 0xff, 0x7f])
      #expect(try refusal(wrong).contains("the sizes of"))
      wrong = deflated
      wrong[entry + 10] = 14
      #expect(try refusal(wrong).contains("the method 14"))
      wrong = deflated
      wrong[entry + 8] |= 1
      #expect(try refusal(wrong).contains("encrypted"))
      // However a byte is changed, the program goes on.
      for index in good.indices {
        var bytes = good
        bytes[index] ^= 0x81
        try write(bytes, to: path)
        if let file = try? NPZ(path) { for name in file.names { _ = try? file.array(name)?.floats(rows: 0..<1) } }
      }
    }
  }
}

@Suite struct NumberedRowsTests {
  private func read(_ text: String, ids: String? = nil) throws -> NumberedRows {
    try withFolder { folder in
      try write(text, to: "\(folder)/t.csv")
      return try NumberedRows("\(folder)/t.csv", idColumn: ids)
    }
  }

  @Test func readsNumbersAndTheirRows() throws {
    let named = try read("id,cat,dog\n16777217,1,2\n0,-3.5,4e2\n")
    #expect(named.ids == [16_777_217, 0] && named.names == ["cat", "dog"])
    #expect(named.values == [1, 2, -3.5, 400] && named.columnCount == 2 && named.count == 2)
    #expect(try read("a,example,b\n1,7,2\n", ids: "example").ids == [7])
    let plain = try read("1,2\n3,4\n")
    #expect(plain.ids == nil && plain.names == [] && plain.values == [1, 2, 3, 4])
    #expect(try read("id\n3\n4\n").ids == [3, 4])
  }

  @Test func refusesWhatIsNoNumber() throws {
    #expect(message { _ = try read("") }.contains("is empty"))
    #expect(message { _ = try read("id,a\n") }.contains("has no rows"))
    #expect(message { _ = try read("id,a\n1.5,2\n") }.contains("line 2 has the id \"1.5\""))
    #expect(message { _ = try read("id,a\n1,nan\n2,x\n") }.contains("line 3, column 2: \"x\""))
    #expect(message { _ = try read("id,a\n1,2,3\n") }.contains("line 2 has 3 cells"))
    #expect(message { _ = try read("a,b\n1,2\n", ids: "id") }.contains("no column called 'id'"))
  }
}
