import Foundation
import Torch

/// The numbers of a program for Core ML, as they lie in `weights/weight.bin`: the storage format of MIL, version 2.
///
/// 64 bytes say how many tensors there are and the version. Each tensor is 64 bytes about it (a mark, its type, its bytes,
/// where they begin) and its numbers, and begins at a multiple of 64. A program names a tensor by the place of the 64 bytes
/// about it. All numbers are little-endian.
struct MILWeights {
  private static let alignment = 64
  private static let mark: UInt32 = 0xDEAD_BEEF
  private static let version: UInt32 = 2

  private(set) var tensors: [(tensor: Tensor, place: Int)] = []
  private var end = Self.alignment

  /// Adds a tensor of float32 or float16.
  ///
  /// - Returns: where the program finds it
  mutating func add(_ tensor: Tensor) -> Int {
    let place = (end + Self.alignment - 1) / Self.alignment * Self.alignment
    tensors.append((tensor, place))
    end = place + Self.alignment + tensor.count * tensor.dtype.byteCount
    return place
  }

  /// - Throws: `FileError` when it cannot be written.
  func write(to path: String) throws {
    try AtomicFile.write(to: path) { file in
      try file.append(Self.block(UInt32(tensors.count).bytes + Self.version.bytes))
      var end = Self.alignment
      for (tensor, place) in tensors {
        try file.append([UInt8](repeating: 0, count: place - end))
        try tensor.withBytes { numbers in
          let type: UInt32 = tensor.dtype == .float16 ? 1 : 2
          let start = place + Self.alignment
          try file.append(
            Self.block(Self.mark.bytes + type.bytes + UInt64(numbers.count).bytes + UInt64(start).bytes))
          try file.append(numbers)
          end = start + numbers.count
        }
      }
    }
  }

  /// Filled up with zeros.
  private static func block(_ bytes: [UInt8]) -> [UInt8] {
    bytes + [UInt8](repeating: 0, count: alignment - bytes.count)
  }
}

extension FixedWidthInteger {
  fileprivate var bytes: [UInt8] { withUnsafeBytes(of: littleEndian) { Array($0) } }
}
