import Foundation
import SwiftProtobuf
import Torch

extension CoreMLModel {
  /// The folder inside a package that is Core ML's, and what it holds.
  private static let author = "com.apple.CoreML"
  private static let (modelFile, weightFolder) = ("model.mlmodel", "weights")
  /// Names of the two in the package's list. They need be different from each other alone, so that the same model gives the
  /// same package.
  private static let (modelID, weightID) = (
    "6F1A2B6E-53C5-4C02-9C0E-0C4A1E7D0001", "6F1A2B6E-53C5-4C02-9C0E-0C4A1E7D0002"
  )

  /// The files of a package.
  public static func files(at path: String) -> [String] {
    ["Manifest.json", "Data/\(author)/\(modelFile)", "Data/\(author)/\(weightFolder)/weight.bin"].map {
      "\(path)/\($0)"
    }
  }

  /// Writes the package, a folder whose name ends with `.mlpackage`. What was written before in its place is replaced when
  /// all is there.
  ///
  /// - Throws: `FileError` when it cannot be written, `ExportError` where something else stands there.
  public func write(to path: String) throws {
    guard path.hasSuffix(".mlpackage") else { throw ExportError("\(path) has to end with .mlpackage") }
    let (folder, manager) = (FilePath.folder(of: path), FileManager.default)
    let isThere = manager.fileExists(atPath: path)
    guard !isThere || Self.isPackage(path) else {
      throw ExportError("\(path) is there and is no package of Core ML: name another place")
    }
    let new = FilePath.joined(folder, ".\(FilePath.name(of: path)).\(getpid()).tmp")
    defer { try? manager.removeItem(atPath: new) }
    try Self.makeFolder("\(new)/Data/\(Self.author)/\(Self.weightFolder)", for: path)
    let files = Self.files(at: new)
    do {
      try AtomicFile.write(try model.serializedData(), to: files[1])
    } catch let error as BinaryEncodingError {
      throw ExportError("\(path) cannot be written as protobuf: \(error)")
    }
    try weights.write(to: files[2])
    try AtomicFile.write(try Self.manifest(), to: files[0])
    // The old one stays until the new one stands in its place.
    let old = FilePath.joined(folder, ".\(FilePath.name(of: path)).\(getpid()).old")
    if isThere, rename(path, old) != 0 { throw FileError(path: path, code: errno) }
    guard rename(new, path) == 0 else {
      let code = errno
      if isThere { rename(old, path) }
      throw FileError(path: path, code: code)
    }
    if isThere { try? manager.removeItem(atPath: old) }
  }

  /// Whether a package stands there.
  public static func isPackage(_ path: String) -> Bool {
    FileManager.default.fileExists(atPath: files(at: path)[0])
      && FileManager.default.fileExists(atPath: "\(path)/Data/\(author)")
  }

  private static func makeFolder(_ path: String, for package: String) throws {
    do {
      try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    } catch {
      let folder = FilePath.folder(of: package)
      throw FileError(path: package, code: FileManager.default.fileExists(atPath: folder) ? EACCES : ENOENT)
    }
  }

  /// The list of what is in the package.
  private static func manifest() throws -> Data {
    func entry(_ name: String, _ description: String) -> [String: String] {
      ["author": author, "description": description, "name": name, "path": "\(author)/\(name)"]
    }
    let manifest: [String: Any] = [
      "fileFormatVersion": "1.0.0", "rootModelIdentifier": modelID,
      "itemInfoEntries": [
        modelID: entry(modelFile, "CoreML Model Specification"), weightID: entry(weightFolder, "CoreML Model Weights"),
      ],
    ]
    return try JSONSerialization.data(
      withJSONObject: manifest, options: [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes])
  }
}
