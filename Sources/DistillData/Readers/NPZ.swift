import CZlib
import Foundation
import Torch

/// Reads NumPy's files of several arrays, `.npz`: zip files of `.npy` files, stored as they are (`numpy.savez`) or
/// deflated (`numpy.savez_compressed`).
public struct NPZ: Sendable {
  public let path: String
  private let bytes: HostBuffer
  private let members: [String: ZipFile.Entry]

  /// The names of the arrays, sorted.
  public var names: [String] { members.keys.sorted() }

  /// Reads which arrays there are. The file is mapped.
  ///
  /// - Throws: `DataError` that says what is wrong with the file; nothing in it is trusted.
  public init(_ path: String) throws {
    let bytes: HostBuffer
    do { bytes = try HostBuffer(mapping: path) } catch let error as TorchError { throw DataError(error.message) }
    try self.init(bytes, path: path)
  }

  /// - Parameter bytes: the whole file
  package init(_ bytes: HostBuffer, path: String) throws {
    self.path = path
    self.bytes = bytes
    let file: ZipFile
    do { file = try ZipFile(UnsafeRawBufferPointer(bytes.bytes)) } catch let error as ZipError {
      throw DataError(file: path, error.problem, remedy: "Write or fetch the file again")
    }
    var members: [String: ZipFile.Entry] = [:]
    for entry in file.entries {
      if entry.name.hasSuffix("data.pkl") {
        throw DataError(
          file: path, "is a file of torch.save, not of arrays",
          remedy: "Make it safetensors: distill convert \(path) -o FILE.safetensors")
      }
      guard entry.name.hasSuffix(".npy") else { continue }
      let name = String(entry.name.dropLast(4))
      guard !entry.isEncrypted else { throw DataError(file: path, "holds '\(name)' encrypted") }
      members[name] = entry
    }
    guard !members.isEmpty else { throw DataError(file: path, "is a zip file without arrays of NumPy (.npy)") }
    self.members = members
    withExtendedLifetime(bytes) {}
  }

  /// An array; nil where there is none of that name. One that is stored as it is stays in the file, a deflated one is
  /// held in memory. The checksum is verified either way.
  public func array(_ name: String) throws -> NumberArray? {
    guard let member = members[name] else { return nil }
    let place = "\(path), array '\(name)'"
    let content = UnsafeRawBufferPointer(rebasing: bytes.bytes[member.range])
    switch member.method {
    case 0:
      try verify(content, member, place)
      return try NPY.read(bytes, member.range, name: place)
    case 8:
      guard member.count / CompressedFile.highestRatio <= content.count else {
        throw DataError(
          file: place, "cannot be right: \(member.count) bytes do not fit in \(content.count) compressed ones",
          remedy: "Write or fetch the file again")
      }
      let content = try CompressedFile.content(of: content, count: member.count, file: place, format: .deflate)
      try verify(UnsafeRawBufferPointer(content.bytes), member, place)
      return try NPY.read(content, content.bytes.indices, name: place)
    default:
      throw DataError(
        file: place, "is compressed by the method \(member.method); stored and deflated arrays can be read",
        remedy: "Write it with numpy.savez or numpy.savez_compressed")
    }
  }

  private func verify(_ content: UnsafeRawBufferPointer, _ member: ZipFile.Entry, _ place: String) throws {
    var checksum = crc32(0, nil, 0)
    var rest = content[...]
    while !rest.isEmpty {
      let part = UnsafeRawBufferPointer(rebasing: rest.prefix(1 << 30))
      checksum = crc32(checksum, part.bindMemory(to: UInt8.self).baseAddress, UInt32(part.count))
      rest = rest.dropFirst(part.count)
    }
    guard checksum == UInt(member.checksum) else {
      throw DataError(file: place, "is damaged: its checksum is wrong", remedy: "Write or fetch the file again")
    }
  }
}
