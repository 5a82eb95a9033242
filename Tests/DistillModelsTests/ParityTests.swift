import DistillModels
import Foundation
import Testing
import Torch
import TorchNN

/// One model of `scripts/fixtures/models.py`.
struct ModelFixture: Decodable {
  struct Entry: Decodable, Equatable {
    var key: String
    var shape: [Int]

    init(key: String, shape: [Int]) {
      self.key = key
      self.shape = shape
    }

    init(from decoder: any Decoder) throws {
      var container = try decoder.unkeyedContainer()
      key = try container.decode(String.self)
      shape = try container.decode([Int].self)
    }
  }

  var name: String
  var specification: ModelSpecification
  var state: [Entry]
  var parameters: Int
  var multiplyAdds: Int?
  var eval: [Double]?
  var train: [Double]?
  var gradients: [String: Double]?
  var running: Double?

  static let all: [ModelFixture] = {
    let path = URL(filePath: #filePath).deletingLastPathComponent().appending(path: "../Fixtures/models.json")
    return try! JSONDecoder().decode([ModelFixture].self, from: Data(contentsOf: path))
  }()

  static func named(_ name: String) throws -> ModelFixture { try #require(all.first { $0.name == name }) }
}

/// The same numbers in [0, 1) as `filler` in the script: a hash of the name and the place.
func filler(_ name: String, _ count: Int, _ transform: (Double) -> Double) -> [Float] {
  var seed: UInt32 = 0x811C_9DC5
  for byte in name.utf8 { seed = (seed ^ UInt32(byte)) &* 0x0100_0193 }
  return [Float](unsafeUninitializedCapacity: count) { buffer, initialized in
    var place: UInt32 = 0
    while place < UInt32(count) {
      var hash = (place &+ 1) &* 2_654_435_761 &+ seed
      hash ^= hash >> 15
      hash = hash &* 0x85EB_CA6B
      hash ^= hash >> 13
      buffer[Int(place)] = Float(transform(Double(hash) * 0x1p-32))
      place += 1
    }
    initialized = count
  }
}

/// Overwrites parameters and buffers with the script's numbers.
func fill(_ model: any Layer) throws {
  for entry in model.state where !entry.name.hasSuffix("num_batches_tracked") {
    let tensor = entry.tensor
    let transform: (Double) -> Double
    if tensor.rank >= 2 {
      let bound = try (6 / Double(tensor.count / tensor.size(0))).squareRoot()
      transform = { (2 * $0 - 1) * bound }
    } else if entry.name.hasSuffix("running_var") {
      transform = { 0.5 + $0 }
    } else if entry.name.hasSuffix("weight") {
      transform = { 0.75 + 0.5 * $0 }
    } else {
      transform = { 0.2 * ($0 - 0.5) }
    }
    try withoutGradient {
      try tensor.copy(from: Tensor(filler(entry.name, tensor.count, transform), shape: tensor.shape))
    }
  }
}

func images(_ count: Int, _ shape: [Int]) throws -> Tensor {
  try Tensor(filler("input", count * shape.reduce(1, *)) { 3 * $0 - 1.5 }, shape: [count] + shape)
}

/// The largest difference, in parts of the largest expected number.
func relativeError(_ tensor: Tensor, _ expected: [Double]) throws -> Double {
  let values = try tensor.doubles()
  guard values.count == expected.count else { return .infinity }
  let scale = expected.map(abs).max() ?? 1
  return (zip(values, expected).map { abs($0 - $1) }.max() ?? 0) / scale
}

@Suite struct ParityTests {
  @Test(arguments: ModelFixture.all.map(\.name))
  func keysAndShapesAndCountsEqualPyTorchs(name: String) throws {
    let fixture = try ModelFixture.named(name)
    let model = try ModelZoo.make(fixture.specification)
    let state = model.state.map { ModelFixture.Entry(key: $0.name, shape: $0.tensor.shape) }
    let differing = zip(state, fixture.state).first { $0 != $1 }
    #expect(state.count == fixture.state.count)
    #expect(differing == nil)
    #expect(model.parameterCount == fixture.parameters)
  }

  @Test(arguments: ModelFixture.all.filter { $0.eval != nil }.map(\.name))
  func logitsAndGradientsEqualPyTorchs(name: String) throws {
    let fixture = try ModelFixture.named(name)
    let shape = fixture.specification.inputShape
    let model = try ModelZoo.make(fixture.specification)
    #expect(try model.summary(inputShape: shape).multiplyAdds == fixture.multiplyAdds)
    try fill(model)

    model.eval()
    let evaluated = try withoutGradient { try model(images(2, shape)) }
    #expect(evaluated.shape == [2, fixture.specification.classCount])
    #expect(try relativeError(evaluated, #require(fixture.eval)) < 1e-4)

    model.train()
    let output = try model(images(4, shape))
    #expect(try relativeError(output, #require(fixture.train)) < 1e-3)
    let weights = try Tensor(filler("out", output.count) { $0 }, shape: output.shape)
    try (output * weights).sum().backward()
    let expected = try #require(fixture.gradients)
    #expect(model.namedParameters.count == expected.count)
    let largest = try #require(expected.values.max())
    for parameter in model.namedParameters {
      let norm = try #require(parameter.tensor.gradient, "\(parameter.name) has no gradient").norm().item()
      let wanted = try #require(expected[parameter.name])
      #expect(abs(norm - wanted) < 5e-3 * wanted + 1e-5 * largest, "\(parameter.name): \(norm), PyTorch \(wanted)")
    }
    let running = try model.namedBuffers.filter { $0.name.hasSuffix("running_mean") }
      .reduce(0) { try $0 + $1.tensor.doubles().reduce(0, +) }
    #expect(abs(running - (try #require(fixture.running))) < 1e-3 * max(1, abs(running)))
  }
}
