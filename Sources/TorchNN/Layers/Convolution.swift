import Torch

/// Convolution over one dimension.
///
/// `[N, inputChannels, L]` → `[N, outputChannels, L']` with
/// L' = ⌊(L + 2 · padding − dilation · (kernel − 1) − 1) / stride⌋ + 1. Each of `groups` groups of output channels sees
/// its own group of input channels. Initialized as in PyTorch: weight and bias uniform in ±1/√fan, where fan =
/// inputChannels / groups · kernel.
public final class Conv1d: Layer {
  /// `[outputChannels, inputChannels / groups, kernel]`
  @Parameter public var weight: Tensor
  /// `[outputChannels]`
  @Parameter public var bias: Tensor?

  public let stride: Int
  public let padding: Int
  public let dilation: Int
  public let groups: Int

  public init(
    _ inputChannels: Int, _ outputChannels: Int, kernel: Int, stride: Int = 1, padding: Int = 0, dilation: Int = 1,
    groups: Int = 1, bias: Bool = true
  ) throws {
    self.stride = stride
    self.padding = padding
    self.dilation = dilation
    self.groups = groups
    let drawn = try drawConvolution("Conv1d", inputChannels, outputChannels, kernel: [kernel], groups, bias)
    weight = drawn.weight
    self.bias = drawn.bias
  }

  public func forward(_ input: Tensor) throws -> Tensor {
    try convolution(
      input, weight: weight, bias: bias, stride: [stride], padding: [padding], dilation: [dilation], groups: groups)
  }
}

/// Convolution over two dimensions.
///
/// `[N, inputChannels, H, W]` → `[N, outputChannels, H', W']` with
/// H' = ⌊(H + 2 · padding − dilation · (kernel − 1) − 1) / stride⌋ + 1, and W' alike. Each of `groups` groups of output
/// channels sees its own group of input channels. Initialized as in PyTorch: weight and bias uniform in ±1/√fan, where
/// fan = inputChannels / groups · kernel height · kernel width.
public final class Conv2d: Layer {
  /// `[outputChannels, inputChannels / groups, kernel height, kernel width]`
  @Parameter public var weight: Tensor
  /// `[outputChannels]`
  @Parameter public var bias: Tensor?

  /// Along height and width, as `padding` and `dilation`.
  public let stride: [Int]
  public let padding: [Int]
  public let dilation: [Int]
  public let groups: Int

  /// With a square kernel, and the same stride, padding and dilation along height and width.
  public convenience init(
    _ inputChannels: Int, _ outputChannels: Int, kernel: Int, stride: Int = 1, padding: Int = 0, dilation: Int = 1,
    groups: Int = 1, bias: Bool = true
  ) throws {
    try self.init(
      inputChannels, outputChannels, kernel: [kernel, kernel], stride: [stride, stride], padding: [padding, padding],
      dilation: [dilation, dilation], groups: groups, bias: bias)
  }

  /// With two numbers each, for height and width.
  public init(
    _ inputChannels: Int, _ outputChannels: Int, kernel: [Int], stride: [Int] = [1, 1], padding: [Int] = [0, 0],
    dilation: [Int] = [1, 1], groups: Int = 1, bias: Bool = true
  ) throws {
    guard [kernel, stride, padding, dilation].allSatisfy({ $0.count == 2 }) else {
      throw TorchError(
        operation: "Conv2d",
        message: "kernel, stride, padding and dilation need two numbers each, for height and width")
    }
    self.stride = stride
    self.padding = padding
    self.dilation = dilation
    self.groups = groups
    let drawn = try drawConvolution("Conv2d", inputChannels, outputChannels, kernel: kernel, groups, bias)
    weight = drawn.weight
    self.bias = drawn.bias
  }

  public func forward(_ input: Tensor) throws -> Tensor {
    try convolution(
      input, weight: weight, bias: bias, stride: stride, padding: padding, dilation: dilation, groups: groups)
  }
}

extension Conv1d: MultiplyAddCounting {
  public func multiplyAdds(input: [Int], output: [Int]) -> Int {
    output.reduce(1, *) * weight.shape.dropFirst().reduce(1, *)
  }
}

extension Conv2d: MultiplyAddCounting {
  public func multiplyAdds(input: [Int], output: [Int]) -> Int {
    output.reduce(1, *) * weight.shape.dropFirst().reduce(1, *)
  }
}

/// The number of elements of a shape of positive sizes.
///
/// - Throws: `TorchError` when there are more than can be counted.
func product(_ sizes: [Int], in layer: String) throws -> Int {
  guard let product = product(sizes) else { throw TorchError(operation: layer, message: "too large: \(sizes)") }
  return product
}

/// The initial weight and bias of a convolution.
private func drawConvolution(
  _ layer: String, _ inputChannels: Int, _ outputChannels: Int, kernel: [Int], _ groups: Int, _ hasBias: Bool
) throws -> (weight: Tensor, bias: Tensor?) {
  guard inputChannels > 0, outputChannels > 0, groups > 0, kernel.allSatisfy({ $0 > 0 }) else {
    throw TorchError(
      operation: layer,
      message: "channels, groups and kernel must be positive, not \(inputChannels) → \(outputChannels) channels, "
        + "\(groups) groups, kernel \(kernel)")
  }
  guard inputChannels % groups == 0, outputChannels % groups == 0 else {
    throw TorchError(
      operation: layer, message: "\(groups) groups do not divide \(inputChannels) → \(outputChannels) channels")
  }
  let shape = [outputChannels, inputChannels / groups] + kernel
  let bound = 1 / Double(try product(shape, in: layer) / outputChannels).squareRoot()
  return (
    try Tensor.empty(shape).drawUniform(from: -bound, to: bound),
    hasBias ? try Tensor.empty([outputChannels]).drawUniform(from: -bound, to: bound) : nil
  )
}
