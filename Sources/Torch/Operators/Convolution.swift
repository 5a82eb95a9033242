extension Operator {
  fileprivate static let trainedConvolution = Operator("distill::convolution")
  fileprivate static let conv1d = Operator("aten::conv1d")
  fileprivate static let conv2d = Operator("aten::conv2d")
  fileprivate static let maxPool2d = Operator("aten::max_pool2d")
  fileprivate static let avgPool2d = Operator("aten::avg_pool2d")
  fileprivate static let adaptiveAvgPool2d = Operator("aten::adaptive_avg_pool2d")
  fileprivate static let adaptiveMaxPool2d = Operator("aten::adaptive_max_pool2d")
  fileprivate static let upsampleNearest2d = Operator("aten::upsample_nearest2d")
  fileprivate static let maxPool1d = Operator("aten::max_pool1d")
  fileprivate static let avgPool1d = Operator("aten::avg_pool1d")
  fileprivate static let adaptiveAvgPool1d = Operator("aten::adaptive_avg_pool1d")
}

/// Convolution over one or two dimensions, after the rank of `weight`.
///
/// - Parameters:
///   - input: `[N, C, L]` or `[N, C, H, W]`
///   - weight: `[out, C / groups, kernel]` or `[out, C / groups, kernel, kernel]`
///   - bias: `[out]`
///   - stride: one number per dimension, as for `padding` and `dilation`
public func convolution(
  _ input: Tensor, weight: Tensor, bias: Tensor?, stride: [Int], padding: [Int], dilation: [Int], groups: Int
) throws -> Tensor {
  // What is not trained is left to libtorch, whose operators say more to what looks at frozen models.
  let convolution =
    try Autograd.isRecording ? Operator.trainedConvolution : stride.count == 1 ? Operator.conv1d : Operator.conv2d
  return try Dispatcher.call(convolution, input, weight, bias, stride, padding, dilation, groups)
}

extension Tensor {
  /// The maximum of each window of a `[N, C, H, W]` tensor.
  public func maxPool2d(_ kernel: [Int], stride: [Int], padding: [Int]) throws -> Tensor {
    try Dispatcher.call(.maxPool2d, self, kernel, stride, padding)
  }
  /// The mean of each window of a `[N, C, H, W]` tensor.
  public func avgPool2d(_ kernel: [Int], stride: [Int], padding: [Int]) throws -> Tensor {
    try Dispatcher.call(.avgPool2d, self, kernel, stride, padding)
  }
  /// The means of equal parts of a `[N, C, H, W]` tensor: `[N, C, output[0], output[1]]`.
  public func adaptiveAvgPool2d(_ output: [Int]) throws -> Tensor {
    try Dispatcher.call(.adaptiveAvgPool2d, self, output)
  }
  /// A `[N, C, H, W]` tensor at another size, `[N, C, output[0], output[1]]`: each place takes the number of the nearest
  /// one before it.
  public func resizedToNearest(_ output: [Int]) throws -> Tensor {
    try Dispatcher.call(.upsampleNearest2d, self, output, Double?.none, Double?.none)
  }
  /// The maxima of equal parts of a `[N, C, H, W]` tensor: `[N, C, output[0], output[1]]`.
  public func adaptiveMaxPool2d(_ output: [Int]) throws -> Tensor {
    try Dispatcher.callTuple(.adaptiveMaxPool2d, self, output).pair("adaptive_max_pool2d").0
  }
  /// The maximum of each window of a `[N, C, L]` tensor.
  public func maxPool1d(_ kernel: Int, stride: Int, padding: Int) throws -> Tensor {
    try Dispatcher.call(.maxPool1d, self, [kernel], [stride], [padding])
  }
  /// The mean of each window of a `[N, C, L]` tensor.
  public func avgPool1d(_ kernel: Int, stride: Int, padding: Int) throws -> Tensor {
    try Dispatcher.call(.avgPool1d, self, [kernel], [stride], [padding])
  }
  /// The means of equal parts of a `[N, C, L]` tensor: `[N, C, output]`.
  public func adaptiveAvgPool1d(_ output: Int) throws -> Tensor {
    try Dispatcher.call(.adaptiveAvgPool1d, self, [output])
  }
}
