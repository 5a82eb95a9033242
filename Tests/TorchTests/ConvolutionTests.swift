import TestSupport
import Testing
import Torch

/// Convolutions in bfloat16 have kernels of ours where the processor suits: they have to give what libtorch gives in
/// float64 for the same, rounded numbers. Elsewhere the tests hold libtorch's kernels to the same.
struct ConvolutionTests {
  struct Size: CustomTestStringConvertible {
    var images, inputs, outputs, rows, columns, stride: Int

    init(_ images: Int, _ inputs: Int, _ outputs: Int, _ rows: Int, _ columns: Int, stride: Int = 1) {
      (self.images, self.inputs, self.outputs) = (images, inputs, outputs)
      (self.rows, self.columns, self.stride) = (rows, columns, stride)
    }

    var testDescription: String { "\(images)×\(inputs)×\(rows)×\(columns) → \(outputs), stride \(stride)" }
  }

  /// Those of a residual network for small images, then odd sizes, few images, and more channels than we take.
  private static let sizes = [
    Size(8, 16, 16, 32, 32), Size(8, 32, 32, 16, 16), Size(8, 64, 64, 8, 8), Size(8, 16, 32, 32, 32, stride: 2),
    Size(8, 32, 64, 16, 16, stride: 2), Size(3, 16, 48, 7, 9), Size(3, 48, 16, 17, 33), Size(2, 64, 32, 2, 8),
    Size(5, 32, 16, 9, 11, stride: 2), Size(3, 16, 64, 8, 13, stride: 2), Size(1, 16, 16, 10, 10),
    Size(2, 16, 16, 5, 40),
    Size(3, 80, 16, 9, 9), Size(3, 16, 80, 9, 9), Size(4, 3, 16, 32, 32), Size(4, 24, 16, 9, 9), Size(4, 16, 16, 3, 3),
    Size(130, 16, 16, 9, 8),
  ]

  private struct Operands {
    var input, weight, outputGradient: Tensor
    let stride: Int

    init(_ size: Size) throws {
      let stream = try RandomStream(seed: 7, name: "convolution")
      func random(_ shape: [Int]) throws -> Tensor {
        try withRandomStream(stream) {
          let tensor = try Tensor.empty(shape)
          try tensor.drawNormal()
          return try tensor.to(.bfloat16).to(.float32).contiguous(.channelsLast)
        }
      }
      stride = size.stride
      input = try random([size.images, size.inputs, size.rows, size.columns])
      weight = try random([size.outputs, size.inputs, 3, 3])
      outputGradient = try random([
        size.images, size.outputs, (size.rows - 1) / size.stride + 1, (size.columns - 1) / size.stride + 1,
      ])
    }

    /// The output and the gradients of input and weight: in float64, or of float32 numbers under mixed precision.
    func results(double: Bool) throws -> [Tensor] {
      let leaves = try [input, weight].map {
        try $0.detached().copied().to(double ? .float64 : .float32).requireGradient()
      }
      func output() throws -> Tensor {
        try convolution(
          leaves[0], weight: leaves[1], bias: nil, stride: [stride, stride], padding: [1, 1], dilation: [1, 1],
          groups: 1)
      }
      let output = double ? try output() : try withAutocast { try output() }
      let gradients = try Autograd.gradients(
        of: [output], withRespectTo: leaves, outputGradients: [outputGradient.to(output.dtype)])
      return [output] + gradients.compactMap(\.self)
    }
  }

  /// A rounding to bfloat16 of each number, and what is lost in sums in float32.
  private func check(_ found: [Tensor], _ expected: [Tensor], _ size: Size) throws {
    #expect(found.count == 3 && expected.count == 3)
    for (name, (found, expected)) in zip(["output", "gradient of input", "gradient of weight"], zip(found, expected)) {
      let largest = try expected.absolute().flattened().maximum(along: 0).item()
      try assertClose(
        found, expected, relative: 1.0 / 256, absolute: 2e-5 * largest, "\(size.testDescription): \(name)")
    }
  }

  @Test(arguments: sizes)
  func isTheConvolutionOfTheRoundedNumbers(_ size: Size) throws {
    let operands = try Operands(size)
    let found = try operands.results(double: false)
    #expect(found[0].dtype == .bfloat16 && found[1].dtype == .float32 && found[2].dtype == .float32)
    try check(found, try operands.results(double: true), size)
  }

  /// Sums of weights' gradients are over the images of each thread; all else does not depend on threads at all.
  @Test func isReproducible() throws {
    let threads = try TorchRuntime.threadCount
    defer { try? TorchRuntime.setThreadCount(threads) }
    for size in [Size(9, 16, 32, 17, 19), Size(9, 16, 32, 17, 19, stride: 2), Size(33, 64, 64, 8, 8)] {
      let operands = try Operands(size)
      let exact = try operands.results(double: true)
      let results = try [1, 1, 2, 2].map { count in
        try TorchRuntime.setThreadCount(count)
        let results = try operands.results(double: false)
        try check(results, exact, size)
        return try results.map { try $0.floats() }
      }
      #expect(results[0] == results[1] && results[2] == results[3])
    }
  }

