extension Operator {
  fileprivate static let make = Operator("distill::plan_make")
  fileprivate static let run = Operator("distill::plan_run")
  fileprivate static let deviation = Operator("distill::plan_deviation")
  fileprivate static let isCurrent = Operator("distill::plan_is_current")
  fileprivate static let counts = Operator("distill::plan_counts")
  fileprivate static let quantize = Operator("distill::plan_quantize")
  fileprivate static let release = Operator("distill::plan_release")
}

/// What a function of a batch computes, written down once as a list of operators and computed faster afterwards.
///
/// Batch normalization in evaluation is folded into the convolution or linear layer before it:
///
///     W′ = W · γ / √(σ² + ε),   b′ = (b − μ) · γ / √(σ² + ε) + β
///
/// and what follows a convolution, the addition of a residual and ReLU, is computed with it in one pass over memory. On the
/// processor convolutions run with the channels of a pixel side by side, with weights that were laid out once. Whatever
/// somebody else needs too, or the function gives, stays as it is.
///
/// The function is called with two small batches of different sizes. Where it calls other operators for one than for the
/// other, looks at numbers, draws random ones or changes a tensor, there is no plan. No tensor of the function is changed;
/// the plan has its own folded weights, of the time when it was made.
public final class FrozenPlan {
  /// What was made faster.
  public struct Counts: Sendable, Hashable {
    /// Batch normalizations that are gone.
    public var foldedNormalizations: Int
    /// Additions and activations that are computed with the product before them.
    public var fused: Int
    /// Convolutions and linear layers that are computed in int8.
    public var quantizedProducts: Int
  }

  private let number: Int

  /// Weights are laid out for batches of this size, whatever the first one has: how sums are rounded must not hang on it.
  private static let layoutBatch = 64

  /// - Parameters:
  ///   - inputs: a batch as those that will come; later ones may have another number of examples
  ///   - type: what convolutions and linear layers are computed in; `.bfloat16` needs to be run inside
  ///     `withAutocast(.bfloat16)`, where what is no such product is computed as it is there
  ///   - channelsLast: whether images lie with the channels of a pixel side by side while it runs
  ///   - function: gives its outputs for a batch; called without gradient
  /// - Throws: `TorchError` when the function throws, or cannot be written down.
  public init(
    like inputs: Tensor, type: DType = .float32, channelsLast: Bool = true, of function: (Tensor) throws -> [Tensor]
  ) throws {
    number = try withoutGradient {
      let (first, second) = try Recordings.make(like: inputs, allowsUnusedRandomness: false, of: function)
      return Int(try Dispatcher.call(.make, first, second, type, channelsLast, Self.layoutBatch).item())
    }
  }

  deinit { try? Dispatcher.callForEffect(.release, number) }

  /// What the function would give for a batch, without gradient.
  ///
  /// - Throws: `TorchError` when examples have another shape or type than those that it was made with.
  public func callAsFunction(_ inputs: Tensor) throws -> [Tensor] {
    try withoutGradient { try Dispatcher.callList(.run, number, inputs) }
  }

  /// How far its outputs are from the function's own, for the few examples that it was made with: the largest difference
  /// divided by the largest number of an output.
  public func deviation() throws -> Double { try Dispatcher.call(.deviation, number).item() }

  /// Whether the tensors that the function had when the plan was made still hold the same numbers, as far as libtorch counts
  /// their changes. A tensor that was put in another's place is not seen.
  public var isCurrent: Bool {
    get throws { try Dispatcher.call(.isCurrent, number).item() == 1 }
  }

  /// What was made faster, by kind; quantized products only from `quantize(calibratedOn:)` on.
  ///
  /// - Throws: `TorchError` when the plan cannot be asked, such as when memory runs out.
  public var counts: Counts {
    get throws {
      let numbers: [Int64] = try Dispatcher.call(.counts, number).array()
      return Counts(
        foldedNormalizations: Int(numbers[0]), fused: Int(numbers[1]), quantizedProducts: Int(numbers[2]))
    }
  }

  /// Quantizes convolutions and linear layers to eight bits: they are computed in int8 from now on, on a processor.
  ///
  /// Weights are int8 with a scale for each output channel, w ≈ s_c · q with q from −127 to 127; what products read and give
  /// is uint8 with one scale and one zero point for all of it, x ≈ s · (q − z) with q from 0 to 255, from the smallest and
  /// the largest number seen for these examples. A small linear layer that gives the outputs stays in float32.
  ///
  /// Jacob et al.: Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference. 2018.
  ///
  /// - Parameter examples: some that are like those to come: what is beyond their range is cut off
  /// - Throws: `TorchError` when this libtorch has no such products, or a value is not finite.
  public func quantize(calibratedOn examples: Tensor) throws {
    try withoutGradient { try Dispatcher.callForEffect(.quantize, number, examples) }
  }
}
