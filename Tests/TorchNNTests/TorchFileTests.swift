import Foundation
import TestSupport
import Testing
import Torch
import TorchNN

/// Files of `torch.save`, written by PyTorch itself (scripts/fixtures/torch_files.py).
struct TorchFileTests {
  static func path(_ name: String) -> String { "\(fixtureFolder)/torch/\(name)" }

  private static func bytes(_ tensor: Tensor) throws -> [UInt8] { try tensor.withBytes { Array($0) } }

  @Test(
    "Every type, stride, offset and shared storage is what PyTorch says", arguments: ["zip.pth", "old.pth", "big.pth"])
  func values(name: String) throws {
    let expected = try Checkpoint.read(Self.path("values.safetensors"))
    let found = try Checkpoint.read(Self.path(name))
    #expect(found.tensors.map(\.name).sorted() == expected.tensors.map(\.name).sorted())
    #expect(Set(found.tensors.map(\.tensor.dtype)) == Set(DType.allCases))
    for named in expected.tensors {
      let tensor = try #require(found[named.name])
      #expect(tensor.shape == named.tensor.shape, "\(named.name)")
      #expect(tensor.dtype == named.tensor.dtype, "\(named.name)")
      #expect(try Self.bytes(tensor) == Self.bytes(named.tensor), "\(named.name)")
    }
    #expect(try #require(found["transposed"]).strides == [1, 4])
    #expect(try #require(found["steps"]).strides == [4, 2])
    #expect(try #require(found["repeated"]).strides == [0, 1])
    #expect(Checkpoint.format(of: Self.path(name)) == .torch)
  }

  @Test("Tensors lie over the file: those that share a storage still do", arguments: ["zip.pth", "old.pth", "big.pth"])
  func sharing(name: String) throws {
    let checkpoint = try Checkpoint.read(Self.path(name))
    let shared = try #require(checkpoint["shared"])
    try withoutGradient { try shared.fill(4) }
    for name in ["rows", "transposed", "steps"] {
      #expect(try #require(checkpoint[name]).doubles().allSatisfy { $0 == 4 }, "\(name)")
    }
    #expect(try #require(checkpoint["float64"]).doubles().contains { $0 != 4 })
    // The changes stay in memory.
    #expect(try #require(try Checkpoint.read(Self.path(name))["shared"]).doubles()[1] == 0.125)
  }

  /// PyTorch before 0.4 wrote a slice of a storage as a part of it.
  @Test("Parts of a storage are where it says, and still share it", arguments: ["views.pth", "views-big.pth"])
  func parts(name: String) throws {
    let checkpoint = try Checkpoint.read(Self.path(name))
    let (short, long) = (try #require(checkpoint["short"]), try #require(checkpoint["long"]))
    #expect(long.shape == [3, 4] && short.shape == [2, 4])
    #expect(try long.doubles() == (0..<12).map { Double($0) / 8 })
    #expect(try short.doubles() == (0..<8).map { Double($0) / 8 })
    let inner = try #require(checkpoint["inner"])
    #expect(inner.strides == [3, 1])
    #expect(try inner.doubles() == [0.625, 0.75, 1, 1.125])
    #expect(try checkpoint["places"]?.doubles() == [7, 8])
    try withoutGradient { try short.fill(4) }
    #expect(try long.doubles() == (0..<12).map { $0 < 8 ? 4 : Double($0) / 8 })
    #expect(try inner.doubles() == [4, 4, 1, 1.125])
  }

  @Test("What belongs to a training is left aside, what wraps a model is taken off, and numbers beside it are kept")
  func training() throws {
    let checkpoint = try Checkpoint.read(Self.path("training.pth"))
    #expect(checkpoint.tensors.map(\.name) == ["weight", "bias"])
    #expect(try #require(checkpoint["weight"]).doubles() == [1, 2, 3, 4])
    #expect(checkpoint.metadata == ["epoch": "3", "loss": "0.5", "arch": "tiny"])
    let state = try Checkpoint.read(Self.path("training.pth"), part: "optimizer.state.0")
    #expect(state.tensors.map(\.name) == ["step", "exp_avg", "exp_avg_sq"])
    #expect(try #require(try Checkpoint.read(Self.path("protocol4.pth"))["weight"]).doubles() == [1, 2])
  }

  @Test("Where several could be meant, it asks")
  func parts() throws {
    let path = Self.path("several.pth")
    let error = try #require(throws: CheckpointError.self) { try Checkpoint.read(path) }
    #expect(error.problem.contains("'model' (1 tensor), 'ema' (1 tensor)"))
    #expect(error.problem.contains("distill convert \(path) --part model"))
    #expect(try Checkpoint.read(path, part: "model")["weight"]?.doubles() == [1, 1])
    #expect(try Checkpoint.read(path, part: "ema")["weight"]?.doubles() == [2, 2])
    let missing = try #require(throws: CheckpointError.self) { try Checkpoint.read(path, part: "nope") }
    #expect(missing.problem.contains("no part 'nope'") && missing.problem.contains("'model'"))
    let other = try #require(throws: CheckpointError.self) {
      try Checkpoint.read(Self.path("values.safetensors"), part: "model")
    }
    #expect(other.problem.contains("no parts"))
  }

