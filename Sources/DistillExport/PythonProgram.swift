import Foundation
import Torch

/// A Python on this machine, which runs a program of ours.
struct PythonProgram {
  /// What it is called by: a name that is looked for in `PATH`, or a path.
  let interpreter: String

  struct Outcome {
    var status: Int32
    var output: Data
    var errors: String
  }

  /// Runs a program with arguments; nil where there is no such interpreter.
  ///
  /// - Throws: `ExportError` when there is no place for what it prints.
  func run(_ program: String, _ arguments: [String], in folder: String) throws -> Outcome? {
    // Into files: a pipe that nobody reads while the process runs would fill up.
    let (output, errors) = ("\(folder)/output", "\(folder)/errors")
    for file in [output, errors] where !FileManager.default.createFile(atPath: file, contents: nil) {
      throw ExportError("\(file) cannot be made")
    }
    guard let out = FileHandle(forWritingAtPath: output), let err = FileHandle(forWritingAtPath: errors) else {
      throw ExportError("\(folder) cannot be written in")
    }
    let process = Process()
    process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
    process.arguments = [interpreter, "-c", program] + arguments
    process.standardInput = FileHandle.nullDevice
    process.standardOutput = out
    process.standardError = err
    do { try process.run() } catch { return nil }
    process.waitUntilExit()
    // env's own words for a program that is not there, or cannot be started.
    guard ![126, 127].contains(process.terminationStatus) else { return nil }
    return Outcome(
      status: process.terminationStatus, output: FileManager.default.contents(atPath: output) ?? Data(),
      errors: String(decoding: FileManager.default.contents(atPath: errors) ?? Data(), as: UTF8.self))
  }
}

/// A folder that is gone when its user is done.
func withWorkFolder<Result>(_ body: (String) throws -> Result) throws -> Result {
  let folder = FileManager.default.temporaryDirectory.appendingPathComponent("distill-export-\(UUID().uuidString)").path
  do {
    try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
  } catch {
    throw ExportError("there is no room for temporary files in \(FileManager.default.temporaryDirectory.path)")
  }
  defer { try? FileManager.default.removeItem(atPath: folder) }
  return try body(folder)
}
