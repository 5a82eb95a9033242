import TestSupport
import Testing
import Torch

/// Large products take another way through libtorch than small ones: it has to give the same numbers.
struct LinearTests {
  private struct Operands {
    var input: Tensor
    var weight: Tensor
    var bias: Tensor?
    var outputGradient: Tensor

    /// - Parameter strided: whether the matrices lie transposed in memory
    init(rows: [Int], inputs: Int, outputs: Int, hasBias: Bool = true, strided: Bool = false) throws {
      let stream = try RandomStream(seed: 3, name: "linear")
      func random(_ shape: [Int]) throws -> Tensor {
        try withRandomStream(stream) {
          let tensor = try Tensor.empty(strided ? shape.reversed() : shape)
          try tensor.drawNormal()
          return strided ? try tensor.permuted((0..<shape.count).reversed()) : tensor
        }
      }
      input = try random(rows + [inputs])
      weight = try random([outputs, inputs])
      bias = hasBias ? try random([outputs]) : nil
      outputGradient = try random(rows + [outputs])
    }

    /// The output, and the gradients of input, weight and bias.
    func results(dtype: DType, _ function: (Tensor, Tensor, Tensor?) throws -> Tensor) throws -> [Tensor] {
      func leaf(_ tensor: Tensor) throws -> Tensor { try tensor.detached().to(dtype).requireGradient() }
      let leaves = [try leaf(input), try leaf(weight)] + (try bias.map { [try leaf($0)] } ?? [])
      let output = try function(leaves[0], leaves[1], leaves.count > 2 ? leaves[2] : nil)
      let gradients = try Autograd.gradients(
        of: [output], withRespectTo: leaves, outputGradients: [try outputGradient.to(dtype)])
      return [output] + gradients.compactMap(\.self)
    }
  }

  /// Rows, inputs and outputs: of the student and teacher of the benchmark, with whole blocks and with parts of blocks,
  /// one row, more terms than are summed at once, and too small to be worth it.
  private static let sizes = [
    ([128], 784, 300), ([128], 300, 10), ([128], 784, 1200), ([7, 33], 300, 512), ([97], 1100, 161), ([1], 784, 300),
    ([700], 100, 30), ([3, 2], 5, 4),
  ]

  @Test(arguments: sizes, [true, false])
  func isTheProductInFloat64(_ sizes: ([Int], Int, Int), _ strided: Bool) throws {
    for (hasBias, hasReLU) in [(true, false), (false, false), (true, true), (false, true)] {
      let operands = try Operands(
        rows: sizes.0, inputs: sizes.1, outputs: sizes.2, hasBias: hasBias, strided: strided)
      let found = try operands.results(dtype: .float32) {
        hasReLU ? try linearReLU($0, weight: $1, bias: $2) : try linear($0, weight: $1, bias: $2)
      }
      let expected = try operands.results(dtype: .float64) { input, weight, bias in
        let product = try input.matmul(weight.transposed(0, 1))
        let sum = try bias.map { try product + $0 } ?? product
        // Cut where the layer cut: at a sum next to 0 rounding decides, and with it a whole gradient.
        return hasReLU ? try sum * found[0].detached().isGreater(than: 0).to(.float64) : sum
      }
      #expect(found.count == expected.count)
      for (found, expected) in zip(found, expected) {
        #expect(found.shape == expected.shape)
        let largest = try expected.absolute().flattened().maximum(along: 0).item()
        let error = try (found.to(.float64) - expected).absolute().flattened().maximum(along: 0).item()
        #expect(error < 5e-6 * largest)
      }
    }
  }

  @Test func hasSecondDerivatives() throws {
    let operands = try Operands(rows: [128], inputs: 96, outputs: 128)
    let weight = try operands.weight.detached().requireGradient()
    let input = try operands.input.detached().requireGradient()
    func penalty(_ function: (Tensor, Tensor) throws -> Tensor) throws -> Tensor {
      let output = try function(input, weight).squared().sum()
      let gradient = try Autograd.gradients(of: [output], withRespectTo: [input], retainGraph: true, createGraph: true)
      let found = try Autograd.gradients(of: [try #require(gradient[0]).squared().sum()], withRespectTo: [weight])
      return try #require(found[0])
    }
    for hasReLU in [false, true] {
      let found = try penalty {
        hasReLU ? try linearReLU($0, weight: $1, bias: nil) : try linear($0, weight: $1, bias: nil)
      }
      let expected = try penalty { input, weight in
        let product = try input.matmul(weight.transposed(0, 1))
        return hasReLU ? try product.relu() : product
      }
      let largest = try expected.absolute().flattened().maximum(along: 0).item()
      #expect(try (found - expected).absolute().flattened().maximum(along: 0).item() < 1e-5 * largest)
    }
  }

  /// Blocks are shared among threads; the numbers of an element are added in the same order whoever does it.
  @Test func doesNotDependOnThreads() throws {
    let threads = try TorchRuntime.threadCount
    defer { try? TorchRuntime.setThreadCount(threads) }
    for outputs in [300, 10] {
      let operands = try Operands(rows: [128], inputs: 784, outputs: outputs)
      let results = try [1, 2, 2].map { count in
        try TorchRuntime.setThreadCount(count)
        return try operands.results(dtype: .float32) { try linearReLU($0, weight: $1, bias: $2) }
          .map { try $0.array(of: Float.self) }
      }
      #expect(results[0] == results[1] && results[1] == results[2])
    }
  }

  @Test func whatIsNotANumberStaysNone() throws {
    var values = [Float](repeating: 1, count: 128 * 784)
    values[784 * 5] = .nan
    let input = try Tensor(values, shape: [128, 784])
    let output = try linearReLU(input, weight: Tensor.ones([300, 784]), bias: nil).array(of: Float.self)
    #expect(output[0] == 784 && output[300 * 5].isNaN && output[300 * 6] == 784)
  }

  @Test func recordsNothingWithoutGradientAndFollowsAutocast() throws {
    let operands = try Operands(rows: [128], inputs: 784, outputs: 300)
    let weight = try operands.weight.detached().requireGradient()
    #expect(try withoutGradient { try linear(operands.input, weight: weight, bias: nil) }.requiresGradient == false)
    #expect(try withAutocast { try linear(operands.input, weight: weight, bias: nil) }.dtype == .bfloat16)
    #expect(try withAutocast { try linearReLU(operands.input, weight: weight, bias: nil) }.dtype == .bfloat16)
    let double = try linearReLU(operands.input.to(.float64), weight: weight.to(.float64), bias: nil)
    #expect(double.dtype == .float64)
  }
}
