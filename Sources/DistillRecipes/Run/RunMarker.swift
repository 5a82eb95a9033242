import Foundation
import Torch

/// The file `run.json`, by which a run folder is known, with what the run began with.
struct RunMarker: Codable, Equatable {
  static let format = "distill-run"

  var format = Self.format
  var version = 1
  /// A hash of each part of the recipe.
  var parts: [String: String]

  init(_ configuration: Configuration) throws {
    parts = try Dictionary(
      uniqueKeysWithValues: Configuration.Part.allCases.map { ($0.rawValue, try configuration.identity(of: [$0])) })
  }

  /// What is in a folder; nil where there is no run.
  init?(of folder: RunFolder) {
    guard let data = FileManager.default.contents(atPath: folder.marker),
      let marker: Self = try? ResultJSON.decode(data), marker.format == Self.format
    else { return nil }
    self = marker
  }

  func write(to folder: RunFolder) throws { try AtomicFile.write(try ResultJSON.pretty(self), to: folder.marker) }

  /// The parts of the recipe that are not those of another.
  func difference(from other: Self) -> [String] {
    Configuration.Part.allCases.map(\.rawValue).filter { parts[$0] != other.parts[$0] }
  }
}
