import Torch

/// What layers that pool windows have in common: the windows.
public class WindowPooling {
  public let kernel: Int
  public let stride: Int
  public let padding: Int

  /// - Parameter stride: the kernel's size unless it is given
  public init(_ kernel: Int, stride: Int? = nil, padding: Int = 0) {
    self.kernel = kernel
    self.stride = stride ?? kernel
    self.padding = padding
  }
}

/// The maximum of each window: `[N, C, H, W]` → `[N, C, H', W']`.
public final class MaxPool2d: WindowPooling, Layer {
  public func forward(_ input: Tensor) throws -> Tensor {
    try input.maxPool2d([kernel, kernel], stride: [stride, stride], padding: [padding, padding])
  }
}

/// The mean of each window, padding counted as zeros: `[N, C, H, W]` → `[N, C, H', W']`.
public final class AvgPool2d: WindowPooling, Layer {
  public func forward(_ input: Tensor) throws -> Tensor {
    try input.avgPool2d([kernel, kernel], stride: [stride, stride], padding: [padding, padding])
  }
}

/// The means of equal parts: `[N, C, H, W]` → `[N, C, height, width]`.
public final class AdaptiveAvgPool2d: Layer {
  public let height: Int
  public let width: Int

  public init(height: Int, width: Int) {
    self.height = height
    self.width = width
  }

  public convenience init(_ size: Int) { self.init(height: size, width: size) }

  public func forward(_ input: Tensor) throws -> Tensor { try input.adaptiveAvgPool2d([height, width]) }
}

/// The mean of each channel: `[N, C, H, W]` → `[N, C]`.
public final class GlobalAvgPool2d: Layer {
  public init() {}
  public func forward(_ input: Tensor) throws -> Tensor { try input.mean(along: -1, -2) }
}

/// The maximum of each channel: `[N, C, H, W]` → `[N, C]`.
public final class GlobalMaxPool2d: Layer {
  public init() {}
  public func forward(_ input: Tensor) throws -> Tensor { try input.maximum(along: -1, -2) }
}

/// The maximum of each window: `[N, C, L]` → `[N, C, L']`.
public final class MaxPool1d: WindowPooling, Layer {
  public func forward(_ input: Tensor) throws -> Tensor {
    try input.maxPool1d(kernel, stride: stride, padding: padding)
  }
}

/// The mean of each window, padding counted as zeros: `[N, C, L]` → `[N, C, L']`.
public final class AvgPool1d: WindowPooling, Layer {
  public func forward(_ input: Tensor) throws -> Tensor {
    try input.avgPool1d(kernel, stride: stride, padding: padding)
  }
}

/// The means of equal parts: `[N, C, L]` → `[N, C, length]`.
public final class AdaptiveAvgPool1d: Layer {
  public let length: Int

  public init(_ length: Int) { self.length = length }

  public func forward(_ input: Tensor) throws -> Tensor { try input.adaptiveAvgPool1d(length) }
}

/// The mean of each channel: `[N, C, L]` → `[N, C]`.
public final class GlobalAvgPool1d: Layer {
  public init() {}
  public func forward(_ input: Tensor) throws -> Tensor { try input.mean(along: -1) }
}

/// The maximum of each channel: `[N, C, L]` → `[N, C]`.
public final class GlobalMaxPool1d: Layer {
  public init() {}
  public func forward(_ input: Tensor) throws -> Tensor { try input.maximum(along: -1) }
}
