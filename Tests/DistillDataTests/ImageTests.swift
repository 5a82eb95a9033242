import CZlib
import Foundation
import Synchronization
import Testing
import Torch

@testable import DistillData

@Suite struct ImageTests {
  private let colours: [UInt8] = [255, 0, 0, 0, 255, 0, 0, 0, 255, 10, 20, 30, 255, 255, 255, 0, 0, 0]

  private func decoded(_ bytes: [UInt8]) throws -> RawImage {
    try bytes.withUnsafeBytes { try RawImage.decode($0, file: "picture") }
  }

  @Test func readsPNG() throws {
    let image = try decoded(png(width: 3, height: 2, channels: 3, colours))
    #expect(image == (try RawImage(width: 3, height: 2, channels: 3, pixels: colours)))
    #expect(image.planes == [255, 0, 0, 10, 255, 0, 0, 255, 0, 20, 255, 0, 0, 0, 255, 30, 255, 0])
    #expect(try image.converted(channels: 1).pixels == [76, 150, 29, 18, 255, 0])
    let grey = try decoded(png(width: 2, height: 1, channels: 1, [7, 200]))
    #expect(grey.channels == 1 && grey.pixels == [7, 200])
    #expect(try grey.converted(channels: 3).pixels == [7, 7, 7, 200, 200, 200])
  }

  @Test func showsWhiteBehindWhatIsTransparent() throws {
    #expect(try decoded(png(width: 2, height: 1, channels: 2, [0, 0, 90, 255])).pixels == [255, 90])
    let colour = try decoded(png(width: 2, height: 1, channels: 4, [9, 9, 9, 0, 1, 2, 3, 255]))
    #expect(colour.pixels == [255, 255, 255, 1, 2, 3])
  }

  @Test func readsJPEG() throws {
    let ramp = (0..<256).map { (index: Int) -> UInt8 in UInt8(index % 16 * 8 + index / 16 * 4) }
    let grey = try decoded(jpeg(width: 16, height: 16, channels: 1, ramp))
    #expect(grey.width == 16 && grey.height == 16 && grey.channels == 1)
    #expect(zip(grey.pixels, ramp).allSatisfy { abs(Int($0) - Int($1)) <= 2 })
    let three = ramp.flatMap { (value: UInt8) -> [UInt8] in [value, 255 - value, 100] }
    let colour = try decoded(jpeg(width: 16, height: 16, channels: 3, three))
    #expect(colour.channels == 3)
    #expect(zip(colour.pixels, three).allSatisfy { abs(Int($0) - Int($1)) <= 4 })
  }

  @Test func resizes() throws {
    func resized(_ pixels: [UInt8], width: Int, to newWidth: Int, channels: Int = 1) throws -> [UInt8] {
      let height = pixels.count / width / channels
      let image = try RawImage(width: width, height: height, channels: channels, pixels: pixels)
      return try image.resized(width: newWidth, height: height).pixels
    }
    #expect(try resized([0, 10, 20, 31], width: 4, to: 2) == [5, 26])
    #expect(try resized([0, 30, 60], width: 3, to: 2) == [10, 50])
    #expect(try resized([0, 100], width: 2, to: 4) == [0, 25, 75, 100])
    #expect(try resized([9], width: 1, to: 3) == [9, 9, 9])
    #expect(try resized([0, 200, 10, 100, 100, 30], width: 2, to: 1, channels: 3) == [50, 150, 20])
    let square = try RawImage(width: 2, height: 4, channels: 1, pixels: [0, 10, 20, 30, 100, 110, 120, 130])
    #expect(try square.resized(width: 1, height: 2).pixels == [15, 115])
    #expect(try square.resized(width: 2, height: 4) == square)
    for (old, new) in [(7, 3), (3, 7), (28, 32), (32, 28), (100, 1), (5, 5), (1000, 333)] {
      let positions = Resampling.positions(from: old, to: new)
      #expect(positions.count == new)
      #expect(positions.allSatisfy { abs($0.weights.reduce(0, +) - 1) < 1e-5 })
      #expect(positions.allSatisfy { $0.first >= 0 && $0.first + $0.weights.count <= old })
    }
  }

