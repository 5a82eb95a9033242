// x Wᵀ + b in float32 on the processor through oneDNN, which is part of libtorch.
//
// libtorch computes float32 matrix products with MKL, which does not use all that processors of other makes have; where
// they have AVX-512, oneDNN is more than twice as fast. The operator `distill::linear` takes it where that pays, and is
// `aten::linear` everywhere else.

#include <ATen/ATen.h>
#include <ATen/autocast_mode.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/library.h>

#include <optional>

namespace {

using Bias = std::optional<at::Tensor>;

/// Multiplications from which on the way through oneDNN pays.
constexpr int64_t worthwhile = 1 << 20;

const std::optional<c10::OperatorHandle>& onednn() {
  static const auto found = c10::Dispatcher::singleton().findSchema({"mkldnn::_linear_pointwise", ""});
  return found;
}

bool suits(const at::Tensor& tensor) {
  return tensor.scalar_type() == at::kFloat && tensor.device().is_cpu() && tensor.layout() == at::kStrided &&
         tensor.is_non_overlapping_and_dense() && !tensor.is_neg();
}

bool pays(const at::Tensor& input, const at::Tensor& weight, const Bias& bias) {
#if defined(__x86_64__)
  return input.dim() >= 2 && weight.dim() == 2 && input.size(-1) == weight.size(1) &&
         input.numel() * weight.size(0) >= worthwhile && suits(input) && suits(weight) &&
         (!bias || !bias->defined() || (bias->dim() == 1 && bias->size(0) == weight.size(0) && suits(*bias))) &&
         !at::autocast::is_autocast_enabled(at::kCPU) && at::globalContext().userEnabledMkldnn() && onednn();
#else
  (void)input, (void)weight, (void)bias;
  return false;
#endif
}

at::Tensor multiply(const at::Tensor& input, const at::Tensor& weight, const Bias& bias) {
  torch::jit::Stack stack{input, weight, bias && bias->defined() ? c10::IValue(*bias) : c10::IValue(), "none",
                          c10::List<std::optional<at::Scalar>>(), c10::IValue("")};
  onednn()->callBoxed(stack);
  return std::move(stack[0]).toTensor();
}

struct Linear : torch::autograd::Function<Linear> {
  static at::Tensor forward(torch::autograd::AutogradContext* context, const at::Tensor& input,
                            const at::Tensor& weight, const Bias& bias) {
    context->save_for_backward({input, weight});
    context->saved_data["bias"] = bias && bias->defined();
    return multiply(input, weight, bias);
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 torch::autograd::variable_list gradients) {
    const auto saved = context->get_saved_variables();
    const auto input = saved[0].reshape({-1, saved[0].size(-1)}), &weight = saved[1];
    const auto gradient = gradients[0].reshape({-1, weight.size(0)});
    // With a graph of the gradients themselves, everything has to be made of operators that have gradients.
    const bool differentiable = at::GradMode::is_enabled();
    at::Tensor input_gradient, weight_gradient, bias_gradient;
    if (context->needs_input_grad(0)) {
      input_gradient = differentiable ? gradient.matmul(weight) : multiply(gradient, weight.t(), std::nullopt);
      input_gradient = input_gradient.view(saved[0].sizes());
    }
    if (context->needs_input_grad(1)) {
      weight_gradient = differentiable ? gradient.t().matmul(input) : multiply(gradient.t(), input.t(), std::nullopt);
    }
    if (context->saved_data["bias"].toBool() && context->needs_input_grad(2)) bias_gradient = gradient.sum(0);
    return {input_gradient, weight_gradient, bias_gradient};
  }
};

at::Tensor linear(const at::Tensor& input, const at::Tensor& weight, const Bias& bias) {
  if (!pays(input, weight, bias)) return at::linear(input, weight, bias);
  const bool records = at::GradMode::is_enabled() && (input.requires_grad() || weight.requires_grad() ||
                                                      (bias && bias->defined() && bias->requires_grad()));
  return records ? Linear::apply(input, weight, bias) : multiply(input, weight, bias);
}

}  // namespace

TORCH_LIBRARY(distill, library) { library.def("linear(Tensor input, Tensor weight, Tensor? bias) -> Tensor", linear); }
