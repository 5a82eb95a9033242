import Foundation
import TestSupport
import Testing
import Torch
import TorchNN

struct StateTests {
  private func values(_ module: any Module) throws -> [[Double]] { try module.state.map { try $0.tensor.doubles() } }

  @Test func aModelIsSavedAndLoaded() throws {
    try withTemporaryFolder { folder in
      let path = "\(folder)/model.safetensors"
      let model = try TinyModel.convNet(seed: 1)
      _ = try model(Tensor.empty([4, 1, 8, 8]).drawNormal())
      try model.useChannelsLast()
      try model.save(to: path, metadata: ["format": "pt"])
      let other = try TinyModel.convNet(seed: 2)
      let weight = other.parameters[0]
      try other.load(Checkpoint.read(path))
      #expect(try values(other) == values(model))
      #expect(other.parameters[0] === weight, "numbers are overwritten in place, so that an optimizer keeps its hold")
      #expect(other.parameters.allSatisfy { $0.requiresGradient })
      #expect(try Checkpoint.read(path)["1.num_batches_tracked"]?.item() == 1)
    }
  }

  @Test func everythingThatDoesNotFitIsListedAtOnce() throws {
    let model = try TinyModel.convNet()
    let before = try values(model)
    var tensors = try TinyModel.convNet(seed: 5).state
    tensors.removeAll { ["1.running_mean", "6.bias"].contains($0.name) }
    tensors.append(NamedTensor(name: "extra.weight", tensor: try .zeros([2])))
    tensors.append(NamedTensor(name: "extra.bias", tensor: try .zeros([])))
    for index in tensors.indices {
      if tensors[index].name == "6.weight" {
        tensors[index] = NamedTensor(name: "6.weight", tensor: try .zeros([3, 64]))
      }
      if tensors[index].name == "1.num_batches_tracked" {
        tensors[index] = NamedTensor(name: "1.num_batches_tracked", tensor: try .zeros([]))
      }
    }
    let checkpoint = Checkpoint(tensors: tensors)
    let error = try #require(throws: StateError.self) { try model.load(checkpoint) }
    #expect(error.missing == ["1.running_mean [4] float32", "6.bias [2] float32"])
    #expect(error.unexpected == ["extra.weight [2] float32", "extra.bias [] float32"])
    #expect(
      error.misfits == [
        StateError.Misfit(key: "1.num_batches_tracked", needed: "[] int64", found: "[] float32"),
        StateError.Misfit(key: "6.weight", needed: "[2, 64] float32", found: "[3, 64] float32"),
      ])
    for part in [
      "nothing was loaded", "missing in the file (2)", "not in the model (2)", "[3, 64] float32 in the file",
    ] {
      #expect(error.description.contains(part))
    }
    #expect(try values(model) == before)
  }

  private func twoNorms() throws -> Sequential { try Sequential([BatchNorm(3), BatchNorm(3)]) }

  @Test(arguments: [nil, ["0": "bn1", "1": "layer1.0.bn1"]] as [KeyMap?])
  func batchCountsMayBeMissingAltogether(keyMap: KeyMap?) throws {
    let model = try twoNorms()
    _ = try model(Tensor.empty([4, 3]).drawNormal())
    let tensors = model.state.map { NamedTensor(name: keyMap?.foreign($0.name) ?? $0.name, tensor: $0.tensor) }
    let old = tensors.filter { !$0.name.hasSuffix("num_batches_tracked") }
    #expect(old.count == tensors.count - 2)
    let other = try twoNorms()
    for _ in 0..<3 { _ = try other(Tensor.ones([4, 3])) }
    try other.load(Checkpoint(tensors: old), keyMap: keyMap)
    for (own, expected) in zip(other.state, model.state) {
      let isCount = own.name.hasSuffix("num_batches_tracked")
      #expect(try own.tensor.doubles() == (isCount ? [0] : expected.tensor.doubles()), "\(own.name)")
    }
  }

  @Test func nothingElseOfANormMayBeMissing() throws {
    let state = try twoNorms().state
    func missing(_ names: Set<String>) throws -> [String] {
      let kept = state.filter { !names.contains($0.name) }
      return try #require(throws: StateError.self) { try twoNorms().load(Checkpoint(tensors: kept)) }.missing
    }
    #expect(try missing(["1.num_batches_tracked"]) == ["1.num_batches_tracked [] int64"], "the other one is there")
    let counts: Set = ["0.num_batches_tracked", "1.num_batches_tracked"]
    #expect(try missing(counts.union(["0.running_var"])) == ["0.running_var [3] float32"])
  }

  @Test func longListsAreCut() throws {
    let model = try Sequential((0..<40).map { _ in try Linear(1, 1) })
    let error = try #require(throws: StateError.self) { try model.load(Checkpoint(tensors: [])) }
    #expect(error.missing.count == 80)
    #expect(error.description.contains("… and 60 more"))
  }

  @Test func theFileIsNamed() throws {
    try withTemporaryFolder { folder in
      let path = "\(folder)/a.safetensors"
      try Linear(2, 2).save(to: path)
      let error = try #require(throws: StateError.self) { try Linear(3, 2).load(Checkpoint.read(path)) }
      #expect(error.description.hasPrefix(path))
    }
  }

  @Test func typesThatFloatAreConverted() throws {
    let model = try Linear(2, 2)
    for dtype in [DType.float16, .bfloat16, .float64] {
      let checkpoint = Checkpoint(
        tensors: try [("weight", [2, 2]), ("bias", [2])].map {
          NamedTensor(name: $0, tensor: try .full($1, 0.5, dtype: dtype))
        })
      try model.load(checkpoint)
      #expect(try model.weight.doubles() == [0.5, 0.5, 0.5, 0.5] && model.weight.dtype == .float32)
      try model.weight.detached().fill(0)
    }
    #expect(throws: StateError.self) {
      try model.load(
        Checkpoint(tensors: [
          NamedTensor(name: "weight", tensor: .zeros([2, 2], dtype: .int64)),
          NamedTensor(name: "bias", tensor: .zeros([2])),
        ]))
    }
  }

  private final class Tied: Module {
    let embedding = try! Embedding(3, 2)
    let head = try! Linear(2, 3, bias: false)
    init() { head.weight = embedding.weight }
  }

  @Test func tiedTensorsMayStandUnderAnyOfTheirKeys() throws {
    let value = try Tensor.full([3, 2], 4)
    for keys in [["embedding.weight"], ["head.weight"], ["embedding.weight", "head.weight"]] {
      let tied = Tied()
      try tied.load(Checkpoint(tensors: keys.map { NamedTensor(name: $0, tensor: value) }))
      #expect(try tied.head.weight.doubles() == value.doubles())
      #expect(tied.head.weight === tied.embedding.weight)
    }
    #expect(try #require(throws: StateError.self) { try Tied().load(Checkpoint(tensors: [])) }.missing.count == 1)
  }

  @Test func foreignNamesAreTranslatedBothWays() throws {
    try withTemporaryFolder { folder in
      let path = "\(folder)/a.safetensors"
      let map: KeyMap = ["0": "backbone.stem", "0.bias": "stem_bias", "2": "fc"]
      let model = try TinyModel.mlp(seed: 1)
      try model.save(to: path, keyMap: map)
      let stored = try Checkpoint.read(path)
      #expect(Set(stored.tensors.map(\.name)) == ["backbone.stem.weight", "stem_bias", "fc.weight", "fc.bias"])
      let other = try TinyModel.mlp(seed: 2)
      #expect(throws: StateError.self) { try other.load(stored) }
      try other.load(stored, keyMap: map)
      #expect(try values(other) == values(model))
      let error = try #require(throws: StateError.self) {
        try other.load(Checkpoint(tensors: Array(stored.tensors.dropFirst())), keyMap: map)
      }
      #expect(error.missing == ["backbone.stem.weight [8, 6] float32"], "in the file's own spelling")
    }
  }

  @Test func keyMapsGoByWholeParts() {
    let map: KeyMap = ["layer1": "a.b", "layer1.0": "c", "": "module"]
    #expect(map.foreign("layer1.1.weight") == "a.b.1.weight")
    #expect(map.foreign("layer1.0.weight") == "c.weight")
    #expect(map.foreign("layer1") == "a.b")
    #expect(map.foreign("layer10.weight") == "module.layer10.weight")
    for key in ["layer1.1.weight", "layer1.0.weight", "layer1", "layer10.weight", "other"] {
      #expect(map.ours(map.foreign(key)) == key)
    }
    let none: KeyMap = [:]
    #expect(none.foreign("a") == "a" && none.ours("a") == "a")
  }
}
