import CPNG
import CTurboJPEG
import CZlib
import Foundation
import Testing
import Torch

@testable import DistillData

/// Calls `body` with a new empty folder, which is deleted afterwards.
func withFolder<Result>(_ body: (String) throws -> Result) throws -> Result {
  let folder = FileManager.default.temporaryDirectory.appendingPathComponent("distill-data-\(UUID().uuidString)")
  try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
  defer { try? FileManager.default.removeItem(at: folder) }
  return try body(folder.path)
}

func write(_ bytes: [UInt8], to path: String) throws {
  let folder = URL(fileURLWithPath: path).deletingLastPathComponent()
  try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
  try Data(bytes).write(to: URL(fileURLWithPath: path))
}

func write(_ text: String, to path: String) throws { try write(Array(text.utf8), to: path) }

/// The message of the `DataError` that `body` throws; fails when it throws none.
func message(_ body: () throws -> Void, sourceLocation: SourceLocation = #_sourceLocation) -> String {
  do {
    try body()
    Issue.record("nothing was thrown", sourceLocation: sourceLocation)
    return ""
  } catch let error as DataError {
    return error.description
  } catch {
    Issue.record("\(type(of: error)) was thrown: \(error)", sourceLocation: sourceLocation)
    return ""
  }
}

/// The inputs of a batch.
func floats(_ batch: HostBatch) -> [Float] {
  withExtendedLifetime(batch) { Array(batch.inputs.bytes.bindMemory(to: Float.self)) }
}

/// The bytes of an IDX file.
func idx(_ dimensions: [Int], _ numbers: [UInt8], type: UInt8 = 8) -> [UInt8] {
  var bytes: [UInt8] = [0, 0, type, UInt8(dimensions.count)]
  for size in dimensions { bytes += [24, 16, 8, 0].map { UInt8(truncatingIfNeeded: size >> $0) } }
  return bytes + numbers
}

/// What gzip makes of the bytes.
func gzip(_ bytes: [UInt8]) throws -> [UInt8] {
  var stream = z_stream()
  let version = ZLIB_VERSION
  try #require(
    deflateInit2_(
      &stream, 9, Z_DEFLATED, MAX_WBITS + 16, 8, Z_DEFAULT_STRATEGY, version,
      Int32(MemoryLayout<z_stream>.size)) == Z_OK)
  defer { deflateEnd(&stream) }
  var input = bytes
  var output = [UInt8](repeating: 0, count: bytes.count + 1000)
  let count = try input.withUnsafeMutableBufferPointer { input in
    try output.withUnsafeMutableBufferPointer { output in
      stream.next_in = input.baseAddress
      stream.avail_in = UInt32(input.count)
      stream.next_out = output.baseAddress
      stream.avail_out = UInt32(output.count)
      try #require(deflate(&stream, Z_FINISH) == Z_STREAM_END)
      return output.count - Int(stream.avail_out)
    }
  }
  return Array(output[..<count])
}

/// A PNG file of these pixels; 1 channel is grey, 2 grey with transparency, 3 colour, 4 colour with transparency.
func png(width: Int, height: Int, channels: Int, _ pixels: [UInt8]) throws -> [UInt8] {
  var image = png_image()
  image.version = UInt32(PNG_IMAGE_VERSION)
  image.width = UInt32(width)
  image.height = UInt32(height)
  image.format =
    (channels >= 3 ? UInt32(PNG_FORMAT_FLAG_COLOR) : 0)
    | (channels % 2 == 0 ? UInt32(PNG_FORMAT_FLAG_ALPHA) : 0)
  var size = 100_000
  var bytes = [UInt8](repeating: 0, count: size)
  try #require(png_image_write_to_memory(&image, &bytes, &size, 0, pixels, 0, nil) != 0)
  return Array(bytes[..<size])
}

/// A JPEG file of these pixels, nearly without loss; 1 channel is grey, 3 colour.
func jpeg(width: Int, height: Int, channels: Int, _ pixels: [UInt8]) throws -> [UInt8] {
  let encoder = try #require(tjInitCompress())
  defer { tjDestroy(encoder) }
  var bytes: UnsafeMutablePointer<UInt8>?
  var size: UInt = 0
  defer { tjFree(bytes) }
  let format = Int32((channels == 1 ? TJPF_GRAY : TJPF_RGB).rawValue)
  let sampling = Int32((channels == 1 ? TJSAMP_GRAY : TJSAMP_444).rawValue)
  try #require(
    tjCompress2(encoder, pixels, Int32(width), 0, Int32(height), format, &bytes, &size, sampling, 100, 0) == 0)
  return Array(UnsafeBufferPointer(start: bytes, count: Int(size)))
}
