import Foundation
import Torch

/// Named tensors in a file.
///
/// Written are files in the format safetensors, which Python's library of that name reads and writes too. Read are these,
/// files of PyTorch's `torch.save` (`.pth`, `.pt`, `.bin`; nothing in them is executed), and models in several files of
/// either kind with an index (`model.safetensors.index.json`, `pytorch_model.bin.index.json`). Which it is, a file says
/// itself; its name does not matter.
public struct Checkpoint {
  /// In the order of the file.
  public var tensors: [NamedTensor]
  /// Texts that stand beside the tensors. Of a file of `torch.save`, numbers and short texts, such as the epoch.
  public var metadata: [String: String]
  /// The file that it came from, if any.
  public var path: String?

  public init(tensors: [NamedTensor], metadata: [String: String] = [:]) {
    self.tensors = tensors
    self.metadata = metadata
  }

  /// The tensor of a name; nil if there is none.
  public subscript(name: String) -> Tensor? { tensors.first { $0.name == name }?.tensor }

  /// What kind of file it is.
  public enum Format: String, Sendable {
    case safetensors
    /// A file of `torch.save`.
    case torch
    /// A list of the files in which the tensors are.
    case index
  }

  /// Opens a file, or the weights in a folder as Hugging Face lays it out. It is mapped, not read: the tensors lie over
  /// the file's own bytes, which are loaded when they are touched. (A tensor whose bytes do not lie as its elements need it
  /// is copied.)
  ///
  /// - Parameter part: of a file of `torch.save` that holds several dictionaries of tensors, the key of the one that is
  ///   meant, or keys with dots between them. Where there is one beside what belongs to the training, it is found.
  /// - Throws: `CheckpointError` for whatever is wrong with the file; nothing in it is trusted.
  public static func read(_ path: String, part: String? = nil) throws -> Checkpoint {
    let file = try weights(at: path)
    return try read(try map(file), path: file, part: part)
  }

  /// - Parameters:
  ///   - buffer: the whole file
  ///   - path: where it is from, for messages; the shards of an index are looked for in its folder
  package static func read(_ buffer: HostBuffer, path: String, part: String? = nil) throws -> Checkpoint {
    var checkpoint =
      try withExtendedLifetime(buffer) {
        let bytes = UnsafeRawBufferPointer(buffer.bytes)
        let format = try format(of: bytes, path: path)
        if part != nil, format != .torch {
          throw CheckpointError(path: path, problem: "it has no parts to choose from, as files of torch.save may have")
        }
        switch format {
        case .safetensors: return try readSafetensors(buffer, path: path)
        case .index: return try ShardIndex(bytes, path: path).read()
        case .torch:
          let found = try TorchFile(bytes, path: path, part: part)
          return Checkpoint(tensors: try found.tensors(in: buffer), metadata: found.metadata)
        }
      }
    checkpoint.path = path
    return checkpoint
  }

  /// Where in a file its tensors lie, in bytes; none for an index. Makes no tensors, and so needs no libtorch.
  package static func places(in bytes: UnsafeRawBufferPointer, path: String) throws -> [Range<Int>] {
    switch try format(of: bytes, path: path) {
    case .safetensors:
      let (header, start) = try header(of: bytes, path: path)
      return header.entries.map { start + $0.start..<start + $0.end }
    case .index:
      _ = try ShardIndex(bytes, path: path)
      return []
    case .torch:
      return try TorchFile(bytes, path: path).entries.map { entry in
        let start = entry.storage.lowerBound + entry.offset * entry.dtype.byteCount
        return start..<start + entry.span * entry.dtype.byteCount
      }
    }
  }

  /// All files that a checkpoint is made of, the one named by `path` first.
  ///
  /// - Throws: `CheckpointError`
  public static func files(of path: String) throws -> [String] {
    let file = try weights(at: path)
    let buffer = try map(file)
    return try withExtendedLifetime(buffer) {
      let bytes = UnsafeRawBufferPointer(buffer.bytes)
      guard try format(of: bytes, path: file) == .index else { return [file] }
      return [file] + (try ShardIndex(bytes, path: file).files)
    }
  }

