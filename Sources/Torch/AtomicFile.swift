import Foundation

/// A file that cannot be written: which, why, and what helps.
public struct FileError: Error, CustomStringConvertible, Sendable {
  public var path: String
  public var reason: String
  /// The system's number for it, such as `ENOSPC`; 0 where there is none.
  public var code: Int32

  public init(path: String, reason: String, code: Int32 = 0) {
    self.path = path
    self.reason = reason
    self.code = code
  }

  /// What the system's number says of the file or folder at `path`, in words, and what helps.
  public init(path: String, code: Int32) {
    let folder = FilePath.folder(of: path)
    self.code = code
    self.path = path
    reason =
      switch code {
      case ENOSPC, EDQUOT: "the disk is full; free some space or choose another folder"
      case EACCES, EPERM: "no permission to write in the folder \(folder); choose another or change its permissions"
      case EROFS: "the folder \(folder) is on a read-only file system; choose another"
      case ENOENT where access(folder, F_OK) == 0: "no files can be made in the folder \(folder); choose another"
      case ENOENT: "there is no folder \(folder); make it first"
      case ENOTDIR: "\(folder) is not a folder"
      case EISDIR, EEXIST, ENOTEMPTY: "a folder of that name is in its place; choose another name"
      case ENAMETOOLONG: "the name is too long; choose a shorter one"
      case EFBIG: "the file would be larger than the system, or a limit such as that of ulimit -f, allows"
      default: String(cString: strerror(code))
      }
  }

  public var description: String { "cannot write \(path): \(reason)" }

  public var isDiskFull: Bool { code == ENOSPC || code == EDQUOT }

  /// Whether the place is one that cannot be written, which choosing another mends. A full disk is none of these.
  public var isUnusablePlace: Bool {
    [EACCES, EPERM, EROFS, ENOENT, ENOTDIR, EISDIR, EEXIST, ENOTEMPTY, ENAMETOOLONG, ELOOP].contains(code)
  }
}

/// Writes files as a whole: whoever looks sees the old file or the new one, never a part, also when the process is killed
/// or the machine loses power.
///
/// The bytes go to a hidden file in the same folder, which is synced and then renamed; the folder is synced last. If
/// anything fails, the hidden file is deleted and what was there before stays.
public enum AtomicFile {
  /// Replaces the file at `path`, or makes it.
  ///
  /// - Throws: `FileError`, which says for a full disk or a folder without permission what to do.
  public static func write(_ data: Data, to path: String) throws {
    try write(to: path) { file in try data.withUnsafeBytes { try file.append($0) } }
  }

  /// Replaces the file at `path`, or makes it, with what `body` appends: for files that are better not held in memory.
  ///
  /// - Throws: `FileError`, and whatever `body` throws.
  public static func write(to path: String, _ body: (borrowing Output) throws -> Void) throws {
    let folder = FilePath.folder(of: path)
    let name = FilePath.name(of: path)
    removeLeftovers(of: name, in: folder)
    let temporary = FilePath.joined(folder, ".\(name).\(getpid()).\(UInt32.random(in: 0 ... .max)).tmp")
    let descriptor = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o666)
    guard descriptor >= 0 else { throw failure(errno, path) }
    do {
      do {
        defer { close(descriptor) }
        try body(Output(descriptor: descriptor, path: path))
        guard fsync(descriptor) == 0 else { throw failure(errno, path) }
      }
      guard rename(temporary, path) == 0 else { throw failure(errno, path) }
    } catch {
      unlink(temporary)
      throw error
    }
    try sync(folder, for: path)
  }

  /// What the bytes of a file are appended to.
  public struct Output: ~Copyable {
    let descriptor: Int32
    let path: String

    public func append(_ bytes: UnsafeRawBufferPointer) throws {
      var rest = bytes[...]
      while !rest.isEmpty {
        let part = UnsafeRawBufferPointer(rebasing: rest.prefix(1 << 30))
        let count = Foundation.write(descriptor, part.baseAddress, part.count)
        if count < 0 && errno == EINTR { continue }
        guard count > 0 else { throw AtomicFile.failure(count < 0 ? errno : ENOSPC, path) }
        rest = rest.dropFirst(count)
      }
    }

    public func append(_ bytes: [UInt8]) throws { try bytes.withUnsafeBytes { try append($0) } }
  }

  /// A rename is only sure to last once the folder is synced. File systems that cannot sync a folder say so with EINVAL.
  private static func sync(_ folder: String, for path: String) throws {
    let descriptor = open(folder, O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else { return }
    defer { close(descriptor) }
    if fsync(descriptor) != 0 && errno != EINVAL && errno != EROFS { throw failure(errno, path) }
  }

  /// Deletes the hidden files of processes that were killed while they wrote this file.
  private static func removeLeftovers(of name: String, in folder: String) {
    guard let directory = opendir(folder) else { return }
    defer { closedir(directory) }
    while let entry = readdir(directory) {
      let found = withUnsafeBytes(of: &entry.pointee.d_name) { bytes in
        String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
      }
      guard found.hasPrefix(".\(name)."), found.hasSuffix(".tmp") else { continue }
      let numbers = found.dropFirst(name.count + 2).dropLast(4).split(separator: ".", omittingEmptySubsequences: false)
      guard numbers.count == 2, UInt32(numbers[1]) != nil, let process = pid_t(numbers[0]), process > 0 else {
        continue
      }
      if kill(process, 0) != 0 && errno == ESRCH { unlink(FilePath.joined(folder, found)) }
    }
  }

  fileprivate static func failure(_ code: Int32, _ path: String) -> FileError { FileError(path: path, code: code) }
}
