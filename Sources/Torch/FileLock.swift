import Foundation

/// A lock on a file of its own, which lets go when it is released or the process ends, however it ends.
package final class FileLock: Sendable {
  private let descriptor: Int32
  private let path: String

  private init(_ descriptor: Int32, _ path: String) {
    self.descriptor = descriptor
    self.path = path
  }

  /// - Parameter waits: whether to wait for another holder to let go
  /// - Returns: nil when another holds it
  /// - Throws: `FileError` when the file cannot be made, or the file system knows no locks.
  package static func take(_ path: String, waits: Bool) throws -> FileLock? {
    while true {
      let descriptor = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0o666)
      guard descriptor >= 0 else { throw FileError(path: path, code: errno) }
      while flock(descriptor, LOCK_EX | (waits ? 0 : LOCK_NB)) != 0 {
        let code = errno
        if code == EINTR { continue }
        close(descriptor)
        if code == EWOULDBLOCK { return nil }
        throw FileError(
          path: path, reason: "the file system cannot lock files: \(String(cString: strerror(code)))", code: code)
      }
      // Whoever held it before may have deleted it: then the lock is on a file that nobody else will find.
      var (own, found) = (stat(), stat())
      if fstat(descriptor, &own) == 0, stat(path, &found) == 0, own.st_ino == found.st_ino, own.st_dev == found.st_dev {
        return FileLock(descriptor, path)
      }
      close(descriptor)
    }
  }

  /// The file is deleted while the lock is still held, so that nothing is left behind.
  deinit {
    unlink(path)
    Self.letGo(descriptor)
  }

  /// Closes a descriptor whose file is locked by it, and lets go of the lock, which a process that forked off in the meantime
  /// would hold on to with its copy of the descriptor.
  package static func letGo(_ descriptor: Int32) {
    flock(descriptor, LOCK_UN)
    close(descriptor)
  }
}
