import Foundation
import Torch
import TorchNN

/// Reference numbers from `Tests/Fixtures/<name>.safetensors`, which the scripts in `scripts/fixtures` make.
public struct Fixture {
  public let checkpoint: Checkpoint
  private let tensors: [String: Tensor]

  public init(_ name: String) throws {
    checkpoint = try Checkpoint.read("\(fixtureFolder)/\(name).safetensors")
    tensors = Dictionary(checkpoint.tensors.map { ($0.name, $0.tensor) }) { first, _ in first }
  }

  /// The tensor of a key.
  public subscript(key: String) -> Tensor {
    get throws {
      guard let tensor = tensors[key] else { throw MissingFixture(key: key) }
      return tensor
    }
  }

  public func contains(_ key: String) -> Bool { tensors[key] != nil }

  /// The tensors whose keys begin with `prefix/`, in the order of the file, without it.
  public func tensors(under prefix: String) -> [NamedTensor] {
    checkpoint.tensors.compactMap { named in
      guard named.name.hasPrefix(prefix + "/") else { return nil }
      return NamedTensor(name: String(named.name.dropFirst(prefix.count + 1)), tensor: named.tensor)
    }
  }
}

public struct MissingFixture: Error, CustomStringConvertible {
  public let key: String
  public var description: String { "no fixture '\(key)'; run make fixtures" }
}

/// The folder `Tests/Fixtures`.
public let fixtureFolder: String =
  URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
  .appendingPathComponent("Fixtures").path

/// Calls `body` with a new empty folder, which is deleted afterwards.
@discardableResult
public func withTemporaryFolder<Result>(_ body: (String) throws -> Result) throws -> Result {
  let folder = FileManager.default.temporaryDirectory.appendingPathComponent("distill-test-\(UUID().uuidString)").path
  try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
  defer { try? FileManager.default.removeItem(atPath: folder) }
  return try body(folder)
}
