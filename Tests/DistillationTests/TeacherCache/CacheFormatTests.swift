import DistillData
import Distillation
import Foundation
import TestSupport
import Testing
import Torch
import TorchNN

/// The files are as `Guides/TeacherCache.md` says: read here by hand, as another program would.
@Suite struct CacheFormatTests {
  private struct Shard {
    var metadata: [String: String]
    var tensors: [String: (type: String, shape: [Int], bytes: Data)]
    var data: Data

    init(_ path: String) throws {
      let file = try Data(contentsOf: URL(fileURLWithPath: path))
      let length = file.prefix(8).enumerated().reduce(0) { $0 + Int($1.element) << (8 * $1.offset) }
      let json = try JSONSerialization.jsonObject(with: file[8..<8 + length])
      var head = try #require(json as? [String: Any])
      metadata = try #require(head.removeValue(forKey: "__metadata__") as? [String: String])
      data = Data(file[(8 + length)...])
      let bytes = data
      tensors = try head.mapValues { entry in
        let entry = try #require(entry as? [String: Any])
        let places = try #require(entry["data_offsets"] as? [Int])
        return (
          try #require(entry["dtype"] as? String), try #require(entry["shape"] as? [Int]),
          Data(bytes[places[0]..<places[1]])
        )
      }
    }

    func numbers<Number: BitwiseCopyable>(_ name: String, as type: Number.Type) throws -> [Number] {
      try #require(tensors[name]).bytes.withUnsafeBytes { bytes in
        (0..<bytes.count / MemoryLayout<Number>.size).map {
          bytes.loadUnaligned(fromByteOffset: $0 * MemoryLayout<Number>.size, as: type)
        }
      }
    }
  }

  @Test func shardsAreReadByHand() throws {
    try withTemporaryFolder { folder in
      let rows = CacheSample.table(7, classes: 5)
      let kept = LogitEncoding.TopK(k: 2, temperatures: [1, 4])
      _ = try CacheSample.label(rows, in: folder, .topK(kept))
      #expect(
        try CacheSample.files(folder) == [
          "cache.json", "shard-00000.safetensors", "shard-00001.safetensors", "shard-00002.safetensors",
        ])
      let description = try Data(contentsOf: URL(fileURLWithPath: "\(folder)/cache.json"))
      let shard = try Shard(CacheSample.shard(folder, 1))
      let metadata = shard.metadata
      #expect(metadata["format"] == "distill teacher cache shard" && metadata["version"] == "1")
      #expect(metadata["cache"] == (try SHA256.hex(of: Array(description))))
      #expect(metadata["shard"] == "1" && metadata["view"] == "0")
      #expect(metadata["first_row"] == "3" && metadata["row_count"] == "3")
      #expect(metadata["data_sha256"] == (try SHA256.hex(of: Array(shard.data))))
      let lines = metadata.filter { $0.key != "metadata_sha256" }.sorted { $0.key < $1.key }
      #expect(
        metadata["metadata_sha256"] == (try SHA256.hex(of: lines.map { "\($0.key)=\($0.value)\n" }.joined())))
      #expect(
        shard.tensors.mapValues { "\($0.type) \($0.shape)" } == [
          "ids": "I64 [3]", "logits.0.values": "F16 [3, 2]", "logits.0.classes": "I16 [3, 2]",
          "logits.0.log_rest": "F32 [3, 2]",
        ])
      #expect(try shard.numbers("ids", as: Int64.self) == [3, 4, 5])
      let classes = try shard.numbers("logits.0.classes", as: Int16.self)
      let rests = try shard.numbers("logits.0.log_rest", as: Float.self)
      #if !(os(macOS) && arch(x86_64))
      let values = try shard.numbers("logits.0.values", as: Float16.self)
      #endif
      for row in 0..<3 {
        let logits = rows[3 + row]
        let order = logits.indices.sorted { logits[$0] > logits[$1] }
        for place in 0..<2 {
          #expect(Int(classes[2 * row + place]) == order[place])
          #if !(os(macOS) && arch(x86_64))
          #expect(values[2 * row + place] == Float16(logits[order[place]]))
          #endif
        }
        for (place, temperature) in [1.0, 4].enumerated() {
          let sum = order.dropFirst(2).map { Foundation.exp(Double(logits[$0]) / temperature) }.reduce(0, +)
          assertClose(Double(rests[2 * row + place]), Foundation.log(sum), relative: 1e-5, absolute: 1e-6)
        }
      }
    }
  }

  @Test func theDescriptionIsReadByHand() throws {
    try withTemporaryFolder { folder in
      _ = try CacheSample.label(CacheSample.table(7, classes: 5), in: folder, .all(.float16), temperatures: [4])
      let json = try JSONSerialization.jsonObject(with: Data(contentsOf: URL(fileURLWithPath: "\(folder)/cache.json")))
      let cache = try #require(json as? [String: Any])
      func member(_ path: String) -> Any? {
        path.split(separator: ".").reduce(cache as Any?) { ($0 as? [String: Any])?[String($1)] }
      }
      #expect(member("format") as? String == "distill teacher cache" && member("version") as? Int == 1)
      #expect(member("key.data.name") as? String == "tiny vectors")
      #expect(member("key.data.content_hash") as? String == (try TinyData.vectors(count: 7).contentHash))
      #expect(member("key.inputs.augmentation") as? String == "none" && member("key.views") as? Int == 1)
      #expect(member("key.teacher.mode") as? String == "evaluation")
      #expect((member("key.teacher.members") as? [[String: Any]])?[0]["weights"] as? String == "weights")
      #expect(
        member("contents.logits.kind") as? String == "all" && member("contents.logits.values") as? String == "F16")
      #expect(member("contents.logit_shapes") as? [[Int]] == [[5]])
      #expect(member("shards.rows_per_shard") as? Int == 3 && member("shards.example_count") as? Int == 7)
    }
  }
}
