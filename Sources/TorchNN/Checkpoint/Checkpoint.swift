import Foundation
import Torch

/// Named tensors in a file, in the format safetensors, which Python's library of that name reads and writes too.
public struct Checkpoint {
  /// In the order of the file.
  public var tensors: [NamedTensor]
  /// Texts that stand beside the tensors.
  public var metadata: [String: String]
  /// The file that it came from, if any.
  public var path: String?

  public init(tensors: [NamedTensor], metadata: [String: String] = [:]) {
    self.tensors = tensors
    self.metadata = metadata
  }

  /// The tensor of a name; nil if there is none.
  public subscript(name: String) -> Tensor? { tensors.first { $0.name == name }?.tensor }

  /// Opens a file. It is mapped, not read: the tensors lie over the file's own bytes, which are loaded when they are
  /// touched. (A tensor whose bytes do not lie as its elements need it is copied.)
  ///
  /// - Throws: `CheckpointError` for whatever is wrong with the file; nothing in it is trusted.
  public static func read(_ path: String) throws -> Checkpoint {
    let buffer = try map(path)
    let bytes = UnsafeRawBufferPointer(buffer.bytes)
    guard bytes.count >= 8 else {
      throw CheckpointError(
        path: path, problem: "it is cut off or empty: \(bytes.count) bytes; fetch or write it again")
    }
    let length = UInt64(littleEndian: bytes.loadUnaligned(as: UInt64.self))
    guard length <= UInt64(bytes.count - 8) else {
      throw CheckpointError(path: path, problem: kindOfForeignFile(bytes) ?? tooLong(length, bytes.count))
    }
    guard length <= UInt64(SafetensorsHeader.maximumByteCount) else {
      throw CheckpointError(path: path, problem: "its header claims \(length) bytes; the format allows 100 million")
    }
    let dataStart = 8 + Int(length)
    let header = try SafetensorsHeader(
      reading: UnsafeRawBufferPointer(rebasing: bytes[8..<dataStart]), dataByteCount: bytes.count - dataStart,
      path: path)
    let tensors = try header.entries.map { entry in
      NamedTensor(name: entry.name, tensor: try tensor(entry, in: buffer, dataStart: dataStart))
    }
    var checkpoint = Checkpoint(tensors: tensors, metadata: header.metadata)
    checkpoint.path = path
    return checkpoint
  }

  /// Writes tensors to a file, which is replaced as a whole or not at all. Their bytes stand in the order given, those
  /// with larger elements first, so that all are aligned.
  ///
  /// - Throws: `FileError` when the file cannot be written, `CheckpointError` when two tensors have one name.
  public static func write(_ tensors: [NamedTensor], metadata: [String: String] = [:], to path: String) throws {
    var names: Set<String> = [SafetensorsHeader.metadataKey]
    for named in tensors where !names.insert(named.name).inserted {
      throw CheckpointError(path: path, problem: "two tensors cannot both be called '\(named.name)' in one file")
    }
    let ordered = tensors.enumerated().map { (place: $0.offset, named: $0.element, dtype: $0.element.tensor.dtype) }
      .sorted { (-$0.dtype.byteCount, $0.place) < (-$1.dtype.byteCount, $1.place) }
      .map(\.named)
    var members: [String] = []
    if !metadata.isEmpty {
      let pairs = metadata.sorted { $0.key < $1.key }.map { "\(JSON.quoted($0.key)):\(JSON.quoted($0.value))" }
      members.append("\"\(SafetensorsHeader.metadataKey)\":{\(pairs.joined(separator: ","))}")
    }
    var offset = 0
    for named in ordered {
      let end = offset + named.tensor.count * named.tensor.dtype.byteCount
      let shape = named.tensor.shape.map(String.init).joined(separator: ",")
      members.append(
        "\(JSON.quoted(named.name)):{\"dtype\":\"\(SafetensorsHeader.name(of: named.tensor.dtype))\",\"shape\":[\(shape)],"
          + "\"data_offsets\":[\(offset),\(end)]}")
      offset = end
    }
    var header = Array("{\(members.joined(separator: ","))}".utf8)
    header += [UInt8](repeating: UInt8(ascii: " "), count: (8 - header.count % 8) % 8)
    try AtomicFile.write(to: path) { file in
      try withUnsafeBytes(of: UInt64(header.count).littleEndian) { try file.append($0) }
      try file.append(header)
      for named in ordered { try named.tensor.withBytes { try file.append($0) } }
    }
  }

  /// Writes this checkpoint to a file.
  public func write(to path: String) throws { try Self.write(tensors, metadata: metadata, to: path) }

  private static func map(_ path: String) throws -> HostBuffer {
    var isDirectory: ObjCBool = false
    guard FileManager.default.fileExists(atPath: path, isDirectory: &isDirectory) else {
      throw CheckpointError(path: path, problem: "there is no such file")
    }
    guard !isDirectory.boolValue else {
      throw CheckpointError(path: path, problem: "it is a folder; name the .safetensors file in it")
    }
    do {
      return try HostBuffer(mapping: path)
    } catch let error as TorchError {
      let prefix = "\(path): "
      let reason = error.message.hasPrefix(prefix) ? String(error.message.dropFirst(prefix.count)) : error.message
      throw CheckpointError(path: path, problem: "it cannot be read: \(reason)")
    }
  }

  private static func tensor(
    _ entry: SafetensorsHeader.Entry, in buffer: HostBuffer, dataStart: Int
  ) throws -> Tensor {
    let start = dataStart + entry.start
    if start % entry.dtype.byteCount == 0 {
      return try Tensor(buffer, byteOffset: start, shape: entry.shape, dtype: entry.dtype)
    }
    let copy = HostBuffer(byteCount: entry.end - entry.start)
    copy.bytes.copyMemory(from: UnsafeRawBufferPointer(rebasing: buffer.bytes[start..<(dataStart + entry.end)]))
    return try Tensor(copy, shape: entry.shape, dtype: entry.dtype)
  }

  /// What a file that is no safetensors file looks like.
  private static func kindOfForeignFile(_ bytes: UnsafeRawBufferPointer) -> String? {
    if bytes.starts(with: [0x50, 0x4b, 0x03, 0x04]) || bytes.starts(with: [0x80, 0x02]) {
      return "it is a file of torch.save; save it from Python with safetensors.torch.save_file"
    }
    if bytes.starts(with: "version https://git-lfs".utf8) {
      return "it is only a pointer to a file in Git LFS; fetch the file itself with 'git lfs pull'"
    }
    // The head of a safetensors file begins with its length, whose last bytes are zero.
    if bytes.prefix(8).allSatisfy({ (32..<127).contains($0) || (9...13).contains($0) }) {
      return "it is a text, not a safetensors file"
    }
    return nil
  }

  private static func tooLong(_ length: UInt64, _ fileSize: Int) -> String {
    "its header claims \(length) bytes, but the whole file has \(fileSize): it is cut off, damaged or not a safetensors file"
  }
}
