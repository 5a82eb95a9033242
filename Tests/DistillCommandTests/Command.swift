import Foundation
import Synchronization
import Testing

/// The binary `distill`, run as people run it.
enum Command {
  struct Outcome: Sendable {
    /// −1 when it was ended by a signal.
    var code: Int32
    var output: String
    var errors: String

    var everything: String { output + errors }

    func json() throws -> Any { try JSONSerialization.jsonObject(with: Data(output.utf8), options: .fragmentsAllowed) }

    func object() throws -> [String: Any] { try #require(try json() as? [String: Any]) }
  }

  /// The binary that was built with these tests.
  static func path() throws -> String {
    var folders: [String] = []
    var folder = URL(fileURLWithPath: CommandLine.arguments[0]).resolvingSymlinksInPath()
    for _ in 0..<5 {
      folder.deleteLastPathComponent()
      folders.append(folder.path)
    }
    for bundle in Bundle.allBundles where bundle.bundlePath.hasSuffix(".xctest") {
      folders.append(URL(fileURLWithPath: bundle.bundlePath).deletingLastPathComponent().path)
    }
    let found = folders.map { "\($0)/distill" }.first { path in
      var isFolder: ObjCBool = false
      return FileManager.default.fileExists(atPath: path, isDirectory: &isFolder) && !isFolder.boolValue
        && FileManager.default.isExecutableFile(atPath: path)
    }
    return try #require(found, "there is no binary distill in \(folders)")
  }

  /// Runs it to its end.
  ///
  /// - Parameter wrapper: a command that runs it, such as `setpriv` and its options
  static func run(
    _ arguments: [String], in folder: String, environment: [String: String] = [:], through wrapper: [String] = [],
    limit seconds: Double = 120
  ) throws -> Outcome {
    let running = try Running(arguments, in: folder, environment: environment, through: wrapper)
    return try running.wait(limit: seconds)
  }

  static func start(
    _ arguments: [String], in folder: String, environment: [String: String] = [:]
  ) throws -> Running {
    try Running(arguments, in: folder, environment: environment)
  }

  /// A process that is at work.
  final class Running: @unchecked Sendable {
    private let process = Process()
    private let ended = DispatchSemaphore(value: 0)
    private let outputs: (out: URL, err: URL)

    fileprivate init(
      _ arguments: [String], in folder: String, environment: [String: String], through wrapper: [String] = []
    ) throws {
      let place = FileManager.default.temporaryDirectory
      let name = "distill-command-\(UUID().uuidString)"
      outputs = (place.appendingPathComponent("\(name).out"), place.appendingPathComponent("\(name).err"))
      for file in [outputs.out, outputs.err] { _ = FileManager.default.createFile(atPath: file.path, contents: nil) }
      let command = wrapper + [try Command.path()]
      process.executableURL = URL(fileURLWithPath: command[0])
      process.arguments = command.dropFirst() + arguments
      process.currentDirectoryURL = URL(fileURLWithPath: folder)
      var variables = ProcessInfo.processInfo.environment
      variables["NO_COLOR"] = "1"
      variables["LC_ALL"] = "C.UTF-8"
      variables["COLUMNS"] = nil
      process.environment = variables.merging(environment) { $1 }
      process.standardInput = FileHandle.nullDevice
      process.standardOutput = try FileHandle(forWritingTo: outputs.out)
      process.standardError = try FileHandle(forWritingTo: outputs.err)
      let ended = ended
      process.terminationHandler = { _ in ended.signal() }
      try process.run()
    }

    deinit {
      if process.isRunning { kill(process.processIdentifier, SIGKILL) }
      for file in [outputs.out, outputs.err] { try? FileManager.default.removeItem(at: file) }
    }

    var isRunning: Bool { process.isRunning }

    func send(_ signal: Int32) { kill(process.processIdentifier, signal) }

    /// Waits until something has come about, or it has ended, or it is late.
    ///
    /// - Parameter pause: microseconds from look to look
    /// - Returns: whether it has come about
    @discardableResult
    func wait(every pause: useconds_t = 2_000, until hasComeAbout: () -> Bool) -> Bool {
      let deadline = Date().addingTimeInterval(180)
      while isRunning, Date() < deadline {
        if hasComeAbout() { return true }
        usleep(pause)
      }
      return false
    }

    /// Waits until it has said something on stderr, or has ended.
    func waitUntilItSays(_ text: String) {
      wait { (try? String(contentsOf: outputs.err, encoding: .utf8))?.contains(text) ?? false }
    }

    /// Waits for its end; ends it when it takes too long, which fails the test.
    func wait(limit seconds: Double = 120) throws -> Outcome {
      if ended.wait(timeout: .now() + seconds) == .timedOut {
        send(SIGKILL)
        ended.wait()
        Issue.record("distill \((process.arguments ?? []).joined(separator: " ")) took more than \(seconds) s")
      }
      return Outcome(
        code: process.terminationReason == .exit ? process.terminationStatus : -1,
        output: try String(contentsOf: outputs.out, encoding: .utf8),
        errors: try String(contentsOf: outputs.err, encoding: .utf8))
    }
  }
}

/// Calls `body` with a new empty folder, which is deleted afterwards.
func withFolder<Result>(_ body: (String) throws -> Result) throws -> Result {
  let folder = FileManager.default.temporaryDirectory.appendingPathComponent("distill-command-\(UUID().uuidString)")
  try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
  defer { try? FileManager.default.removeItem(at: folder) }
  return try body(folder.path)
}

func write(_ text: String, to path: String) throws { try write(Data(text.utf8), to: path) }

func write(_ data: Data, to path: String) throws {
  let folder = URL(fileURLWithPath: path).deletingLastPathComponent()
  try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
  try data.write(to: URL(fileURLWithPath: path))
}

func read(_ path: String) throws -> Data { try Data(contentsOf: URL(fileURLWithPath: path)) }

/// The files in a folder and what is in them.
func contents(of folder: String) throws -> [String: Data] {
  var found: [String: Data] = [:]
  for name in try FileManager.default.subpathsOfDirectory(atPath: folder) {
    found[name] = FileManager.default.contents(atPath: "\(folder)/\(name)")
  }
  return found
}
