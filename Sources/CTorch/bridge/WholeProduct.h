// oneDNN's product of whole matrices, which puts the weights in order first: for layers with many of them it is the fastest
// that libtorch has on processors with AVX-512, but libtorch takes another one by itself.

#pragma once

#include <ATen/ATen.h>
#include <ATen/core/dispatch/Dispatcher.h>

#include <optional>
#include <utility>

namespace bridge {

/// x Wᵀ + b, and max(0, …) if wanted; nothing where this libtorch has no such operator.
inline std::optional<at::Tensor> whole_product(const at::Tensor& x, const at::Tensor& weight,
                                               const std::optional<at::Tensor>& bias, bool cuts) {
  static const auto found = c10::Dispatcher::singleton().findSchema({"mkldnn::_linear_pointwise", ""});
  if (!found) return std::nullopt;
  torch::jit::Stack stack{x, weight, bias && bias->defined() ? c10::IValue(*bias) : c10::IValue(),
                          cuts ? "relu" : "none", c10::List<std::optional<at::Scalar>>(), c10::IValue("")};
  found->callBoxed(stack);
  return std::move(stack[0]).toTensor();
}

}  // namespace bridge
