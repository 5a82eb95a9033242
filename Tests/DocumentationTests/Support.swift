import Foundation
import Testing
import Torch

/// The package as it lies on disk: its documents and sources are what is tested here.
enum Package {
  static let root = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
    .deletingLastPathComponent().path

  static func text(_ path: String) throws -> String {
    try String(contentsOfFile: "\(root)/\(path)", encoding: .utf8)
  }

  /// The files below a folder with one of these endings, as paths from the root, in order.
  static func files(in folder: String, ending: String) throws -> [String] {
    let found = try #require(FileManager.default.enumerator(atPath: "\(root)/\(folder)"))
    return found.compactMap { $0 as? String }.filter { $0.hasSuffix(ending) }.map { "\(folder)/\($0)" }.sorted()
  }

  /// The documents: those at the top and those that lie in a folder of their own.
  static func documents() throws -> [String] {
    let top = try FileManager.default.contentsOfDirectory(atPath: root).filter { $0.hasSuffix(".md") }.sorted()
    return try top
      + ["Guides", "scripts", "Recipes", "Benchmarks", "Examples", "Models"]
      .filter { FileManager.default.fileExists(atPath: "\(root)/\($0)") }
      .flatMap { try files(in: $0, ending: ".md") }
  }

  /// Where the programs lie that were built together with this test.
  static var programs: String {
    let bundle = Bundle.allBundles.first { $0.bundlePath.hasSuffix(".xctest") }?.bundlePath
    let program = bundle ?? Bundle.main.executablePath ?? CommandLine.arguments[0]
    return FilePath.folder(of: program)
  }
}

/// A fenced block of code in a document.
struct CodeBlock {
  /// What stands after the fence, such as `sh run`.
  var kind: String
  var text: String

  static func all(in document: String) -> [CodeBlock] {
    var blocks: [CodeBlock] = []
    var open: CodeBlock?
    for line in document.split(separator: "\n", omittingEmptySubsequences: false) {
      if line.hasPrefix("```") {
        if let block = open {
          blocks.append(block)
          open = nil
        } else {
          open = CodeBlock(kind: line.dropFirst(3).trimmingCharacters(in: .whitespaces), text: "")
        }
      } else {
        open?.text += "\(line)\n"
      }
    }
    return blocks
  }
}

/// What a program said, and how it ended.
struct ProgramResult {
  var status: Int32
  var output: String
  var errors: String
}

/// Runs a program to its end.
func run(
  _ program: String, _ arguments: [String], in folder: String, environment: [String: String] = [:]
) throws -> ProgramResult {
  let scratch = try TemporaryFolder()
  let process = Process()
  process.executableURL = URL(filePath: program)
  process.arguments = arguments
  process.currentDirectoryURL = URL(filePath: folder)
  process.environment = ProcessInfo.processInfo.environment.merging(environment) { _, new in new }
  process.standardInput = FileHandle.nullDevice
  // Files, not pipes: nothing has to be read while it runs.
  let (output, errors) = ("\(scratch.path)/output", "\(scratch.path)/errors")
  for path in [output, errors] { _ = FileManager.default.createFile(atPath: path, contents: nil) }
  process.standardOutput = try FileHandle(forWritingTo: URL(filePath: output))
  process.standardError = try FileHandle(forWritingTo: URL(filePath: errors))
  try process.run()
  process.waitUntilExit()
  return ProgramResult(
    status: process.terminationStatus, output: try String(contentsOfFile: output, encoding: .utf8),
    errors: try String(contentsOfFile: errors, encoding: .utf8))
}

/// A folder that is there as long as this is.
final class TemporaryFolder {
  let path: String

  init() throws {
    path = FileManager.default.temporaryDirectory.appending(path: "distill-documents-\(UUID().uuidString)").path
    try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
  }

  deinit { try? FileManager.default.removeItem(atPath: path) }
}
