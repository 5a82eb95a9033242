import Foundation
import Synchronization
import Testing
import Torch

@testable import DistillData

@Suite struct IDXTests {
  private let pixels = (0..<12).map { UInt8($0 * 20) }

  @Test func readsImagesAndLabels() throws {
    try withFolder { (folder: String) throws in
      let (images, labels) = ("\(folder)/images", "\(folder)/labels")
      try write(idx([3, 2, 2], pixels), to: images)
      try write(idx([3], [2, 0, 1]), to: labels)
      let plain = try IDX.read(images: images, labels: labels, classNames: ["a", "b", "c"])
      #expect(plain.count == 3 && plain.exampleShape == [1, 2, 2] && plain.classNames == ["a", "b", "c"])
      #expect(try plain.values(at: 1) == [80, 100, 120, 140].map { Float($0) / 255 })
      #expect((0..<3).map { plain.label(at: $0) } == [2, 0, 1])
      try write(gzip(idx([3, 2, 2], pixels)), to: images + ".gz")
      try write(gzip(idx([3], [2, 0, 1])), to: labels + ".gz")
      let compressed = try IDX.read(images: images + ".gz", labels: labels + ".gz", classNames: ["a", "b", "c"])
      #expect(try compressed.contentHash == plain.contentHash)
      let unlabelled = try IDX.read(images: images, labels: nil)
      #expect(unlabelled.classCount == 0 && unlabelled.label(at: 0) == -1)
    }
  }

  @Test func readsColoursAndJoinedMembers() throws {
    try withFolder { (folder: String) throws in
      let bytes = idx([1, 3, 2, 2], pixels)
      try write(gzip(Array(bytes[..<9])) + gzip(Array(bytes[9...])), to: "\(folder)/joined.gz")
      let dataset = try IDX.read(images: "\(folder)/joined.gz", labels: nil)
      #expect(dataset.exampleShape == [3, 2, 2] && dataset.count == 1)
      #expect(try dataset.values(at: 0) == pixels.map { Float($0) / 255 })
    }
  }

  @Test func refusesDamagedFiles() throws {
    try withFolder { (folder: String) throws in
      let path = "\(folder)/images"
      func refusal(_ bytes: [UInt8], labels: [UInt8]? = nil, classNames: [String]? = nil) throws -> String {
        try write(bytes, to: path)
        if let labels { try write(labels, to: "\(folder)/labels") }
        let text = message {
          _ = try IDX.read(
            images: path, labels: labels == nil ? nil : "\(folder)/labels", classNames: classNames)
        }
        #expect(text.contains(folder))
        return text
      }
      let good = idx([3, 2, 2], pixels)
      #expect(message { _ = try IDX.read(images: "\(folder)/none", labels: nil) }.contains("No such file"))
      #expect(try refusal([]).contains("only 0 bytes"))
      #expect(try refusal([0, 0, 8]).contains("only 3 bytes"))
      #expect(try refusal([0x50, 0x4b] + good).contains("begins with the bytes 50 4b 0 0"))
      #expect(try refusal(idx([3, 2, 2], pixels, type: 13)).contains("float32"))
      #expect(try refusal(idx([3, 2, 2], pixels, type: 77)).contains("unknown type 77"))
      #expect(try refusal(idx([1, 1, 1, 3, 4], pixels)).contains("5 dimensions"))
      #expect(try refusal([0, 0, 8, 0, 1]).contains("0 dimensions"))
      #expect(try refusal(Array(good[..<10])).contains("its header needs 16 bytes, but there are 10"))
      #expect(try refusal(idx([0, 2, 2], [])).contains("is empty: its dimensions are [0, 2, 2]"))
      #expect(try refusal(Array(good.dropLast())).contains("need 28 bytes, but there are 27"))
      #expect(try refusal(good + [0]).contains("goes on after the 28 bytes"))
      #expect(try refusal(idx([1 << 31, 1 << 31, 1 << 31], [])).contains("impossible dimensions"))
      #expect(try refusal(idx([2, 6], pixels)).contains("images are [N, H, W]"))
      #expect(try refusal(idx([12], pixels)).contains("Is it the file with the labels?"))
      #expect(try refusal(idx([1, 2, 2, 3], pixels)).contains("images with 2 channels"))
      let compressed = try gzip(good)
      #expect(try refusal(Array(compressed.dropLast(12))).contains("damaged or truncated"))
      #expect(try refusal(Array(compressed.dropLast(2))).contains("the compressed data end early"))
      #expect(try refusal(Array(compressed[..<6])).contains("the compressed data end early"))
      #expect(try refusal(compressed + [1, 2, 3]).contains("3 bytes follow the end"))
      var wrong = compressed
      wrong[wrong.count - 6] ^= 1
      #expect(try refusal(wrong).contains("incorrect data check"))
      #expect(try refusal(gzip(Array(good.dropLast(3)))).contains("announces 28 bytes, but there are 25"))
      #expect(try refusal(gzip(good + [7])).contains("goes on after the 28 bytes"))
      #expect(try refusal(gzip(idx([60_000, 28, 28], pixels))).contains("do not fit in"))
      #expect(try refusal(good, labels: idx([2], [0, 1])).contains("has 2 labels, but"))
      #expect(try refusal(good, labels: good).contains("Is it the file with the images?"))
      let outside = try refusal(good, labels: idx([3], [0, 5, 1]), classNames: ["a", "b"])
      #expect(outside.contains("label 1 is 5, but there are only 2 classes"))
    }
  }
}

