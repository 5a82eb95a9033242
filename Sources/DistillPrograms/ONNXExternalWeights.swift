import Foundation
import Torch

/// Weights of an ONNX model that lie in other files, which have to be in its folder or below it. A name that leads elsewhere
/// is refused, and so is a link that does, except into the folder where Hugging Face's cache keeps the contents of a model's
/// files (`blobs`, to which all names there are links).
struct ONNXExternalWeights {
  private let path: String
  /// How many bytes each file has, by its name in the model.
  private var sizes: [String: Int] = [:]

  private static let mostFiles = 10_000

  init(path: String) { self.path = path }

  /// The files, sorted.
  var files: [String] { sizes.keys.map(file).sorted() }

  private func file(_ location: String) -> String { FilePath.joined(FilePath.folder(of: path), location) }

  private func fail(_ problem: String) -> ProgramError { ProgramError(path: path, problem: problem) }

  /// - Parameters:
  ///   - byteCount: of the tensor
  ///   - shown: the tensor, for messages
  /// - Throws: `ProgramError`
  mutating func check(_ external: ONNXTensor.External, byteCount: Int, of shown: String) throws {
    let size = try size(of: external.location, shown)
    guard external.length ?? byteCount == byteCount else {
      throw fail("\(shown) has \(external.length ?? 0) bytes in '\(external.location.prefix(100))', not \(byteCount)")
    }
    guard external.offset <= size, byteCount <= size - external.offset else {
      throw fail(
        "\(shown) needs \(byteCount) bytes from byte \(external.offset) on of '\(external.location.prefix(100))', which has "
          + "\(size): it is cut off, or of another model; fetch both again")
    }
  }

  private mutating func size(of location: String, _ shown: String) throws -> Int {
    if let size = sizes[location] { return size }
    let name = "the file '\(location.prefix(200))' with the numbers of \(shown)"
    let parts = location.split(separator: "/", omittingEmptySubsequences: false)
    // A star is no part of names, but the mark of what lies in the memory of a runtime.
    guard !location.isEmpty, location.utf8.count <= 1000, !location.utf8.contains(where: { $0 < 0x20 || $0 == 0x2a }),
      !location.contains("\\"), location.hasPrefix("/") || !parts.contains("")
    else { throw fail("\(name) cannot be one") }
    guard !location.hasPrefix("/"), !parts.contains(".."), !parts.contains(".") else {
      throw fail("\(name) is not in its folder: a model may lead to no other folder. Do not use it")
    }
    guard sizes.count < Self.mostFiles else { throw fail("its weights are in more than \(Self.mostFiles) files") }
    let file = file(location)
    guard let folder = RegularFile.place(of: FilePath.folder(of: path)), let place = RegularFile.place(of: file) else {
      throw fail("\(name) is missing: fetch all files of the model")
    }
    guard place.hasPrefix(FilePath.joined(folder, "")) || Self.isInCache(place, of: folder) else {
      throw fail("\(name) is a link to \(place), out of its folder, and not followed: put the file itself there")
    }
    var status = stat()
    guard stat(place, &status) == 0, status.st_mode & S_IFMT == S_IFREG else {
      throw fail("\(name) \(RegularFile.refusal)")
    }
    sizes[location] = Int(status.st_size)
    return Int(status.st_size)
  }

  /// Whether a file is one of the contents that belong to a snapshot of Hugging Face's cache: `blobs` beside `snapshots`.
  private static func isInCache(_ place: String, of folder: String) -> Bool {
    let parts = folder.split(separator: "/")
    guard let snapshots = parts.lastIndex(of: "snapshots") else { return false }
    return FilePath.folder(of: place) == "/" + (parts[..<snapshots] + ["blobs"]).joined(separator: "/")
  }
}
