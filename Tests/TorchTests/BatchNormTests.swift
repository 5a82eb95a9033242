import TestSupport
import Testing
import Torch

/// Batch normalization, an addition and a ReLU in one operator: it has to give what libtorch's three give in float64.
struct BatchNormTests {
  /// Shape, and whether the channels of a pixel lie side by side: the loops are over lanes of sixteen, over one plane at a
  /// time or over pixels, and small planes are libtorch's.
  private static let cases: [(shape: [Int], channelsLast: Bool)] = [
    ([16, 32, 8, 8], true), ([5, 3, 17, 9], true), ([5, 17, 3, 5], true), ([2, 1, 7, 7], true), ([9, 64, 1, 1], true),
    ([2, 80, 33, 5], true), ([1, 16, 5, 5], true),
    ([6, 16, 16, 16], false), ([5, 3, 17, 19], false), ([2, 17, 30, 11], false), ([4, 5, 3, 3], false),
    ([7, 5, 1, 1], false), ([33, 300], false), ([2, 3], false), ([4, 6, 700], false), ([4, 6, 9], false),
  ]

  private struct Operands {
    var input, residual, weight, bias, outputGradient: Tensor
    var runningMean, runningVariance: Tensor
    let channelsLast: Bool
    let dtype: DType

    /// - Parameter dtype: of the activations; the rest is in float32
    init(_ shape: [Int], channelsLast: Bool, dtype: DType = .float32, mean: Double = 3) throws {
      let stream = try RandomStream(seed: 5, name: "batch norm")
      self.channelsLast = channelsLast
      self.dtype = dtype
      func random(_ shape: [Int]) throws -> Tensor {
        try withRandomStream(stream) {
          let tensor = try Tensor.empty(shape)
          try tensor.drawNormal()
          return channelsLast && shape.count == 4 ? try tensor.contiguous(.channelsLast) : tensor
        }
      }
      // Rounded, where the activations are, so that float64 begins with the same numbers.
      input = try (random(shape) * 2 + mean).to(dtype)
      residual = try random(shape).to(dtype)
      outputGradient = try random(shape).to(dtype)
      weight = try random([shape[1]])
      bias = try random([shape[1]])
      runningMean = try random([shape[1]])
      runningVariance = try random([shape[1]]).squared() + 0.5
    }

    struct Results {
      var output: Tensor
      /// Of input, weight, bias and, where there is one, residual.
      var gradients: [Tensor?]
      var runningMean, runningVariance: Tensor
    }

    /// Of ours if `double` is false, of libtorch's own in float64 if it is true.
    func results(adding: Bool, double: Bool, frozen: Bool = false, rectified: Bool = true) throws -> Results {
      func leaf(_ tensor: Tensor, _ isTrained: Bool = true) throws -> Tensor {
        try tensor.copied().detached().to(double ? .float64 : tensor.dtype).requireGradient(isTrained)
      }
      let (input, residual) = (try leaf(input), adding ? try leaf(residual) : nil)
      let (weight, bias) = (try leaf(weight, !frozen), try leaf(bias, !frozen))
      let (mean, variance) = (try leaf(runningMean, false), try leaf(runningVariance, false))
      let output: Tensor
      if double || !rectified {
        let plain = try batchNorm(
          input, weight: weight, bias: bias, runningMean: mean, runningVariance: variance, isTraining: true,
          momentum: 0.2, epsilon: 1e-3)
        let sum = try residual.map { try plain + $0 } ?? plain
        output = rectified ? try sum.relu() : sum
      } else {
        output = try batchNormReLU(
          input, adding: residual, weight: weight, bias: bias, runningMean: mean, runningVariance: variance,
          momentum: 0.2, epsilon: 1e-3)
      }
      let leaves = (frozen ? [input] : [input, weight, bias]) + (residual.map { [$0] } ?? [])
      let gradients = try Autograd.gradients(
        of: [output], withRespectTo: leaves, outputGradients: [outputGradient.to(output.dtype)])
      return Results(output: output, gradients: gradients, runningMean: mean, runningVariance: variance)
    }
  }

