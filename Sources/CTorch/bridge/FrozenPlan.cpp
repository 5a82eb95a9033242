// A frozen model made fast: batch normalization is folded into the convolution or linear layer before it, and residual
// additions and ReLU are computed with the product, in one pass over memory, by oneDNN, whose weights are laid out once.
//
// The model's own tensors stay as they are. What is folded has the weights that the model had; `distill::plan_is_current`
// says whether it still has them.

#include <ATen/autocast_mode.h>
#include <c10/core/impl/LocalDispatchKeySet.h>
#include <torch/library.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <mutex>
#include <set>

#include "FrozenPlan.h"

namespace bridge {
namespace {

/// A linear layer that gives the outputs is computed in float32 up to so many weights: that costs little, and what is
/// rounded there is what is learnt from.
constexpr int64_t few_weights = 1 << 20;

/// With the channels of a pixel side by side, and strides that say so even where there is one channel or one pixel.
at::Tensor in_channels_last(const at::Tensor& tensor) {
  const auto dense = tensor.contiguous(at::MemoryFormat::ChannelsLast);
  const auto c = dense.size(1), h = dense.size(2), w = dense.size(3);
  const std::vector<int64_t> strides{h * w * c, 1, w * c, c};
  return dense.strides() == strides ? dense : dense.as_strided(dense.sizes(), strides);
}

// MARK: From calls to products

bool is_reference(const Call& call, size_t argument) {
  return std::any_of(call.references.begin(), call.references.end(),
                     [&](const Reference& reference) { return reference.argument == argument; });
}

bool is_fixed(const Call& call, size_t argument) {
  const auto& value = call.arguments[argument];
  return value.isTensor() && !is_reference(call, argument) && value.toTensor().is_floating_point();
}

bool is_fixed_or_none(const Call& call, size_t argument) {
  return call.arguments[argument].isNone() || is_fixed(call, argument);
}

at::Tensor tensor_or_none(const c10::IValue& value) { return value.isNone() ? at::Tensor() : value.toTensor(); }

/// The product that a call computes, with weights that are fixed.
std::optional<Product> product_of(const Call& call) {
  const auto name = call.name();
  const bool is_convolution = name == "aten::convolution", is_plain = name == "aten::conv2d" || name == "aten::conv1d";
  const bool is_active = name == "distill::linear_relu";
  const bool is_linear = name == "aten::linear" || name == "distill::linear" || is_active;
  if (!is_convolution && !is_plain && !is_linear) return std::nullopt;
  if (!is_reference(call, 0) || !is_fixed(call, 1) || !is_fixed_or_none(call, 2) || !call.multiples.empty())
    return std::nullopt;
  Product product;
  product.is_linear = is_linear;
  if (is_active) product.activation = Product::Activation::relu;
  product.input = call.references[0].value;
  product.weight = call.arguments[1].toTensor();
  product.bias = tensor_or_none(call.arguments[2]);
  if (is_linear) return product;
  if (!call.arguments[4].isIntList() || (is_convolution && call.arguments[6].toBool())) return std::nullopt;
  const auto dimensions = static_cast<size_t>(product.weight.dim() - 2);
  const auto numbers = [&](size_t argument) {
    auto list = call.arguments[argument].toIntVector();
    if (list.size() == 1) list.resize(dimensions, list[0]);
    return list;
  };
  product.stride = numbers(3), product.padding = numbers(4), product.dilation = numbers(5);
  product.groups = call.arguments[is_convolution ? 8 : 6].toInt();
  return product;
}

/// The normalization (x − mean) / √(variance + ε) · weight + bias taken into weight and bias of what comes before it.
void fold(Product& product, const Call& normalization) {
  const auto& given = normalization.arguments;
  const auto type = product.weight.scalar_type();
  const auto mean = given[3].toTensor().to(at::kDouble), variance = given[4].toTensor().to(at::kDouble);
  auto scale = (variance + given[7].toDouble()).rsqrt();
  if (!given[1].isNone()) scale = scale * given[1].toTensor().to(at::kDouble);
  auto bias = product.bias.defined() ? product.bias.to(at::kDouble) - mean : -mean;
  bias = bias * scale;
  if (!given[2].isNone()) bias = bias + given[2].toTensor().to(at::kDouble);
  std::vector<int64_t> rows(static_cast<size_t>(product.weight.dim()), 1);
  rows[0] = -1;
  product.weight = (product.weight.to(at::kDouble) * scale.view(rows)).to(type);
  product.bias = bias.to(type);
}

bool is_normalization(const Call& call, const std::vector<int64_t>& shape) {
  return call.name() == "aten::batch_norm" && shape.size() >= 2 && is_reference(call, 0) && is_fixed_or_none(call, 1) &&
         is_fixed_or_none(call, 2) && is_fixed(call, 3) && is_fixed(call, 4) && !call.arguments[5].toBool();
}

/// Puts what follows products and is needed by nobody else into them.
void fuse(Plan& plan) {
  auto& steps = plan.steps;
  const auto& graph = plan.graph;
  std::vector<std::vector<size_t>> readers(graph.shapes.size());
  for (size_t i = 0; i < steps.size(); i++)
    for (const auto& reference : steps[i].call.references) readers[reference.value].push_back(i);
  const std::set<size_t> outputs(graph.outputs.begin(), graph.outputs.end());
  std::vector<bool> gone(steps.size());
  for (size_t i = 0; i < steps.size(); i++) {
    if (gone[i] || steps[i].product) continue;
    auto product = product_of(steps[i].call);
    if (!product) continue;
    size_t place = i, value = steps[i].results[0];
    while (!outputs.contains(value) && readers[value].size() == 1) {
      const size_t next = readers[value][0];
      // A sum of two products is computed with the first of them.
      if (gone[next] || steps[next].product) break;
      const auto& call = steps[next].call;
      const auto name = call.name();
      const bool is_plain = product->activation == Product::Activation::none;
      if (is_plain && !product->addend && is_normalization(call, graph.shapes[value]) &&
          (!product->is_linear || graph.shapes[value].size() == 2)) {
        fold(*product, call);
        plan.folded++;
      } else if (is_plain && name == "aten::relu") {
        product->activation = Product::Activation::relu;
        plan.fused++;
      } else if (is_plain && name == "aten::relu6") {
        product->activation = Product::Activation::relu6;
        plan.fused++;
      } else if (is_plain && !product->addend && !product->is_linear && name == "aten::add" &&
                 call.references.size() == 2 && call.arguments[2].toScalar().equal(1)) {
        const size_t other = call.references[call.references[0].value == value ? 1 : 0].value;
        if (graph.shapes[other] != graph.shapes[value] || graph.types[other] != graph.types[value]) break;
        product->addend = other;
        plan.fused++;
      } else {
        break;
      }
      gone[place] = true;
      gone[next] = false;
      place = next;
      value = steps[next].results[0];
    }
    steps[place].product = std::move(product);
    gone[place] = false;
  }
  std::vector<Step> left;
  for (size_t i = 0; i < steps.size(); i++)
    if (!gone[i]) left.push_back(std::move(steps[i]));
  steps = std::move(left);
}

/// Notes after which step nobody needs a value.
void find_ends(Plan& plan) {
  std::set<size_t> needed(plan.graph.outputs.begin(), plan.graph.outputs.end());
  for (auto step = plan.steps.rbegin(); step != plan.steps.rend(); ++step) {
    std::vector<size_t> read;
    if (step->product) {
      read.push_back(step->product->input);
      if (step->product->addend) read.push_back(*step->product->addend);
    } else {
      for (const auto& reference : step->call.references) read.push_back(reference.value);
    }
    step->done.clear();
    for (const size_t value : step->results)
      if (needed.insert(value).second) step->done.push_back(value);
    for (const size_t value : read)
      if (needed.insert(value).second) step->done.push_back(value);
  }
}

// MARK: Computing

bool onednn_computes(const Plan& plan, const Product& product) {
  return !product.is_linear && product.weight.dim() == 4 && product.weight.device().is_cpu() &&
         product.weight.scalar_type() == at::kFloat && (plan.type == at::kFloat || plan.type == at::kBFloat16) &&
         at::globalContext().userEnabledMkldnn() && find("mkldnn::_convolution_pointwise") &&
         find("mkldnn::_convolution_pointwise", "binary") && find("mkldnn::_reorder_convolution_weight");
}

at::Tensor compute_with_onednn(const Plan& plan, const Product& product, at::Tensor input, at::Tensor addend) {
  const c10::impl::ExcludeDispatchKeyGuard no_autocast(c10::autocast_dispatch_keyset);
  static const auto plain = find("mkldnn::_convolution_pointwise");
  static const auto binary = find("mkldnn::_convolution_pointwise", "binary");
  const auto ready = [&](const at::Tensor& tensor) {
    const auto typed = tensor.to(plan.type);
    return plan.channels_last ? in_channels_last(typed) : typed.contiguous();
  };
  input = ready(input);
  if (!addend.defined())
    return call_one(*plain, {input, product.packed, optional(product.packed_bias), product.padding, product.stride,
                             product.dilation, product.groups, attribute(product), limits(product), c10::IValue("")});
  const bool is_active = product.activation != Product::Activation::none;
  return call_one(*binary, {input, ready(addend), product.packed, optional(product.packed_bias), product.padding,
                            product.stride, product.dilation, product.groups, "add", at::Scalar(1.0),
                            is_active ? c10::IValue(attribute(product)) : c10::IValue(), limits(product),
                            is_active ? c10::IValue("") : c10::IValue()});
}

at::Tensor compute_with_aten(const Product& product, const at::Tensor& input, const at::Tensor& addend) {
  static const auto linear = find("distill::linear"), linear_relu = find("distill::linear_relu");
  const bool is_relu = product.activation == Product::Activation::relu;
  const auto& weight = product.packed.defined() ? product.packed : product.weight;
  const auto& bias = product.packed.defined() ? product.packed_bias : product.bias;
  if (product.is_linear && is_relu && linear_relu) return call_one(*linear_relu, {input, weight, optional(bias)});
  auto result = product.is_linear ? call_one(*linear, {input, weight, optional(bias)})
                                  : at::convolution(input, weight, bias, product.stride, product.padding,
                                                    product.dilation, false, std::vector<int64_t>(product.stride.size()),
                                                    product.groups);
  if (addend.defined()) result = result + addend;
  switch (product.activation) {
    case Product::Activation::none: return result;
    case Product::Activation::relu: return result.relu_();
    case Product::Activation::relu6: return result.clamp_(0, 6);
  }
  return result;
}

void set(c10::IValue& argument, int64_t element, const at::Tensor& tensor) {
  if (element < 0) {
    argument = tensor;
  } else if (argument.isTensorList()) {
    auto list = argument.toTensorVector();
    list[static_cast<size_t>(element)] = tensor;
    argument = std::move(list);
  } else {
    auto list = argument.toList().copy();
    list.set(static_cast<size_t>(element), tensor);
    argument = std::move(list);
  }
}

Stack arguments_of(const Call& call, int64_t batch, const std::function<at::Tensor(size_t)>& value) {
  Stack stack(call.arguments.begin(), call.arguments.end());
  for (const auto& multiple : call.multiples) {
    const int64_t number = multiple.factor * batch;
    if (multiple.element < 0) {
      stack[multiple.argument] = number;
    } else {
      auto list = stack[multiple.argument].toIntVector();
      list[static_cast<size_t>(multiple.element)] = number;
      stack[multiple.argument] = std::move(list);
    }
  }
  for (const auto& reference : call.references) set(stack[reference.argument], reference.element, value(reference.value));
  return stack;
}

}  // namespace

std::vector<at::Tensor> Plan::run(const at::Tensor& input, const std::function<void(size_t, const at::Tensor&)>& look) {
  const at::NoGradGuard no_gradient;
  const at::AutoDispatchBelowAutograd unrecorded;
  TORCH_CHECK(input.dim() == graph.input.dim() && input.sizes().slice(1) == graph.input.sizes().slice(1) &&
                  input.scalar_type() == graph.input.scalar_type() && input.device() == graph.input.device(),
              "a frozen model was written down for other inputs than ", input.sizes());
  std::vector<at::Tensor> values(graph.shapes.size());
  values[0] = input;
  const auto number = [&](size_t value) {
    const auto found = quantizations.find(value);
    const bool is_held = found != quantizations.end() && values[value].scalar_type() == at::kByte;
    return is_held ? dequantized(values[value], found->second, at::kFloat) : values[value];
  };
  if (look) look(0, input);
  for (const auto& step : steps) {
    if (is_quantized && run_quantized(*this, step, values)) {
    } else if (step.product) {
      const auto& product = *step.product;
      const auto addend = product.addend ? number(*product.addend) : at::Tensor();
      std::optional<c10::impl::ExcludeDispatchKeyGuard> exact;
      if (step.is_exact) exact.emplace(c10::autocast_dispatch_keyset);
      auto factor = number(product.input);
      if (step.is_exact) factor = factor.to(product.weight.scalar_type());
      values[step.results[0]] = onednn_computes(*this, product)
                                    ? compute_with_onednn(*this, product, std::move(factor), addend)
                                    : compute_with_aten(product, factor, addend);
    } else {
      auto stack = arguments_of(step.call, input.size(0), number);
      step.call.handle.callBoxed(stack);
      for (size_t i = 0; i < step.call.results.size(); i++) {
        const auto& results = step.call.results[i];
        if (stack[i].isTensor()) {
          values[results[0]] = std::move(stack[i]).toTensor();
        } else {
          const auto list = stack[i].toTensorVector();
          for (size_t j = 0; j < results.size(); j++) values[results[j]] = list.at(j);
        }
      }
    }
    if (look)
      for (const size_t value : step.results) look(value, values[value]);
    for (const size_t value : step.done) values[value].reset();
  }
  std::vector<at::Tensor> outputs;
  for (const size_t output : graph.outputs) outputs.push_back(number(output));
  return outputs;
}

void Plan::pack(int64_t batch) {
  packed_batch = batch;
  const c10::impl::ExcludeDispatchKeyGuard no_autocast(c10::autocast_dispatch_keyset);
  static const auto reorder = find("mkldnn::_reorder_convolution_weight");
  for (auto& step : steps) {
    if (!step.product) continue;
    auto& product = *step.product;
    if (onednn_computes(*this, product)) {
      auto shape = graph.shapes[product.input];
      shape[0] = batch;
      product.packed = call_one(*reorder, {product.weight.to(type), product.padding, product.stride, product.dilation,
                                           product.groups, shape});
      product.packed_bias = product.bias.defined() ? product.bias.to(type) : at::Tensor();
    } else if (!step.is_exact && type != at::kFloat && product.weight.scalar_type() == at::kFloat) {
      // What autocast would make of them in every batch.
      product.packed = product.weight.to(type);
      product.packed_bias = product.bias.defined() ? product.bias.to(type) : at::Tensor();
    }
  }
}

namespace {

std::mutex guard;
std::map<int64_t, std::shared_ptr<Plan>> plans;
int64_t next_number = 0;

std::shared_ptr<Plan> plan_of(int64_t number) {
  const std::lock_guard lock(guard);
  const auto found = plans.find(number);
  TORCH_CHECK(found != plans.end(), "there is no plan ", number);
  return found->second;
}

void note_sources(Plan& plan) {
  std::set<c10::TensorImpl*> seen;
  const auto note = [&](const at::Tensor& tensor) {
    if (!tensor.defined() || tensor.is_inference() || !seen.insert(tensor.unsafeGetTensorImpl()).second) return;
    plan.sources.emplace_back(tensor, static_cast<uint32_t>(tensor._version()));
  };
  for (const auto& call : plan.graph.calls)
    for (size_t i = 0; i < call.arguments.size(); i++)
      if (call.arguments[i].isTensor() && !is_reference(call, i)) note(call.arguments[i].toTensor());
}

/// A plan for what two recordings have in common; `type` is what products are computed in, float32 where it is that of
/// the model.
at::Tensor make(int64_t first, int64_t second, at::ScalarType type, bool channels_last, int64_t batch) {
  const at::NoGradGuard no_gradient;
  const auto one = take_recording(first), other = take_recording(second);
  auto plan = std::make_shared<Plan>();
  plan->graph = joined(std::move(*one), *other);
  plan->type = type;
  plan->channels_last = channels_last;
  note_sources(*plan);
  for (const auto& call : plan->graph.calls) {
    Step step(call);
    for (const auto& values : call.results) step.results.insert(step.results.end(), values.begin(), values.end());
    plan->steps.push_back(std::move(step));
  }
  fuse(*plan);
  for (auto& step : plan->steps) {
    const auto& outputs = plan->graph.outputs;
    step.is_exact = step.product && step.product->is_linear && step.product->weight.device().is_cpu() &&
                    step.product->weight.scalar_type() == at::kFloat && step.product->weight.numel() <= few_weights &&
                    std::find(outputs.begin(), outputs.end(), step.results[0]) != outputs.end();
  }
  find_ends(*plan);
  plan->pack(batch);
  const std::lock_guard lock(guard);
  plans[++next_number] = std::move(plan);
  return at::scalar_tensor(next_number, at::kLong);
}

std::vector<at::Tensor> run(int64_t number, const at::Tensor& input) { return plan_of(number)->run(input); }

/// How far the plan's outputs for the recorded batch are from the model's own: the largest difference beside the largest
/// number, over all outputs.
at::Tensor deviation(int64_t number) {
  const auto plan = plan_of(number);
  const auto outputs = plan->run(plan->graph.input);
  double worst = 0;
  for (size_t i = 0; i < outputs.size(); i++) {
    const auto& expected = plan->graph.expected[i];
    TORCH_CHECK(outputs[i].sizes() == expected.sizes(), "the plan gives another shape than the model");
    if (expected.numel() == 0) continue;
    const auto a = outputs[i].to(at::kDouble), b = expected.to(at::kDouble);
    const double apart = (a - b).abs().max().item<double>(), size = b.abs().max().item<double>();
    worst = std::max(worst, std::isfinite(apart) ? apart / std::max(size, 1e-6) : INFINITY);
  }
  return at::scalar_tensor(worst, at::kDouble);
}

at::Tensor is_current(int64_t number) {
  const auto plan = plan_of(number);
  const bool is_current = std::all_of(plan->sources.begin(), plan->sources.end(), [](const auto& source) {
    return static_cast<uint32_t>(source.first._version()) == source.second;
  });
  return at::scalar_tensor(is_current ? 1 : 0, at::kLong);
}

/// How many normalizations were folded, how many additions and activations are computed with a product, and how many
/// products are quantized.
at::Tensor counts(int64_t number) {
  const auto plan = plan_of(number);
  const auto quantized = std::count_if(plan->steps.begin(), plan->steps.end(), [](const Step& step) {
    return step.product && step.product->scales.defined();
  });
  return at::tensor({plan->folded, plan->fused, plan->is_quantized ? static_cast<int64_t>(quantized) : 0}, at::kLong);
}

void quantize(int64_t number, const at::Tensor& examples) { plan_of(number)->quantize(examples); }

void release(int64_t number) {
  const std::lock_guard lock(guard);
  plans.erase(number);
}

}  // namespace
}  // namespace bridge

TORCH_LIBRARY_FRAGMENT(distill, library) {
  library.def("plan_make(int first, int second, ScalarType type, bool channels_last, int batch) -> Tensor", bridge::make);
  library.def("plan_run(int plan, Tensor input) -> Tensor[]", bridge::run);
  library.def("plan_deviation(int plan) -> Tensor", bridge::deviation);
  library.def("plan_is_current(int plan) -> Tensor", bridge::is_current);
  library.def("plan_counts(int plan) -> Tensor", bridge::counts);
  library.def("plan_quantize(int plan, Tensor examples) -> ()", bridge::quantize);
  library.def("plan_release(int plan) -> ()", bridge::release);
}
