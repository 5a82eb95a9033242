import TestSupport
import Torch
import TorchNN

/// Operators that no model of the zoo calls, by topic: many functions of one input, laid out in rows side by side, are one
/// model.
struct FormCase {
  var shape: [Int]
  var functions: [(Tensor) throws -> Tensor]
  var inner: [any Module] = []

  var model: any Layer {
    Probe(inner) { input in
      try .concatenated(functions.map { try $0(input).to(.float32).flattened(from: 1) }, along: 1)
    }
  }

  func inputs(_ count: Int) throws -> Tensor { try Sample.numbers([count] + shape) }
}

extension FormCase {
  enum Topic: String, CaseIterable {
    case arithmetic, activations, comparisons, shapes, reductions, windows, normalizationAndProducts, attention
  }

  static func of(_ topic: Topic) throws -> FormCase {
    switch topic {
    case .arithmetic: try arithmetic()
    case .activations: try activations()
    case .comparisons: try comparisons()
    case .shapes: try shapes()
    case .reductions: try reductions()
    case .windows: try windows()
    case .normalizationAndProducts: try normalizationAndProducts()
    case .attention: try attention()
    }
  }

  private static func arithmetic() throws -> FormCase {
    FormCase(
      shape: [4, 5],
      functions: [
        { try $0 + $0 * 2 }, { try 3 - $0 }, { try $0 - 0.5 }, { try $0 - $0.squared() }, { try $0 / 3 },
        { try $0 / ($0.absolute() + 1) }, { try 1 / ($0.absolute() + 1) }, { try -$0 }, { try $0.exponential() },
        { try ($0.absolute() + 0.1).logarithm() }, { try $0.absolute().squareRoot() }, { try $0.rounded() },
        { try $0.absolute().power(1.5) }, { try $0.clamped(from: -1, to: 0.5) }, { try $0.clamped(to: 0.5) },
        { try $0.minimum($0 * 2) }, { try $0.maximum($0 * 2) }, { try $0.logAddExp(-$0 * 40) },
        { try $0.to(.int64) + 1 }, { try $0.to(.int64) * $0.to(.int64) }, { try $0.to(.int64) / 2 },
        { try $0.to(.int64) + $0 },
      ])
  }

  private static func activations() throws -> FormCase {
    FormCase(
      shape: [4, 5],
      functions: [
        { try ($0 * 4).relu() }, { try ($0 * 4).relu6() }, { try $0.leakyReLU(slope: 0.3) }, { try $0.gelu() },
        { try $0.gelu(approximate: true) }, { try $0.silu() }, { try $0.sigmoid() }, { try $0.tanh() },
        { try ($0 * 3).hardSwish() }, { try ($0 * 3).hardSigmoid() }, { try $0.elu(alpha: 0.7) },
        { try ($0 * 15).softplus() }, { try $0.softmax(along: 1) }, { try $0.logSoftmax() },
      ])
  }

  private static func comparisons() throws -> FormCase {
    FormCase(
      shape: [4, 5],
      functions: [
        { try $0.isGreater(than: 0.2) }, { try $0.isLess(than: 0) }, { try $0.isAtLeast(-0.5) },
        { try $0.isGreater(than: $0 * $0) }, { try $0.rounded().equals(1) }, { try $0.rounded().differs(from: 1) },
        { try $0.rounded().equals($0.absolute().rounded()) }, { try $0.to(.int64).equals(0.5) },
        { try $0.to(.int64).isGreater(than: 0) },
        { try $0.isGreater(than: 0).and($0.isLess(than: 1)) }, { try $0.isGreater(than: 0).not() },
        { try $0.isGreater(than: 0).choose($0, $0 * -3) },
        { try $0.masked(where: $0.isLess(than: 0), with: -7) },
      ])
  }

