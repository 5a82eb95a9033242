import DistillData
import DistillRuntime
import Foundation

/// The data sets that recipes can name, and what of them is on this machine.
public enum DatasetShelf {
  public struct Row: Codable, Sendable, Equatable {
    public enum Presence: String, Codable, Sendable {
      case included
      case present
      case absent
      /// A kind of files that people bring themselves.
      case own
    }

    public var name: String
    public var summary: String
    public var source: String
    public var licence: String
    /// Where it is looked for.
    public var folder: String?
    /// What has to be in the folder.
    public var layout: String
    public var presence: Presence
    /// The command that gets it.
    public var fetch: String?
  }

  public static var rows: [Row] {
    DatasetCatalog.entries.map { entry in
      Row(
        name: entry.name, summary: entry.summary, source: entry.source, licence: entry.licence, folder: entry.folder,
        layout: entry.layout, presence: presence(of: entry),
        fetch: entry.fetch == nil ? nil : "distill datasets fetch \(entry.name)")
    }
  }

  private static func presence(of entry: DatasetEntry) -> Row.Presence {
    switch entry.origin {
    case .included: return .included
    case .own: return .own
    case .folder(let folder):
      let files = (try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? []
      return files.contains { !$0.hasPrefix(".") } ? .present : .absent
    }
  }

  /// Gets a data set with the script of the package.
  ///
  /// - Parameters:
  ///   - folder: where its files go; nil for where it is looked for
  ///   - isSilent: keeps what the script says to itself, unless it fails
  /// - Returns: the folder
  /// - Throws: `RunError` when it cannot be got.
  @discardableResult
  public static func fetch(_ name: String, to folder: String? = nil, isSilent: Bool = false) throws -> String {
    guard let entry = DatasetCatalog.entry(name) else {
      let known = DatasetCatalog.entries.filter { $0.fetch != nil }.map(\.name)
      throw RunError("there is no data set called '\(name)'. Can be fetched: \(known.joined(separator: ", "))")
    }
    guard entry.origin != .included else { throw RunError("\(name) is a part of the program and needs no fetching") }
    guard entry.fetch != nil, let usual = entry.folder else {
      let place = entry.folder.map { "Put into \($0)" } ?? "In its folder have to be"
      throw RunError("\(name) cannot be fetched from here. \(place): \(entry.layout)")
    }
    let target = folder ?? usual
    let process = Process()
    process.executableURL = URL(fileURLWithPath: try PackageFiles.datasetScript())
    process.arguments = [name, "--to", target]
    let output = Pipe()
    if isSilent {
      process.standardOutput = output
      process.standardError = output
    }
    do { try process.run() } catch { throw RunError("the script that gets data sets cannot be run: \(reason(error))") }
    let said = isSilent ? String(decoding: output.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self) : ""
    process.waitUntilExit()
    guard process.terminationReason == .exit, process.terminationStatus == 0 else {
      let words = said.isEmpty ? "" : ":\n\(said.trimmingCharacters(in: .whitespacesAndNewlines))"
      throw RunError(
        "\(name) could not be fetched\(words)", kind: process.terminationStatus == 2 ? .usage : .failure)
    }
    return target
  }
}
