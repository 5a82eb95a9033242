import CONNXRuntime
import Foundation

/// The limits of the process in which an ONNX model is opened, and asked, for the first time. What ONNX Runtime does not stand
/// ends that process, and not this one.
struct ONNXTrial {
  /// The variable that says how many seconds it may take.
  static let variable = "DISTILL_ONNX_SECONDS"

  private let seconds: UInt32

  /// - Parameter seconds: nil: as the variable says, or 300
  init(seconds: UInt32? = nil) {
    let named = ProcessInfo.processInfo.environment[Self.variable].flatMap { UInt32($0) }
    self.seconds = max(1, seconds ?? named ?? 300)
  }

  /// What is free of the machine's memory; all there is where nobody says.
  private var mostBytes: UInt64 {
    #if os(Linux)
    guard let facts = try? String(contentsOfFile: "/proc/meminfo", encoding: .utf8),
      let line = facts.split(separator: "\n").first(where: { $0.hasPrefix("MemAvailable:") }),
      let free = line.split(whereSeparator: \.isWhitespace).dropFirst().first.flatMap({ UInt64($0) })
    else { return .max }
    return free << 10
    #else
    return .max
    #endif
  }

  /// - Parameter batch: what it is asked; nil: it is only opened
  func run(
    _ path: String, threads: Int32, _ batch: onnx_batch?, _ error: UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>
  ) -> Int32 {
    guard var batch else { return onnx_try(path, threads, nil, mostBytes, seconds, error) }
    return onnx_try(path, threads, &batch, mostBytes, seconds, error)
  }
}