  @Test(
    "What is more than tensors is refused by its name",
    arguments: [
      ("system.pth", "'posix.system'"), ("oldsystem.pth", "'posix.system'"),
      ("module.pth", "'torch.nn.modules.linear.Identity'"), ("script.pt", "TorchScript program"),
      ("complex.pth", "'weight' has elements of type complex64"),
      ("sparse.pth", "'torch._utils._rebuild_sparse_tensor'"),
    ])
  func refused(name: String, words: String) throws {
    let error = try #require(throws: CheckpointError.self) { try Checkpoint.read(Self.path(name)) }
    #expect(error.description.hasPrefix(Self.path(name)))
    #expect(error.problem.contains(words), "\(error.problem)")
    #expect(!error.problem.contains("\n"))
  }

  @Test("Every shorter part of a file is refused", arguments: ["zip.pth", "old.pth", "views.pth"])
  func cut(name: String) throws {
    let good = [UInt8](try #require(FileManager.default.contents(atPath: Self.path(name))))
    for count in stride(from: 0, to: good.count, by: 7) {
      #expect(throws: CheckpointError.self, "\(count) bytes") {
        try Checkpoint.read(HostBuffer(Array(good.prefix(count))), path: "cut")
      }
    }
  }
}

/// Models in several files.
struct ShardedCheckpointTests {
  @Test(
    arguments: [
      "sharded/model.safetensors.index.json", "sharded", "shardedbins/pytorch_model.bin.index.json", "shardedbins",
    ])
  func allShardsAreRead(name: String) throws {
    let path = TorchFileTests.path(name)
    let checkpoint = try Checkpoint.read(path)
    #expect(checkpoint.tensors.map(\.name).sorted() == ["a", "b", "c"])
    #expect(try checkpoint["a"]?.doubles() == [1, 2])
    #expect(try checkpoint["b"]?.doubles() == [3])
    #expect(try checkpoint["c"]?.doubles() == [4, 5])
    #expect(checkpoint["c"]?.dtype == .int64)
    let files = try Checkpoint.files(of: path)
    #expect(files.count == 3 && files[0].hasSuffix(".index.json") && files[1].contains("00001-of-00002"))
    #expect(Checkpoint.format(of: path) == .index)
  }

  /// A folder with the shards, and an index of these words.
  private func with(index: String, _ body: (String) throws -> Void) throws {
    try withTemporaryFolder { folder in
      let inner = "\(folder)/model"
      try FileManager.default.copyItem(atPath: TorchFileTests.path("sharded"), toPath: inner)
      let path = "\(inner)/model.safetensors.index.json"
      try Data(index.utf8).write(to: URL(fileURLWithPath: path))
      try body(path)
    }
  }

  private static let first = "model-00001-of-00002.safetensors"