  @Test func refusesDamagedPictures() throws {
    func refusal(_ bytes: [UInt8]) -> String {
      let text = message { _ = try decoded(bytes) }
      #expect(text.hasPrefix("picture: "))
      return text
    }
    let good = try png(width: 3, height: 2, channels: 3, colours)
    #expect(refusal([]).contains("neither a PNG nor a JPEG"))
    #expect(refusal(Array("GIF89a".utf8)).contains("neither a PNG nor a JPEG"))
    #expect(refusal(Array(good[..<8])).contains("damaged PNG"))
    #expect(refusal(Array(good[..<30])).contains("damaged PNG"))
    #expect(refusal(Array(good[..<(good.count - 20)])).contains("damaged PNG"))
    var flipped = good
    let start = try #require(flipped.indices.first { flipped[$0...].starts(with: Array("IDAT".utf8)) })
    flipped[start + 10] ^= 0xff
    #expect(refusal(flipped).contains("damaged PNG"))
    // A header that claims 60,000 × 60,000 pixels, with the right checksum.
    var bomb = good
    for start in [16, 20] { bomb.replaceSubrange(start..<start + 4, with: [0, 0, 0xea, 0x60]) }
    let sum = Array(bomb[12..<29]).withUnsafeBufferPointer { crc32(0, $0.baseAddress, 17) }
    bomb.replaceSubrange(29..<33, with: [24, 16, 8, 0].map { UInt8(truncatingIfNeeded: sum >> $0) })
    #expect(refusal(bomb).contains("claims to have 60000×60000 pixels"))
    let photo = try jpeg(width: 64, height: 64, channels: 3, (0..<12288).map { UInt8(truncatingIfNeeded: $0 * 7) })
    #expect(refusal(Array(photo[..<(photo.count / 2)])).contains("damaged JPEG"))
    #expect(refusal(Array(photo[..<20])).contains("damaged JPEG"))
    #expect(refusal([0xff, 0xd8, 0xff, 0xe0] + [UInt8](repeating: 0, count: 50)).contains("damaged JPEG"))
    #expect(message { _ = try RawImage.read("/nowhere/picture.png") }.contains("/nowhere/picture.png"))
  }

  @Test func readsAFolder() throws {
    try withFolder { (folder: String) throws in
      try write(png(width: 3, height: 2, channels: 3, colours), to: "\(folder)/dog/b.png")
      try write(png(width: 3, height: 2, channels: 1, [1, 2, 3, 4, 5, 6]), to: "\(folder)/dog/a.PNG")
      try write(jpeg(width: 3, height: 2, channels: 1, Array(repeating: 90, count: 6)), to: "\(folder)/cat/more/c.jpg")
      try write("not a picture", to: "\(folder)/cat/.hidden.png")
      try write("not a picture", to: "\(folder)/cat/notes.txt")
      try write("not a picture", to: "\(folder)/README")
      try write("not a picture", to: "\(folder)/.cache/x.png")
      let seen = Mutex<[Int]>([])
      let dataset = try ImageFolder.read(folder) { done, total in seen.withLock { $0.append(total * 100 + done) } }
      #expect(dataset.count == 3 && dataset.exampleShape == [3, 2, 3] && dataset.classNames == ["cat", "dog"])
      #expect((0..<3).map { dataset.label(at: $0) } == [0, 1, 1])
      #expect(try dataset.values(at: 0).map { ($0 * 255).rounded() } == Array(repeating: 90, count: 18))
      #expect(
        try dataset.values(at: 1).map { ($0 * 255).rounded() } == [
          1, 2, 3, 4, 5, 6, 1, 2, 3, 4, 5, 6, 1, 2, 3, 4, 5, 6,
        ])
      #expect(try dataset.values(at: 2)[..<6].map { ($0 * 255).rounded() } == [255, 0, 0, 10, 255, 0])
      #expect(seen.withLock { $0 } == [301, 302, 303])
      let grey = try ImageFolder.read(folder, .init(size: (1, 1), channels: 1), classNames: ["dog", "cat"])
      #expect(grey.exampleShape == [1, 1, 1] && (0..<3).map { grey.label(at: $0) } == [1, 0, 0])
      #expect(try (grey.values(at: 1)[0] * 255).rounded() == 4)  // 3.5
    }
  }

  @Test func refusesDamagedFolders() throws {
    try withFolder { (folder: String) throws in
      func refusal(classNames: [String]? = nil, size: (height: Int, width: Int)? = nil, channels: Int = 3) -> String {
        message { _ = try ImageFolder.read(folder, .init(size: size, channels: channels), classNames: classNames) }
      }
      #expect(message { _ = try ImageFolder.read("\(folder)/none") }.contains("none: is not a folder"))
      #expect(refusal().contains("has no folders"))
      try FileManager.default.createDirectory(atPath: "\(folder)/cat", withIntermediateDirectories: true)
      #expect(refusal().contains("/cat: has no pictures"))
      let good = try png(width: 3, height: 2, channels: 3, colours)
      try write(good, to: "\(folder)/cat/a.png")
      #expect(refusal(classNames: ["dog"]).contains("/cat: is not the folder of a known class. The classes are dog"))
      #expect(refusal(channels: 2).contains("not 2"))
      #expect(refusal(size: (0, 4)).contains("4×0"))
      try write(png(width: 1, height: 1, channels: 1, [5]), to: "\(folder)/cat/b.png")
      #expect(refusal().contains("b.png: has 1×1 pixels, but"))
      try write(Array(good[..<40]), to: "\(folder)/cat/c.png")
      #expect(refusal(size: (2, 2)).contains("c.png: is a damaged PNG picture"))
      try write("hello", to: "\(folder)/cat/d.jpg")
      let both = refusal(size: (2, 2))
      #expect(both.contains("2 pictures cannot be used") && both.contains("c.png") && both.contains("d.jpg"))
      try write("BM", to: "\(folder)/cat/e.bmp")
      #expect(refusal().contains("e.bmp: is a picture of a kind that cannot be read (bmp)"))
    }
  }
}