@Suite struct CSVTests {
  private func read(
    _ text: String, label: CSV.LabelColumn = .last, header: Bool? = nil, separator: Character = ",",
    classNames: [String]? = nil
  ) throws -> (rows: [[Float]], labels: [Int], names: [String]) {
    try withFolder { (folder: String) throws in
      try write(text, to: "\(folder)/table.csv")
      let dataset = try CSV.read(
        "\(folder)/table.csv", label: label, header: header, separator: separator, classNames: classNames)
      let all = 0..<dataset.count
      return (try all.map { try dataset.values(at: $0) }, all.map { dataset.label(at: $0) }, dataset.classNames)
    }
  }

  @Test func readsNumbersAndClasses() throws {
    let table = try read("1,2.5,b\n-3e2, 4 ,a\n\n5,6,b")
    #expect(table.rows == [[1, 2.5], [-300, 4], [5, 6]])
    #expect(table.labels == [1, 0, 1] && table.names == ["a", "b"])
  }

  @Test func findsTheHeader() throws {
    let named = try read("kind,x,y\n7,1,2\n10,3,4\n", label: .named("kind"))
    #expect(named.rows == [[1, 2], [3, 4]] && named.labels == [0, 1] && named.names == ["7", "10"])
    #expect(try read("x,y,kind\n1,2,0\n").rows == [[1, 2]])
    #expect(try read("1,2,0\n3,4,1\n").rows.count == 2)
    #expect(try read("1,2,0\n3,4,1\n", header: true).rows == [[3, 4]])
    #expect(try read("0,1,2\n3,4,1\n", label: .named("0")).rows == [[4, 1]])
    #expect(try read("5,1,2\n6,3,4\n", label: .number(1)).names == ["5", "6"])
    let unlabelled = try read("a,b\n1,2\n", label: .none)
    #expect(unlabelled.rows == [[1, 2]] && unlabelled.labels == [-1] && unlabelled.names == [])
    #expect(CSV.LabelColumn("3") == .number(3) && CSV.LabelColumn("kind") == .named("kind"))
  }

  @Test func understandsQuotes() throws {
    let table = try read(
      "\u{feff}\"x, 1\",\"the \"\"kind\"\"\"\r\n\"1.5\",\"a,\nb\"\r\n2,c\r\n", label: .named("the \"kind\""))
    #expect(table.rows == [[1.5], [2]] && table.names == ["a,\nb", "c"])
    #expect(try read("1;2;a\n", separator: ";").rows == [[1, 2]])
  }

  @Test func takesGivenClasses() throws {
    let table = try read("1,dog\n2,cat\n", classNames: ["dog", "bird", "cat"])
    #expect(table.labels == [0, 2] && table.names == ["dog", "bird", "cat"])
  }

