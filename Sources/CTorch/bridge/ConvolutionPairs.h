// Convolutions of 3×3 windows in bfloat16 on processors with AVX512-BF16: see Convolution.cpp.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

#if defined(__x86_64__) && defined(__GNUC__)
#define BRIDGE_PAIRS 1
#endif

namespace bridge {

/// Channels come in sixteens; the padding is 1.
struct ConvolutionSizes {
  int64_t images, rows, columns, inputs, outputs, stride;

  int64_t output_rows() const { return (rows - 1) / stride + 1; }
  int64_t output_columns() const { return (columns - 1) / stride + 1; }
};

/// - Parameters:
///   - input: `[images, inputs, rows, columns]` in bfloat16, channels last
///   - weight: `[outputs, inputs, 3, 3]` in float32 or bfloat16
///   - flipped: whether this is the gradient of what came in: `input` is that of what went out, whose channels `sizes`
///     has as inputs, `weight` is the convolution's own, `[inputs, outputs, 3, 3]`, and the stride is 1
/// - Returns: in bfloat16, channels last
at::Tensor convolution_outputs(const at::Tensor& input, const at::Tensor& weight, const ConvolutionSizes& sizes,
                               bool flipped);

/// The gradient of what came in where the stride is 2, in bfloat16, channels last.
///
/// - Parameters:
///   - gradient: of what went out, alike
///   - sizes: the convolution's own
at::Tensor convolution_strided_input_gradient(const at::Tensor& gradient, const at::Tensor& weight,
                                              const ConvolutionSizes& sizes);

/// The gradient of the weights in float32, with the layout of `weight`.
///
/// - Parameters:
///   - input: what came in, in bfloat16, channels last
///   - gradient: of what went out, alike
at::Tensor convolution_weight_gradient(const at::Tensor& input, const at::Tensor& gradient, const at::Tensor& weight,
                                       const ConvolutionSizes& sizes);

}  // namespace bridge
