import DistillRecipes
import Foundation
import Synchronization

/// Where all results go, so that one that could not be written does not pass for one that was.
///
/// Nobody else writes there: what libraries print, and models that are programs, goes to the standard error, so that JSON
/// stays JSON.
enum StandardOutput {
  private enum State {
    case open
    /// The reader went away, as `head` does when it has seen enough: nobody's error.
    case unwanted
    case failed(Int32)
  }

  private static let state = Mutex(State.open)
  private static let own = Mutex(STDOUT_FILENO)

  /// The stream itself, once it is kept from others.
  static var descriptor: Int32 { own.withLock(\.self) }

  static func write(_ text: String) { write(Data(text.utf8)) }

  /// Writes everything; nothing more after it failed once.
  static func write(_ data: Data) {
    state.withLock { state in
      guard case .open = state else { return }
      switch writeAll(data, to: descriptor) {
      case 0: break
      case EPIPE: state = .unwanted
      case let code: state = .failed(code)
      }
    }
  }

  /// - Throws: `RunError` when something could not be written.
  static func check() throws {
    guard case .failed(let code) = state.withLock(\.self) else { return }
    throw RunError("cannot write to standard output: \(String(cString: strerror(code)))", kind: .failure)
  }

  /// Makes the three standard streams what this program takes them for.
  ///
  /// What is closed of them is opened: the next file to be opened would take its place, and be written to as if it were the
  /// terminal. To the standard output nothing can be written then, which `check` says. Then it is kept from others, who write
  /// to the standard error from now on.
  static func prepareStreams() {
    // A reader that goes away, and a limit to the size of files, are told by the write, and do not end the program.
    signal(SIGPIPE, SIG_IGN)
    signal(SIGXFSZ, SIG_IGN)
    for (descriptor, flags) in [
      (STDIN_FILENO, O_RDONLY), (STDOUT_FILENO, O_RDONLY), (STDERR_FILENO, O_WRONLY),
    ] where fcntl(descriptor, F_GETFD) == -1 {
      let opened = open("/dev/null", flags)
      if opened >= 0, opened != descriptor {
        dup2(opened, descriptor)
        close(opened)
      }
    }
    let copy = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3)
    // Without a descriptor to spare, all is as it was.
    guard copy >= 0 else { return }
    own.withLock { $0 = copy }
    dup2(STDERR_FILENO, STDOUT_FILENO)
  }
}

/// Writes everything, also where the system takes it in parts.
///
/// - Returns: the system's number of what went wrong; 0 if nothing did
@discardableResult
func writeAll(_ data: Data, to descriptor: Int32) -> Int32 {
  var bytes = Array(data)[...]
  while !bytes.isEmpty {
    let count = bytes.withUnsafeBytes { Foundation.write(descriptor, $0.baseAddress, $0.count) }
    if count > 0 {
      bytes = bytes.dropFirst(count)
      continue
    }
    let code = count == 0 ? ENOSPC : errno
    switch code {
    case EINTR: continue
    case EAGAIN:
      // Somebody made it a stream that does not wait.
      var request = pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0)
      guard poll(&request, 1, 60_000) > 0 else { return code }
    default: return code
    }
  }
  return 0
}