  /// What kind of file it is; nil where it cannot be read, or is none of those that are known.
  public static func format(of path: String) -> Format? {
    guard let file = try? weights(at: path), let buffer = try? map(file) else { return nil }
    return withExtendedLifetime(buffer) { try? format(of: UnsafeRawBufferPointer(buffer.bytes), path: file) }
  }

  /// The files that a folder may have its weights in, best first.
  private static let usualNames = [
    "model.safetensors", "model.safetensors.index.json", "pytorch_model.bin", "pytorch_model.bin.index.json",
  ]

  /// A file itself; of a folder the file in it that has the weights.
  private static func weights(at path: String) throws -> String {
    let files = FileManager.default
    var isFolder: ObjCBool = false
    guard files.fileExists(atPath: path, isDirectory: &isFolder), isFolder.boolValue else { return path }
    guard let name = usualNames.first(where: { files.fileExists(atPath: FilePath.joined(path, $0)) }) else {
      throw CheckpointError(
        path: path,
        problem: "it is a folder without \(usualNames.joined(separator: ", ")); name the file of weights in it")
    }
    return FilePath.joined(path, name)
  }

  static func format(of bytes: UnsafeRawBufferPointer, path: String) throws -> Format {
    guard bytes.count >= 8 else {
      throw CheckpointError(
        path: path, problem: "it is cut off or empty: \(bytes.count) bytes; fetch or write it again")
    }
    // A safetensors file begins with the length of its header, and that with a brace.
    let length = UInt64(littleEndian: bytes.loadUnaligned(as: UInt64.self))
    if length <= UInt64(bytes.count - 8), bytes.count == 8 || bytes[8] == UInt8(ascii: "{") { return .safetensors }
    if TorchFile.begins(bytes) { return .torch }
    if ShardIndex.begins(bytes) { return .index }
    guard let kind = kindOfForeignFile(bytes) else { return .safetensors }
    throw CheckpointError(path: path, problem: kind)
  }

  private static func readSafetensors(_ buffer: HostBuffer, path: String) throws -> Checkpoint {
    let (header, dataStart) = try header(of: UnsafeRawBufferPointer(buffer.bytes), path: path)
    let tensors = try header.entries.map { entry in
      NamedTensor(name: entry.name, tensor: try tensor(entry, in: buffer, dataStart: dataStart))
    }
    return Checkpoint(tensors: tensors, metadata: header.metadata)
  }

  private static func header(
    of bytes: UnsafeRawBufferPointer, path: String
  ) throws -> (header: SafetensorsHeader, dataStart: Int) {
    let length = UInt64(littleEndian: bytes.loadUnaligned(as: UInt64.self))
    guard length <= UInt64(bytes.count - 8) else {
      throw CheckpointError(path: path, problem: tooLong(length, bytes.count))
    }
    guard length <= UInt64(SafetensorsHeader.maximumByteCount) else {
      throw CheckpointError(path: path, problem: "its header claims \(length) bytes; the format allows 100 million")
    }
    let dataStart = 8 + Int(length)
    let header = try SafetensorsHeader(
      reading: UnsafeRawBufferPointer(rebasing: bytes[8..<dataStart]), dataByteCount: bytes.count - dataStart,
      path: path)
    return (header, dataStart)
  }

