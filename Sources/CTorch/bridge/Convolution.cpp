// Convolutions of 3×3 windows in bfloat16 on processors with AVX512-BF16.
//
// libtorch has oneDNN compute these. For the few channels of networks on small images, its kernels leave a part of what
// the processor can do unused, above all where the gradient of the weights is computed. `distill::convolution` has
// kernels of its own for that case: bfloat16, or float32 under mixed precision, the channels of a pixel side by side,
// windows of 3×3 with a padding of 1, channels in sixteens and not many. Products are added up in float32. Everything
// else is libtorch's convolution: other shapes, types and devices, and processors with AMX, for which oneDNN has better.

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <ATen/autocast_mode.h>
#include <ATen/cpu/Utils.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/library.h>

#include <optional>
#include <tuple>

#include "ConvolutionPairs.h"

namespace {

using Optional = std::optional<at::Tensor>;

/// By the operator of the rank, since mixed precision knows these, and not `aten::convolution`.
at::Tensor by_libtorch(const at::Tensor& input, const at::Tensor& weight, const Optional& bias, at::IntArrayRef stride,
                       at::IntArrayRef padding, at::IntArrayRef dilation, int64_t groups) {
  if (weight.dim() == 3) return at::conv1d(input, weight, bias, stride, padding, dilation, groups);
  return at::conv2d(input, weight, bias, stride, padding, dilation, groups);
}

#if defined(BRIDGE_PAIRS)

using namespace bridge;
using Sizes = ConvolutionSizes;

/// The channels of which the kernels take so many at a time.
constexpr int64_t lanes = 16;
/// Channels up to which these are faster than oneDNN's, which keeps more of many channels in the processor's caches.
constexpr int64_t most_channels = 64;

bool processor_suits() {
  static const bool suits = [] {
    const auto known = at::cpu::get_cpu_capabilities();
    const auto has = [&](const char* name) {
      const auto found = known.find(name);
      return found != known.end() && found->second.isBool() && found->second.toBool();
    };
    return has("avx512_f") && has("avx512_bf16") && !has("amx_bf16");
  }();
  return suits;
}

bool all_are(at::IntArrayRef numbers, int64_t value) {
  return numbers.size() == 2 && numbers[0] == value && numbers[1] == value;
}

bool suits(const at::Tensor& input, const at::Tensor& weight, const Optional& bias, at::IntArrayRef stride,
           at::IntArrayRef padding, at::IntArrayRef dilation, int64_t groups) {
  if (groups != 1 || (bias && bias->defined()) || input.dim() != 4 || weight.dim() != 4) return false;
  if (!input.device().is_cpu() || !weight.device().is_cpu() || input.layout() != at::kStrided) return false;
  if (!all_are(padding, 1) || !all_are(dilation, 1) || !(all_are(stride, 1) || all_are(stride, 2))) return false;
  if (weight.size(2) != 3 || weight.size(3) != 3 || weight.size(1) != input.size(1)) return false;
  if (weight.size(0) % lanes != 0 || weight.size(1) % lanes != 0 || input.size(0) == 0) return false;
  if (weight.size(0) > most_channels || weight.size(1) > most_channels) return false;
  if (input.size(2) < 2 || input.size(3) < 8 || input.size(0) < at::get_num_threads()) return false;
  if (!processor_suits()) return false;
  const bool mixed = at::autocast::is_autocast_enabled(at::kCPU);
  if (mixed && at::autocast::get_autocast_dtype(at::kCPU) != at::kBFloat16) return false;
  const auto type_suits = [&](const at::Tensor& tensor) {
    return tensor.scalar_type() == at::kBFloat16 || (mixed && tensor.scalar_type() == at::kFloat);
  };
  return type_suits(input) && type_suits(weight) && weight.is_non_overlapping_and_dense() &&
         input.is_contiguous(at::MemoryFormat::ChannelsLast) && !input.is_neg() && !weight.is_neg();
}

Sizes sizes_of(const at::Tensor& input, const at::Tensor& weight, int64_t stride) {
  return {input.size(0), input.size(2), input.size(3), weight.size(1), weight.size(0), stride};
}

struct Convolution : torch::autograd::Function<Convolution> {
  static at::Tensor forward(torch::autograd::AutogradContext* context, const at::Tensor& input,
                            const at::Tensor& weight, int64_t stride) {
    context->save_for_backward({input, weight});
    context->saved_data["stride"] = stride;
    return convolution_outputs(input, weight, sizes_of(input, weight, stride), false);
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 const torch::autograd::variable_list& given) {
    const auto saved = context->get_saved_variables();
    const auto &input = saved[0], &weight = saved[1];
    const int64_t stride = context->saved_data["stride"].toInt();
    const bool wants_input = context->needs_input_grad(0), wants_weight = context->needs_input_grad(1);
    at::Tensor input_gradient, weight_gradient;
    if (at::GradMode::is_enabled()) {
      // With a graph of the gradients themselves, everything has to be made of operators that have gradients.
      at::Tensor none;
      std::tie(input_gradient, weight_gradient, none) = at::convolution_backward(
          given[0], input, weight.to(at::kBFloat16), std::nullopt, {stride, stride}, {1, 1}, {1, 1}, false, {0, 0}, 1,
          {wants_input, wants_weight, false});
    } else {
      const Sizes sizes = sizes_of(input, weight, stride);
      const auto gradient = given[0].contiguous(at::MemoryFormat::ChannelsLast);
      if (wants_input && stride == 1) {
        const Sizes turned{sizes.images, sizes.rows, sizes.columns, sizes.outputs, sizes.inputs, 1};
        input_gradient = convolution_outputs(gradient, weight, turned, true);
      } else if (wants_input) {
        input_gradient = convolution_strided_input_gradient(gradient, weight, sizes);
      }
      if (wants_weight) weight_gradient = convolution_weight_gradient(input, gradient, weight, sizes);
    }
    if (weight_gradient.defined()) weight_gradient = weight_gradient.to(weight.scalar_type());
    return {input_gradient, weight_gradient, {}};
  }
};

at::Tensor convolution(const at::Tensor& input, const at::Tensor& weight, const Optional& bias, at::IntArrayRef stride,
                       at::IntArrayRef padding, at::IntArrayRef dilation, int64_t groups) {
  if (!suits(input, weight, bias, stride, padding, dilation, groups))
    return by_libtorch(input, weight, bias, stride, padding, dilation, groups);
  const auto halves = input.to(at::kBFloat16);
  const bool records = at::GradMode::is_enabled() && (halves.requires_grad() || weight.requires_grad());
  return records ? Convolution::apply(halves, weight, stride[0])
                 : convolution_outputs(halves, weight, sizes_of(halves, weight, stride[0]), false);
}

#else

at::Tensor convolution(const at::Tensor& input, const at::Tensor& weight, const Optional& bias, at::IntArrayRef stride,
                       at::IntArrayRef padding, at::IntArrayRef dilation, int64_t groups) {
  return by_libtorch(input, weight, bias, stride, padding, dilation, groups);
}

#endif

}  // namespace

TORCH_LIBRARY_FRAGMENT(distill, library) {
  library.def(
      "convolution(Tensor input, Tensor weight, Tensor? bias, int[] stride, int[] padding, int[] dilation, int groups) "
      "-> Tensor",
      convolution);
}