  /// The largest difference, in parts of the largest number.
  private func difference(_ found: Tensor?, _ expected: Tensor?) throws -> Double {
    let (found, expected) = (try #require(found), try #require(expected).to(.float64))
    #expect(found.shape == expected.shape)
    func largest(_ tensor: Tensor) throws -> Double { try tensor.absolute().flattened().maximum(along: 0).item() }
    return try largest(found.to(.float64) - expected) / max(1e-3, largest(expected))
  }

  private func check(_ found: Operands.Results, _ expected: Operands.Results, within tolerance: Double) throws {
    #expect(try difference(found.output, expected.output) < tolerance)
    #expect(found.gradients.count == expected.gradients.count)
    for (found, expected) in zip(found.gradients, expected.gradients) {
      #expect(try difference(found, expected) < tolerance)
    }
    #expect(try difference(found.runningMean, expected.runningMean) < 1e-5)
    #expect(try difference(found.runningVariance, expected.runningVariance) < 1e-5)
  }

  @Test(arguments: cases, [true, false])
  func isNormalizationSumAndReLUInFloat64(_ sizes: (shape: [Int], channelsLast: Bool), _ adding: Bool) throws {
    let operands = try Operands(sizes.shape, channelsLast: sizes.channelsLast)
    let found = try operands.results(adding: adding, double: false)
    if sizes.channelsLast { #expect(try found.output.contiguous(.channelsLast).hasLayout(of: found.output)) }
    // Two rows differ by so little that the gradient of what came in is next to nothing.
    try check(found, try operands.results(adding: adding, double: true), within: sizes.shape[0] == 2 ? 3e-4 : 2e-5)
  }

  @Test(arguments: cases)
  func aloneIsTheNormalizationInFloat64(_ sizes: (shape: [Int], channelsLast: Bool)) throws {
    let operands = try Operands(sizes.shape, channelsLast: sizes.channelsLast)
    try check(
      try operands.results(adding: false, double: false, rectified: false),
      try operands.results(adding: false, double: true, rectified: false), within: sizes.shape[0] == 2 ? 3e-4 : 2e-5)
  }

  /// What a ReLU lets through may differ where a sum is near zero.
  @Test(arguments: [([16, 32, 8, 8], true), ([5, 3, 17, 9], true), ([6, 16, 16, 16], false)], [true, false])
  func bfloat16IsRoundedOnce(_ sizes: (shape: [Int], channelsLast: Bool), _ adding: Bool) throws {
    let operands = try Operands(sizes.shape, channelsLast: sizes.channelsLast, dtype: .bfloat16, mean: 0.5)
    let found = try operands.results(adding: adding, double: false)
    #expect(found.output.dtype == .bfloat16)
    #expect(found.gradients[1]?.dtype == .float32 && found.gradients[2]?.dtype == .float32)
    try check(found, try operands.results(adding: adding, double: true), within: 1.0 / 128)
  }

  /// The mean of squares less the square of the mean would leave nothing.
  @Test(arguments: [([16, 32, 8, 8], true), ([6, 16, 16, 16], false)])
  func keepsTheDigitsOfNumbersFarFromZero(_ sizes: (shape: [Int], channelsLast: Bool)) throws {
    let operands = try Operands(sizes.shape, channelsLast: sizes.channelsLast, mean: 3000)
    let found = try operands.results(adding: true, double: false)
    let expected = try operands.results(adding: true, double: true)
    #expect(try difference(found.output, expected.output) < 1e-4)
    #expect(try difference(found.runningVariance, expected.runningVariance) < 1e-5)
  }

  @Test func frozenWeightsGetNoGradient() throws {
    for channelsLast in [true, false] {
      let operands = try Operands([6, 16, 16, 16], channelsLast: channelsLast)
      let found = try operands.results(adding: true, double: false, frozen: true)
      #expect(found.gradients.count == 2)
      try check(found, try operands.results(adding: true, double: true, frozen: true), within: 2e-5)
    }
  }

  /// The first layer's input has no gradient.
  @Test func weightsAloneGetAGradient() throws {
    let operands = try Operands([6, 16, 8, 8], channelsLast: true)
    func gradients(_ isTrained: Bool) throws -> [[Float]] {
      let input = try operands.input.copied().requireGradient(isTrained)
      let (weight, bias) = (
        try operands.weight.copied().requireGradient(), try operands.bias.copied().requireGradient()
      )
      let output = try batchNormReLU(
        input, adding: operands.residual, weight: weight, bias: bias, runningMean: nil, runningVariance: nil,
        momentum: 0.1, epsilon: 1e-5)
      try output.backward(gradient: operands.outputGradient)
      #expect((input.gradient != nil) == isTrained)
      return try [weight, bias].map { try #require($0.gradient).floats() }
    }
    #expect(try gradients(true) == gradients(false))
  }

  /// Gradients that somebody holds are not used as memory for others.
  @Test func overwritesNothing() throws {
    let operands = try Operands([6, 16, 8, 8], channelsLast: true)
    let before = try operands.outputGradient.floats()
    let first = try operands.results(adding: true, double: false)
    #expect(try operands.outputGradient.floats() == before)

    // The sum hands one gradient to both: to the residual's, as it is, and to the normalization.
    let input = try operands.input.copied().requireGradient()
    let other = try operands.residual.copied().requireGradient()
    let output = try batchNormReLU(
      input, adding: operands.residual, weight: operands.weight, bias: operands.bias, runningMean: nil,
      runningVariance: nil, momentum: 0.1, epsilon: 1e-3)
    try ((output + other) * operands.outputGradient).sum().backward()
    #expect(try #require(other.gradient).floats() == before)
    #expect(try difference(input.gradient, first.gradients[0]) < 1e-6)

    // And twice through the same graph.
    let twice = try operands.input.copied().requireGradient()
    let again = try batchNormReLU(
      twice, adding: nil, weight: operands.weight, bias: operands.bias, runningMean: nil, runningVariance: nil,
      momentum: 0.1, epsilon: 1e-3)
    func gradient() throws -> [Float] {
      try twice.setGradient(nil)
      try (again * operands.outputGradient).sum().backward(retainGraph: true)
      return try #require(twice.gradient).floats()
    }
    #expect(try gradient() == gradient())
  }

  @Test(arguments: [true, false])
  func hasSecondDerivatives(channelsLast: Bool) throws {
    let operands = try Operands([6, 16, 16, 16], channelsLast: channelsLast, mean: 0)
    func penalty(_ dtype: DType, _ function: (Tensor, Tensor, Tensor) throws -> Tensor) throws -> [Tensor?] {
      let leaves = try [operands.input, operands.weight, operands.residual].map {
        try $0.detached().copied().to(dtype).requireGradient()
      }
      let output = try function(leaves[0], leaves[1], leaves[2]).squared().sum()
      let gradient = try Autograd.gradients(
        of: [output], withRespectTo: [leaves[0]], retainGraph: true, createGraph: true)
      return try Autograd.gradients(of: [try #require(gradient[0]).squared().sum()], withRespectTo: leaves)
    }
    let found = try penalty(.float32) { input, weight, residual in
      try batchNormReLU(
        input, adding: residual, weight: weight, bias: operands.bias, runningMean: nil, runningVariance: nil,
        momentum: 0.1, epsilon: 1e-3)
    }
    let expected = try penalty(.float64) { input, weight, residual in
      try
        (batchNorm(
          input, weight: weight, bias: operands.bias.to(.float64), runningMean: nil, runningVariance: nil,
          isTraining: true, momentum: 0.1, epsilon: 1e-3) + residual).relu()
    }
    for (found, expected) in zip(found, expected) { #expect(try difference(found, expected) < 1e-4) }
  }

  @Test func whatIsNotANumberStaysNone() throws {
    let operands = try Operands([6, 16, 8, 8], channelsLast: true)
    var values = try operands.input.contiguous().floats()
    values[64 * 3] = .nan
    let input = try Tensor(values, shape: [6, 16, 8, 8]).contiguous(.channelsLast)
    let output = try batchNormReLU(
      input, adding: nil, weight: operands.weight, bias: operands.bias, runningMean: nil, runningVariance: nil,
      momentum: 0.1, epsilon: 1e-3)
    let found = try output.contiguous().floats()
    for index in found.indices { #expect(found[index].isNaN == (index / 64 % 16 == 3)) }
  }

  /// The same numbers every time; with other threads, sums are added in another order.
  @Test func isReproducible() throws {
    let threads = try TorchRuntime.threadCount
    defer { try? TorchRuntime.setThreadCount(threads) }
    for channelsLast in [true, false] {
      let operands = try Operands([32, 16, 32, 32], channelsLast: channelsLast)
      let exact = try operands.results(adding: true, double: true)
      for count in [1, 2, 3] {
        try TorchRuntime.setThreadCount(count)
        func numbers() throws -> [[Float]] {
          let results = try operands.results(adding: true, double: false)
          try check(results, exact, within: 1e-4)
          return try ([results.output] + results.gradients.compactMap(\.self)).map { try $0.floats() }
        }
        #expect(try numbers() == numbers())
      }
    }
  }

  @Test func refusesWhatLibtorchRefuses() throws {
    let one = try Tensor.ones([3])
    #expect(throws: TorchError.self) {
      try batchNormReLU(
        Tensor.zeros([4, 2]), adding: nil, weight: one, bias: one, runningMean: nil, runningVariance: nil,
        momentum: 0.1, epsilon: 1e-5)
    }
    #expect(throws: TorchError.self) {
      try batchNormReLU(
        Tensor.zeros([4, 3]), adding: Tensor.zeros([4, 2]), weight: one, bias: one, runningMean: nil,
        runningVariance: nil, momentum: 0.1, epsilon: 1e-5)
    }
  }
}