  /// Writes tensors to a file, which is replaced as a whole or not at all. Their bytes stand in the order given, those
  /// with larger elements first, so that all are aligned.
  ///
  /// - Parameters:
  ///   - dtype: what numbers with a fraction are converted to, one tensor after the other; nil: none are
  ///   - progress: is told how many bytes of how many are written, and may throw to end it
  /// - Throws: `FileError` when the file cannot be written, `CheckpointError` when two tensors have one name, and whatever
  ///   `progress` throws.
  public static func write(
    _ tensors: [NamedTensor], metadata: [String: String] = [:], as dtype: DType? = nil, to path: String,
    progress: (_ done: Int, _ total: Int) throws -> Void = { _, _ in }
  ) throws {
    func type(of tensor: Tensor) -> DType {
      let own = tensor.dtype
      return own.isFloatingPoint ? dtype ?? own : own
    }
    var names: Set<String> = [SafetensorsHeader.metadataKey]
    for named in tensors where !names.insert(named.name).inserted {
      throw CheckpointError(path: path, problem: "two tensors cannot both be called '\(named.name)' in one file")
    }
    let ordered = tensors.enumerated().map { (place: $0.offset, named: $0.element, dtype: type(of: $0.element.tensor)) }
      .sorted { (-$0.dtype.byteCount, $0.place) < (-$1.dtype.byteCount, $1.place) }
      .map(\.named)
    var members: [String] = []
    if !metadata.isEmpty {
      let pairs = metadata.sorted { $0.key < $1.key }.map { "\(JSON.quoted($0.key)):\(JSON.quoted($0.value))" }
      members.append("\"\(SafetensorsHeader.metadataKey)\":{\(pairs.joined(separator: ","))}")
    }
    var offset = 0
    for named in ordered {
      let type = type(of: named.tensor)
      let end = offset + named.tensor.count * type.byteCount
      let shape = named.tensor.shape.map(String.init).joined(separator: ",")
      members.append(
        "\(JSON.quoted(named.name)):{\"dtype\":\"\(SafetensorsHeader.name(of: type))\",\"shape\":[\(shape)],"
          + "\"data_offsets\":[\(offset),\(end)]}")
      offset = end
    }
    let total = offset
    var header = Array("{\(members.joined(separator: ","))}".utf8)
    header += [UInt8](repeating: UInt8(ascii: " "), count: (8 - header.count % 8) % 8)
    try AtomicFile.write(to: path) { file in
      try withUnsafeBytes(of: UInt64(header.count).littleEndian) { try file.append($0) }
      try file.append(header)
      var done = 0
      for named in ordered {
        let (own, type) = (named.tensor.dtype, type(of: named.tensor))
        let tensor = own == type ? named.tensor : try named.tensor.detached().to(type)
        try tensor.withBytes { bytes in
          var rest = bytes[...]
          while !rest.isEmpty {
            let part = UnsafeRawBufferPointer(rebasing: rest.prefix(Self.bytesAtOnce))
            try file.append(part)
            done += part.count
            try progress(done, total)
            rest = rest.dropFirst(part.count)
          }
        }
      }
    }
  }

  private static let bytesAtOnce = 16 << 20

  /// Writes this checkpoint to a file.
  public func write(to path: String) throws { try Self.write(tensors, metadata: metadata, to: path) }

  static func map(_ path: String) throws -> HostBuffer {
    guard FileManager.default.fileExists(atPath: path) else {
      throw CheckpointError(path: path, problem: "there is no such file")
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

  /// What a file that is none of weights looks like.
  private static func kindOfForeignFile(_ bytes: UnsafeRawBufferPointer) -> String? {
    if bytes.starts(with: "version https://git-lfs".utf8) {
      return "it is only a pointer to a file in Git LFS; fetch the file itself with 'git lfs pull'"
    }
    // The head of a safetensors file begins with its length, whose last bytes are zero.
    if bytes.prefix(8).allSatisfy({ (32..<127).contains($0) || (9...13).contains($0) }) {
      return "it is a text, not a file of weights"
    }
    return nil
  }

  private static func tooLong(_ length: UInt64, _ fileSize: Int) -> String {
    "its header claims \(length) bytes, but the whole file has \(fileSize): it is cut off, damaged or not a safetensors file"
  }
}