  /// The numbers of a batch do not depend on what else is in it.
  @Test func everyImageIsComputedAlike() throws {
    let all = try Operands(Size(6, 16, 16, 12, 12))
    func output(_ input: Tensor) throws -> [Float] {
      let weight = try all.weight.copied().requireGradient()
      return try withAutocast {
        try convolution(
          input, weight: weight, bias: nil, stride: [1, 1], padding: [1, 1], dilation: [1, 1], groups: 1)
      }.to(.float32).contiguous().floats()
    }
    let whole = try output(all.input)
    let part = try output(try all.input.sliced(0, from: 2, to: 6))
    #expect(Array(whole[(2 * whole.count / 6)...]) == part)
  }

  @Test func gradientsOnlyWhereTheyAreWanted() throws {
    for trained in [[true, false], [false, true]] {
      let operands = try Operands(Size(4, 16, 16, 9, 9))
      let input = try operands.input.copied().requireGradient(trained[0])
      let weight = try operands.weight.copied().requireGradient(trained[1])
      try withAutocast {
        try convolution(
          input, weight: weight, bias: nil, stride: [1, 1], padding: [1, 1], dilation: [1, 1], groups: 1)
      }.to(.float32).sum().backward()
      #expect((input.gradient != nil) == trained[0] && (weight.gradient != nil) == trained[1])
    }
  }

  @Test func hasSecondDerivatives() throws {
    let operands = try Operands(Size(4, 16, 16, 9, 9))
    func penalty(_ dtype: DType, _ body: (Tensor, Tensor) throws -> Tensor) throws -> [Tensor] {
      let leaves = try [operands.input, operands.weight].map {
        try $0.detached().copied().to(dtype).requireGradient()
      }
      let output = try body(leaves[0], leaves[1]).to(dtype).squared().sum()
      let gradient = try Autograd.gradients(
        of: [output], withRespectTo: [leaves[0]], retainGraph: true, createGraph: true)
      return try Autograd.gradients(of: [try #require(gradient[0]).squared().sum()], withRespectTo: leaves)
        .compactMap(\.self)
    }
    func output(_ input: Tensor, _ weight: Tensor) throws -> Tensor {
      try convolution(input, weight: weight, bias: nil, stride: [1, 1], padding: [1, 1], dilation: [1, 1], groups: 1)
    }
    let found = try penalty(.float32) { input, weight in try withAutocast { try output(input, weight) } }
    let expected = try penalty(.float64, output)
    #expect(found.count == 2 && expected.count == 2)
    for (found, expected) in zip(found, expected) {
      #expect(try (found.to(.float64) - expected).norm().item() < 0.02 * expected.norm().item())
    }
  }

  /// Without mixed precision nothing is rounded; a bias, groups or another window are libtorch's.
  @Test func leavesTheRestToLibtorch() throws {
    let operands = try Operands(Size(4, 16, 16, 9, 9))
    let weight = try operands.weight.copied().requireGradient()
    let settings: [(weight: Tensor, bias: Tensor?, padding: Int, dilation: Int, groups: Int)] = [
      (weight, nil, 1, 1, 1), (weight, try .ones([16]), 1, 1, 1), (weight, nil, 0, 1, 1), (weight, nil, 2, 2, 1),
      (try weight.sliced(1, from: 0, to: 8), nil, 1, 1, 2),
      (try weight.sliced(2, from: 0, to: 1), nil, 1, 1, 1),
    ]
    for setting in settings {
      func output() throws -> Tensor {
        try convolution(
          operands.input, weight: setting.weight, bias: setting.bias, stride: [1, 1],
          padding: [setting.padding, setting.padding], dilation: [setting.dilation, setting.dilation],
          groups: setting.groups)
      }
      // Without a graph it is libtorch's own operator that is called.
      let (found, expected) = (try output(), try withoutGradient { try output() })
      #expect(found.requiresGradient && found.dtype == .float32)
      try assertClose(found.detached(), expected, relative: 1e-5, absolute: 1e-4)
      let mixed = try withAutocast { try output() }
      #expect(mixed.dtype == .bfloat16)
      try assertClose(mixed.detached().to(.float32), expected, relative: 1.0 / 128, absolute: 0.1)
    }
  }

  @Test func shapesThatDoNotFitAreErrors() throws {
    let weight = try Tensor.ones([16, 32, 3, 3]).requireGradient()
    #expect(throws: TorchError.self) {
      try withAutocast {
        try convolution(
          Tensor.ones([4, 16, 9, 9]), weight: weight, bias: nil, stride: [1, 1], padding: [1, 1], dilation: [1, 1],
          groups: 1)
      }
    }
  }
}
