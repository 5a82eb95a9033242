import Foundation
import Torch

/// UCI's handwritten digits, which are a part of the package: 1,797 grey images of 8×8 pixels.
public enum Digits {
  /// The number of examples that are for testing; the other 1,437 are for training.
  public static let testCount = 360

  /// All images.
  public static func all() throws -> ArrayDataset {
    let file = "the digits in the package"
    guard let deflated = Data(base64Encoded: "\(DigitsData.base64)") else {
      throw DataError(file: file, "are not in base64")
    }
    let content = try deflated.withUnsafeBytes {
      try CompressedFile.content(of: $0, count: DigitsData.byteCount, file: file)
    }
    defer { withExtendedLifetime(content) {} }
    let sum = try SHA256.hex(of: UnsafeRawBufferPointer(content.bytes))
    guard sum == DigitsData.sha256 else { throw DataError(file: file, "are damaged (their checksum is \(sum))") }
    let labels = content.bytes[(DigitsData.count * 64)...].map { Int32($0) }
    return try ArrayDataset(
      name: "digits", values: content, maximum: 16, exampleShape: [1, 8, 8], count: DigitsData.count, labels: labels,
      classNames: (0...9).map(String.init))
  }

  /// The images for training and those for testing. The division is fixed, and every digit is divided alike.
  public static func load() throws -> (train: ArrayDataset, test: ArrayDataset) {
    let digits = try all()
    let (test, train) = try Splits.stratified(dataset: digits, count: testCount, seed: 0)
    return (
      try digits.selecting(train, name: "digits, training part"), try digits.selecting(test, name: "digits, test part")
    )
  }
}