  private static func shapes() throws -> FormCase {
    FormCase(
      shape: [4, 6],
      functions: [
        { try $0.reshaped([$0.size(0), 8, 3]).transposed(1, 2) }, { try $0.permuted([0, 2, 1]) },
        // The batch in a dimension that is more, and as it was.
        { try $0.reshaped([$0.size(0) * 4, 6]).softmax().reshaped([$0.size(0), 24]) },
        { try $0.transposed(0, 1).reshaped([4, $0.size(0) * 6]).reshaped([4, $0.size(0), 6]).transposed(0, 1) },
        { try $0.expandedDimension(at: 2).broadcast(to: [$0.size(0), 4, 3, 6]) },
        { try $0.sliced(1, from: 1, to: 3) }, { try $0.sliced(2, from: -2, to: 6) }, { try $0.selected(1, -1) },
        { try $0.gathered(Tensor([3, 0, 0]), along: 1) },
        { try $0.picked($0.argumentOfMaximum(along: 2).expandedDimension(at: 2), along: 2) },
        { try $0.overwritten(at: $0.argumentOfMaximum(along: 2).expandedDimension(at: 2), along: 2, with: 9) },
        { try Tensor.concatenated([$0, $0 * 2], along: 2) }, { try Tensor.stacked([$0, $0 * 2], along: 1) },
        { try $0.split(4, along: 2)[1] }, { try $0.split(2, along: 1)[0] }, { try $0.flipped(1, 2) },
        { try $0.padded([1, 2, 0, 1], with: 0.5) }, { try $0.selected(1, 0).expandedDimension(at: 1).squeezed(1) },
        { try $0.selected(1, 0).expandedDimension(at: 1) + Tensor.zeros([$0.size(0), 2, 6]) },
        { try $0 + Tensor.full([$0.size(0), 4, 1], 2.5) + $0.zerosLike() - $0.onesLike() },
        { try $0.absolute().to(.int64).oneHot(classCount: 3) },
      ])
  }

  private static func reductions() throws -> FormCase {
    FormCase(
      shape: [4, 6],
      functions: [
        { try $0.sum(along: 1) }, { try $0.sum(along: 1, 2, keepDimensions: true) }, { try $0.mean(along: -1) },
        { try $0.isGreater(than: 0).sum(along: 1) }, { try $0.variance(along: 2) },
        { try $0.variance(along: 1, 2, correction: 0, keepDimensions: true) },
        { try $0.maximum(along: 2) }, { try $0.minimum(along: 1, keepDimensions: true) },
        { try $0.argumentOfMaximum(along: 1) }, { try $0.logSumExp(along: 2) }, { try $0.cumulativeSum(along: 2) },
        { try $0.topK(3).values }, { try $0.topK(2, along: 1).indices },
        { try $0.norm(along: 2) }, { try $0.norm(along: 1, 2, keepDimensions: true) },
      ])
  }

  private static func windows() throws -> FormCase {
    let norm = try GroupNorm(4, groups: 2)
    return FormCase(
      shape: [4, 12, 9],
      functions: [
        { try $0.maxPool2d([3, 2], stride: [2, 2], padding: [1, 0]) },
        { try $0.avgPool2d([3, 3], stride: [2, 1], padding: [1, 1]) }, { try $0.adaptiveAvgPool2d([1, 1]) },
        { try $0.adaptiveAvgPool2d([4, 3]) }, { try $0.adaptiveAvgPool2d([5, 4]) },
        { try $0.adaptiveMaxPool2d([6, 3]) }, { try $0.adaptiveMaxPool2d([1, 1]) },
        { try $0.resizedToNearest([24, 18]) },
        { try norm($0) }, { try $0.selected(1, 0).maxPool1d(3, stride: 2, padding: 1) },
        { try $0.selected(1, 1).avgPool1d(2, stride: 2, padding: 0) }, { try $0.selected(1, 2).adaptiveAvgPool1d(4) },
      ], inner: [norm])
  }

  private static func normalizationAndProducts() throws -> FormCase {
    let (layer, convolution) = (try LayerNorm(6), try Conv1d(4, 5, kernel: 3, padding: 1, dilation: 1, groups: 1))
    let linear = try Linear(6, 3)
    return FormCase(
      shape: [4, 6],
      functions: [
        { try layer($0) }, { try convolution($0) }, { try linear($0) }, { try linear($0).relu() },
        { try $0.matmul($0.transposed(1, 2)) },
        { try layerNorm($0, shape: [4, 6], weight: nil, bias: nil, epsilon: 1e-3) },
      ], inner: [layer, convolution, linear])
  }

  private static func attention() throws -> FormCase {
    func heads(_ input: Tensor) throws -> Tensor { try input.reshaped([input.size(0), 5, 2, 4]).transposed(1, 2) }
    let allowed = try Tensor([true, true, false, true, false]).reshaped([1, 1, 1, 5])
    let mask = try Sample.numbers([5, 5])
    return FormCase(
      shape: [5, 8],
      functions: [
        {
          let x = try heads($0); return try scaledDotProductAttention(query: x, key: x * 2, value: x)
        },
        {
          let x = try heads($0); return try scaledDotProductAttention(query: x, key: x, value: x, isCausal: true)
        },
        {
          let x = try heads($0); return try scaledDotProductAttention(query: x, key: x, value: x, mask: allowed)
        },
        {
          let x = try heads($0); return try scaledDotProductAttention(query: x, key: x, value: x, mask: mask)
        },
      ])
  }
}
