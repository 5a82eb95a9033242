import Foundation

/// A process that works on a study, as others know it.
public struct Worker: Sendable, Equatable {
  /// Machine, process, and when it began, so that a process number that is used again is not taken for it.
  public let name: String

  /// So often it says that it lives.
  public static let beat = 5.0
  /// After so long a silence its trials are taken up by others.
  public static let silence = 60.0

  public init() {
    name = "\(Self.host):\(getpid()):\(UInt32.random(in: 0 ... .max))"
  }

  init(name: String) { self.name = name }

  private static let host = ProcessInfo.processInfo.hostName.replacing(":", with: "-")

  /// Whether a process is still at a trial: a process of this machine that has ended is known at once, another one by its
  /// silence.
  static func isAlive(_ trial: Trial, now: Date) -> Bool {
    guard let owner = trial.owner, let heartbeat = trial.heartbeat else { return false }
    let parts = owner.split(separator: ":")
    if parts.count == 3, parts[0] == host, let process = pid_t(parts[1]), process > 0, kill(process, 0) != 0,
      errno == ESRCH
    {
      return false
    }
    return now.timeIntervalSince(heartbeat) < silence
  }
}