  @Test func refusesDamagedTables() throws {
    func refusal(
      _ text: String, _ label: CSV.LabelColumn = .last, header: Bool? = nil, classNames: [String]? = nil
    ) -> String {
      let found = message { _ = try read(text, label: label, header: header, classNames: classNames) }
      #expect(found.contains("table.csv"))
      return found
    }
    #expect(refusal("").contains("is empty"))
    #expect(refusal("\n\r\n").contains("is empty"))
    #expect(refusal("x,y,kind\n").contains("has no rows"))
    #expect(refusal("x,y,kind\n1,oops,a\n").hasSuffix("line 2, column 2 (y) is \"oops\", which is not a finite number"))
    #expect(refusal("1,2,a\n\n3,,b\n").hasSuffix("line 3, column 2 is empty"))
    #expect(refusal("1,2,a\n3,nan,b\n").contains("line 2, column 2 is \"nan\""))
    #expect(refusal("1,2,a\n3,1e99,b\n").contains("not a finite number"))
    #expect(refusal("1,2,a\n3,4\n").hasSuffix("line 2 has 2 cells, but line 1 has 3"))
    #expect(refusal("1,2,a\n3,4,\n").contains("line 2, column 3 has no label"))
    #expect(refusal("1,x,a\n3,4,b\n").contains("line 1, column 2 is \"x\""))
    #expect(refusal("1,2,a\n3,\"4,b\n5,6,c\n").contains("line 2 has a quotation mark that is never closed"))
    #expect(refusal("1,2,a\n3,\"4\"4,b\n").contains("line 2: something follows the closing quotation mark of \"4\""))
    #expect(refusal("x,y\n1,2\n", .named("kind")).contains("no column called \"kind\". Its columns are x, y"))
    #expect(refusal("x,x,y\n1,2,3\n", .named("x")).contains("several columns"))
    #expect(refusal("1,2\n", .named("kind"), header: false).contains("no line with the columns' names"))
    #expect(refusal("1,2\n", .number(3)).contains("no column 3. Its columns are numbered 1 to 2"))
    #expect(refusal("1,2\n", .number(0)).contains("no column 0"))
    #expect(refusal("1;2;a\n").contains("no column besides the label column"))
    #expect(refusal("1,dog\n2,cow\n", classNames: ["dog"]).contains("line 2 has the label \"cow\""))
    #expect(refusal((0..<300).map { "1,\($0)\n" }.joined()).contains("300 different labels"))
    let many = refusal("1,a\n" + (0..<9).map { _ in "x,a\n" }.joined())
    #expect(many.contains("9 problems") && many.contains("line 6, column 1") && many.hasSuffix("and 4 more"))
  }
}

@Suite struct CIFARTests {
  private func record(_ labels: [UInt8], _ start: UInt8) -> [UInt8] {
    labels + (0..<3072).map { start &+ UInt8($0 / 1024) }
  }

  @Test func readsRecords() throws {
    try withFolder { (folder: String) throws in
      for batch in 1...5 {
        try write(record([UInt8(batch)], UInt8(10 * batch)) + record([0], 200), to: "\(folder)/data_batch_\(batch).bin")
      }
      try write(record([9], 3), to: "\(folder)/test_batch.bin")
      let parts = try DatasetCatalog.load(name: "cifar10", folder: folder)
      #expect(parts.train.count == 10 && parts.test.count == 1)
      #expect(parts.train.exampleShape == [3, 32, 32] && parts.train.classNames[0] == "airplane")
      #expect((0..<10).map { parts.train.label(at: $0) } == [1, 0, 2, 0, 3, 0, 4, 0, 5, 0])
      let values = try parts.train.values(at: 4)
      #expect([0, 1023, 1024, 3071].map { (values[$0] * 255).rounded() } == [30, 30, 31, 32])
      #expect(parts.test.label(at: 0) == 9)
    }
  }

  @Test func readsAHundredClasses() throws {
    try withFolder { (folder: String) throws in
      let place = "\(folder)/cifar-100-binary"
      try write(record([3, 71], 5), to: "\(place)/train.bin")
      try write(record([3, 99], 5), to: "\(place)/test.bin")
      #expect(try CIFAR.load(.hundred, folder: folder).test.classNames[99] == "99")
      try write((0..<100).map { "class \($0)\n" }.joined(), to: "\(place)/fine_label_names.txt")
      let parts = try CIFAR.load(.hundred, folder: folder)
      #expect(parts.train.label(at: 0) == 71 && parts.train.classNames[71] == "class 71")
    }
  }

  @Test func refusesDamagedFiles() throws {
    try withFolder { (folder: String) throws in
      let path = "\(folder)/data.bin"
      func refusal(_ bytes: [UInt8]) throws -> String {
        try write(bytes, to: path)
        return message { _ = try CIFAR.read([path], kind: .ten) }
      }
      #expect(try refusal(Array(record([1], 0).dropLast())).contains("data.bin: is truncated"))
      #expect(try refusal([]).contains("data.bin: is truncated"))
      #expect(try refusal(record([1], 0) + record([10], 0)).contains("record 1 has the label 10"))
      #expect(message { _ = try CIFAR.read([folder + "/none"], kind: .ten) }.contains("No such file"))
      let missing = message { _ = try CIFAR.load(.ten, folder: folder) }
      #expect(missing.contains("data_batch_1.bin") && missing.contains("test_batch.bin"))
    }
  }
}
