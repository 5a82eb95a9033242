import Foundation
import TestSupport
import Testing
import Torch
import TorchNN

/// The distributions that PyTorch's layers draw their weights from: bounds, mean and variance.
struct InitializerTests {
  private func expectUniform(
    _ tensor: Tensor?, _ bound: Double, sourceLocation: SourceLocation = #_sourceLocation
  ) throws {
    let values = try #require(tensor, sourceLocation: sourceLocation).doubles()
    let mean = values.reduce(0, +) / Double(values.count)
    let variance = values.map { ($0 - mean) * ($0 - mean) }.reduce(0, +) / Double(values.count)
    let largest = values.map(abs).max() ?? 0
    // Six standard errors of each.
    let tolerance = 6 / Double(values.count).squareRoot()
    #expect(largest <= bound * 1.000001 && largest > bound * (1 - tolerance), sourceLocation: sourceLocation)
    assertClose(mean / bound, 0, absolute: tolerance, "mean", sourceLocation: sourceLocation)
    assertClose(
      variance / (bound * bound / 3), 1, absolute: 1.5 * tolerance, "variance", sourceLocation: sourceLocation)
  }

  private func seeded<Result>(_ body: () throws -> Result) throws -> Result {
    try withRandomStream(try RandomStream(seed: 1), body)
  }

  @Test func linear() throws {
    let layer = try seeded { try Linear(400, 1000) }
    try expectUniform(layer.weight, 1 / 20)
    try expectUniform(layer.bias, 1 / 20)
  }

  @Test func convolution() throws {
    let plain = try seeded { try Conv2d(16, 500, kernel: 3) }
    try expectUniform(plain.weight, 1 / 12)
    try expectUniform(plain.bias, 1 / 12)
    let grouped = try seeded { try Conv2d(500, 500, kernel: 5, groups: 500) }
    try expectUniform(grouped.weight, 1 / 5)
    let line = try seeded { try Conv1d(16, 500, kernel: 9) }
    try expectUniform(line.weight, 1 / 12)
  }

  @Test func recurrence() throws {
    for tensor in try seeded({ try GRU(30, 64, layers: 2, bidirectional: true) }).parameters {
      try expectUniform(tensor, 1 / 8)
    }
    for tensor in try seeded({ try LSTM(30, 64) }).parameters { try expectUniform(tensor, 1 / 8) }
  }

  @Test func attention() throws {
    let layer = try seeded { try MultiHeadAttention(96, heads: 4) }
    try expectUniform(layer.inputWeight, 1 / 8)
    try expectUniform(layer.outputProjection.weight, 1 / 96.0.squareRoot())
    #expect(try layer.inputBias?.doubles().allSatisfy { $0 == 0 } == true)
    #expect(try layer.outputProjection.bias?.doubles().allSatisfy { $0 == 0 } == true)
  }

  @Test func embedding() throws {
    let layer = try seeded { try Embedding(1000, 100, paddingIndex: 3) }
    let weight = layer.weight
    try assertClose(weight.mean().item(), 0, absolute: 0.02)
    try assertClose(weight.variance(along: 0, 1).item(), 1, absolute: 0.03)
    #expect(try weight.selected(0, 3).doubles().allSatisfy { $0 == 0 })
    #expect(weight.requiresGradient)
  }

  @Test func normalization() throws {
    let batch = try BatchNorm(3)
    #expect(try batch.weight.doubles() == [1, 1, 1] && batch.bias.doubles() == [0, 0, 0])
    #expect(try batch.runningMean.doubles() == [0, 0, 0] && batch.runningVariance.doubles() == [1, 1, 1])
    #expect(try batch.batchCount.item() == 0)
    #expect(batch.batchCount.dtype == .int64 && batch.batchCount.shape.isEmpty)
    #expect(try LayerNorm([2]).weight.doubles() == [1, 1])
    #expect(try GroupNorm(2, groups: 1).bias.doubles() == [0, 0])
  }

  @Test func aSeedGivesTheSameWeights() throws {
    func weights(_ seed: UInt64) throws -> [[Double]] {
      try TinyModel.convNet(seed: seed).parameters.map { try $0.doubles() }
    }
    #expect(try weights(1) == weights(1))
    #expect(try weights(1) != weights(2))
  }
}