  @Test(
    arguments: [
      ("{\"weight_map\": {\"a\": \"../../etc/passwd\"}}", "'../../etc/passwd'"),
      ("{\"weight_map\": {\"a\": \"/etc/passwd\"}}", "may lead to no other folder"),
      ("{\"weight_map\": {\"a\": \"..\"}}", "may lead to no other folder"),
      ("{\"weight_map\": {\"a\": \"\"}}", "cannot be one"),
      ("{\"weight_map\": {\"a\": \"x\\u0000y\"}}", "cannot be one"),
      ("{\"weight_map\": {\"a\": \"nothere.safetensors\"}}", "is missing"),
      ("{\"weight_map\": {\"z\": \"\(first)\"}}", "'z' is not in"),
      ("{\"weight_map\": {\"a\": 1}}", "no file for 'a'"),
      ("{\"weight_map\": {}}", "not an object"), ("{\"weight_map\": []}", "not an object"),
      ("{\"metadata\": {}}", "no weight_map"), ("{\"weight_map\": {\"a\": \"\(first)\"", "ends too early"),
      ("{\"weight_map\": {\"a\": \"model.safetensors.index.json\"}}", "named by another one"),
    ])
  func isRefused(index: String, words: String) throws {
    try with(index: index) { path in
      let error = try #require(throws: CheckpointError.self) { try Checkpoint.read(path) }
      #expect(error.problem.contains(words), "\(error.problem)")
    }
  }

  @Test func linksOutOfTheFolderAreNotFollowed() throws {
    try with(index: "{\"weight_map\": {\"a\": \"link.safetensors\"}}") { path in
      let folder = URL(fileURLWithPath: path).deletingLastPathComponent().path
      try FileManager.default.createSymbolicLink(
        atPath: "\(folder)/link.safetensors", withDestinationPath: TorchFileTests.path("sharded/\(Self.first)"))
      let error = try #require(throws: CheckpointError.self) { try Checkpoint.read(path) }
      #expect(error.problem.contains("out of its folder"), "\(error.problem)")
      // A link to a neighbour is none.
      try FileManager.default.removeItem(atPath: "\(folder)/link.safetensors")
      try FileManager.default.createSymbolicLink(
        atPath: "\(folder)/link.safetensors", withDestinationPath: Self.first)
      #expect(try Checkpoint.read(path)["a"]?.doubles() == [1, 2])
    }
  }

  /// Hugging Face's cache keeps contents in `blobs`, to which the names of a snapshot are links.
  @Test func theCacheOfHuggingFaceIsRead() throws {
    try withTemporaryFolder { folder in
      let (blobs, snapshot) = ("\(folder)/blobs", "\(folder)/snapshots/abc")
      try FileManager.default.copyItem(atPath: TorchFileTests.path("sharded"), toPath: blobs)
      try FileManager.default.createDirectory(atPath: snapshot, withIntermediateDirectories: true)
      for name in try FileManager.default.contentsOfDirectory(atPath: blobs) {
        try FileManager.default.createSymbolicLink(
          atPath: "\(snapshot)/\(name)", withDestinationPath: "../../blobs/\(name)")
      }
      #expect(try Checkpoint.read(snapshot).tensors.count == 3)
    }
  }

  @Test func aTensorInTwoShards() throws {
    try with(index: "{\"weight_map\": {\"a\": \"\(Self.first)\", \"b\": \"copy.safetensors\"}}") { path in
      let folder = URL(fileURLWithPath: path).deletingLastPathComponent().path
      try FileManager.default.copyItem(atPath: "\(folder)/\(Self.first)", toPath: "\(folder)/copy.safetensors")
      let error = try #require(throws: CheckpointError.self) { try Checkpoint.read(path) }
      #expect(error.problem.contains("in another file"), "\(error.problem)")
    }
  }

  @Test func aFolderWithoutWeights() throws {
    try withTemporaryFolder { folder in
      let error = try #require(throws: CheckpointError.self) { try Checkpoint.read(folder) }
      #expect(error.problem.contains("pytorch_model.bin"))
    }
  }
}
