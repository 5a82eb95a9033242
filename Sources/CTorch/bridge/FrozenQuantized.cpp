// Products of a frozen model quantized to eight bits, through oneDNN's quantized convolutions and linear layers.
//
// Weights are int8 with one scale for each output channel, symmetric about 0: w ≈ s_c · q, q in −127 … 127. A value that a
// product reads is uint8 with one scale and one zero point for all of it, x ≈ s · (q − z), from the smallest and the
// largest number that was seen for given examples. Sums are exact in 32 bits; biases, scales and outputs are float32.

#include <ATen/autocast_mode.h>
#include <c10/core/impl/LocalDispatchKeySet.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "FrozenPlan.h"
#include "Parallel.h"

// Loops over quantized values pay only when they are vectorized, which gcc does at this level.
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC optimize("O3")
#endif

namespace bridge {
namespace {

/// Fewer weights than that are not worth quantizing what they are multiplied with.
constexpr int64_t worthwhile = 1 << 7;
/// So many examples at once are looked at.
constexpr int64_t chunk = 64;

bool is_plain_pooling(const Call& call) {
  if (call.name() != "aten::max_pool2d") return false;
  for (const int64_t dilation : call.arguments[4].toIntVector())
    if (dilation != 1) return false;
  return !call.arguments[5].toBool();
}

bool is_sum(const Call& call) {
  return call.name() == "aten::add" && call.references.size() == 2 && call.arguments[2].isScalar() &&
         call.arguments[2].toScalar().equal(1);
}

std::vector<int64_t> pair(const c10::IValue& argument, const std::vector<int64_t>& otherwise) {
  auto list = argument.toIntVector();
  if (list.empty()) return otherwise;
  if (list.size() == 1) list.push_back(list[0]);
  return list;
}

/// The whole part of a number, clamped to 0 … 255.
inline uint8_t clamped(float value) {
  value = value > 0 ? value : 0;
  value = value < 255.5f ? value : 255.5f;
  return static_cast<uint8_t>(static_cast<int32_t>(value));
}

/// Max-pooling of quantized values `[N, C, H, W]`, the channels of a pixel side by side.
at::Tensor pool(const at::Tensor& input, const Call& call) {
  const auto kernel = pair(call.arguments[1], {}), stride = pair(call.arguments[2], kernel),
             padding = pair(call.arguments[3], {0, 0});
  const auto n = input.size(0), c = input.size(1), h = input.size(2), w = input.size(3);
  const auto rows = (h + 2 * padding[0] - kernel[0]) / stride[0] + 1;
  const auto columns = (w + 2 * padding[1] - kernel[1]) / stride[1] + 1;
  auto result = at::empty_strided({n, c, rows, columns}, {rows * columns * c, 1, columns * c, c}, input.options());
  const uint8_t* from = input.data_ptr<uint8_t>();
  uint8_t* to = result.data_ptr<uint8_t>();
  parallel_for(0, n * rows, 16, [&](int64_t begin, int64_t end) {
    for (int64_t line = begin; line < end; line++) {
      const int64_t example = line / rows, row = line % rows;
      for (int64_t column = 0; column < columns; column++) {
        uint8_t* __restrict out = to + (line * columns + column) * c;
        std::fill_n(out, c, uint8_t{0});
        const int64_t top = row * stride[0] - padding[0], left = column * stride[1] - padding[1];
        for (int64_t y = std::max<int64_t>(top, 0); y < std::min(top + kernel[0], h); y++) {
          for (int64_t x = std::max<int64_t>(left, 0); x < std::min(left + kernel[1], w); x++) {
            const uint8_t* __restrict in = from + ((example * h + y) * w + x) * c;
            for (int64_t i = 0; i < c; i++) out[i] = in[i] > out[i] ? in[i] : out[i];
          }
        }
      }
    }
  });
  return result;
}

/// The sum of quantized values, each with a quantization of its own.
at::Tensor add(const at::Tensor& one, const Quantization& of_one, const at::Tensor& other, const Quantization& of_other,
               const Quantization& of_sum) {
  auto result = at::empty_strided(one.sizes(), one.strides(), one.options());
  const auto alike = other.strides() == one.strides() ? other : at::empty_like(result).copy_(other);
  const uint8_t *a = one.data_ptr<uint8_t>(), *b = alike.data_ptr<uint8_t>();
  uint8_t* to = result.data_ptr<uint8_t>();
  const auto p = static_cast<float>(of_one.scale / of_sum.scale);
  const auto q = static_cast<float>(of_other.scale / of_sum.scale);
  const auto offset = static_cast<float>(of_sum.zero_point) - p * static_cast<float>(of_one.zero_point) -
                      q * static_cast<float>(of_other.zero_point) + 0.5f;
  parallel_for(0, one.numel(), 1 << 15, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; i++) to[i] = clamped(a[i] * p + b[i] * q + offset);
  });
  return result;
}

}  // namespace

at::Tensor quantized(const at::Tensor& given, const Quantization& quantization) {
  auto tensor = given.to(at::kFloat);
  std::vector<int64_t> strides;
  if (tensor.dim() == 4) {
    tensor = tensor.contiguous(at::MemoryFormat::ChannelsLast);
    const auto c = tensor.size(1), h = tensor.size(2), w = tensor.size(3);
    strides = {h * w * c, 1, w * c, c};
  } else {
    tensor = tensor.contiguous();
    strides = tensor.strides().vec();
  }
  auto result = at::empty_strided(tensor.sizes(), strides, tensor.options().dtype(at::kByte));
  const float* from = tensor.data_ptr<float>();
  uint8_t* to = result.data_ptr<uint8_t>();
  const float factor = static_cast<float>(1 / quantization.scale);
  const float offset = static_cast<float>(quantization.zero_point) + 0.5f;
  parallel_for(0, tensor.numel(), 1 << 15, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; i++) to[i] = clamped(from[i] * factor + offset);
  });
  return result;
}

at::Tensor dequantized(const at::Tensor& tensor, const Quantization& quantization, at::ScalarType type) {
  return (tensor.to(type) - static_cast<double>(quantization.zero_point)) * quantization.scale;
}

bool run_quantized(const Plan& plan, const Step& step, std::vector<at::Tensor>& values) {
  const c10::impl::ExcludeDispatchKeyGuard no_autocast(c10::autocast_dispatch_keyset);
  static const auto convolution = find("onednn::qconv2d_pointwise"), linear = find("onednn::qlinear_pointwise");
  static const auto with_sum = find("onednn::qconv2d_pointwise", "binary");
  const auto& quantizations = plan.quantizations;
  const auto is_held = [&](size_t value) {
    return values[value].scalar_type() == at::kByte && quantizations.contains(value);
  };
  const auto held = [&](size_t value) {
    return is_held(value) ? values[value] : quantized(values[value], quantizations.at(value));
  };
  const size_t result = step.results[0];
  const bool gives_quantized = plan.made_quantized.contains(result);
  const auto output = gives_quantized ? quantizations.at(result) : Quantization{};
  const auto type = c10::IValue(static_cast<int64_t>(gives_quantized ? at::kByte : at::kFloat));
  if (!step.product) {
    if (!gives_quantized) return false;
    const auto& call = step.call;
    const size_t first = call.references[0].value;
    if (is_plain_pooling(call)) {
      if (!is_held(first)) return false;
      values[result] = pool(values[first], call);
    } else {
      const size_t second = call.references[1].value;
      values[result] = add(values[first], quantizations.at(first), values[second], quantizations.at(second), output);
    }
    return true;
  }
  const auto& product = *step.product;
  if (!product.scales.defined()) return false;
  const auto& input = quantizations.at(product.input);
  if (product.is_linear) {
    values[result] = call_one(
        *linear, {held(product.input), input.scale, input.zero_point, product.packed, product.scales,
                  product.zero_points, optional(product.bias), output.scale, output.zero_point, type,
                  attribute(product), limits(product), c10::IValue("")});
  } else if (!product.addend) {
    values[result] = call_one(
        *convolution, {held(product.input), input.scale, input.zero_point, product.packed, product.scales,
                       product.zero_points, optional(product.bias), product.stride, product.padding, product.dilation,
                       product.groups, output.scale, output.zero_point, type, attribute(product), limits(product),
                       c10::IValue("")});
  } else {
    const size_t value = *product.addend;
    // oneDNN adds in place. That is for memory that nobody reads any more: neither this product, nor a later step, nor
    // whoever has another tensor of it, as the caller has one of the batch.
    const bool is_free = std::find(step.done.begin(), step.done.end(), value) != step.done.end() &&
                         value != product.input && values[value].use_count() == 1 &&
                         values[value].storage().use_count() == 1;
    Quantization of_addend;
    at::Tensor addend;
    if (gives_quantized) {
      of_addend = quantizations.at(value);
      addend = held(value);
    } else {
      addend = is_held(value) ? dequantized(values[value], quantizations.at(value), at::kFloat)
                              : values[value].to(at::kFloat);
      addend = addend.contiguous(at::MemoryFormat::ChannelsLast);
    }
    if (!is_free && addend.is_alias_of(values[value])) addend = addend.clone();
    const bool is_active = product.activation != Product::Activation::none;
    values[result] = call_one(
        *with_sum, {held(product.input), input.scale, input.zero_point, product.packed, product.scales,
                    product.zero_points, addend, optional(product.bias), product.stride, product.padding,
                    product.dilation, product.groups, output.scale, output.zero_point, type, of_addend.scale,
                    of_addend.zero_point, "sum", at::Scalar(1.0),
                    is_active ? c10::IValue(attribute(product)) : c10::IValue("none"), limits(product),
                    c10::IValue("")});
  }
  return true;
}

void Plan::quantize(const at::Tensor& examples) {
  const at::NoGradGuard no_gradient;
  const c10::impl::ExcludeDispatchKeyGuard no_autocast(c10::autocast_dispatch_keyset);
  const auto pack_convolution = find("onednn::qconv_prepack"), pack_linear = find("onednn::qlinear_prepack");
  TORCH_CHECK(pack_convolution && pack_linear && find("onednn::qconv2d_pointwise") && find("onednn::qlinear_pointwise") &&
                  find("onednn::qconv2d_pointwise", "binary"),
              "this libtorch has no quantized products");
  is_quantized = false;
  std::vector<float> lowest(graph.shapes.size(), 0), highest(graph.shapes.size(), 0);
  const auto look = [&](size_t value, const at::Tensor& tensor) {
    if (!tensor.is_floating_point() || tensor.numel() == 0) return;
    const auto [low, high] = tensor.aminmax();
    lowest[value] = std::min(lowest[value], low.item<float>());
    highest[value] = std::max(highest[value], high.item<float>());
  };
  for (int64_t begin = 0; begin < examples.size(0); begin += chunk)
    run(examples.slice(0, begin, std::min(begin + chunk, examples.size(0))), look);

  const std::set<size_t> outputs(graph.outputs.begin(), graph.outputs.end());
  const auto suits = [&](const Step& step) {
    if (!step.product || step.is_exact) return false;
    const auto& product = *step.product;
    return product.weight.device().is_cpu() && product.weight.scalar_type() == at::kFloat &&
           product.weight.numel() >= worthwhile &&
           (product.is_linear ? graph.shapes[product.input].size() == 2 : product.weight.dim() == 4);
  };
  // Backwards: which values are read quantized, so that they are worth making so.
  std::set<size_t> wanted;
  for (auto step = steps.rbegin(); step != steps.rend(); ++step) {
    if (suits(*step)) {
      wanted.insert(step->product->input);
      if (step->product->addend && wanted.contains(step->results[0])) wanted.insert(*step->product->addend);
    } else if (!step->product && wanted.contains(step->results[0]) &&
               (is_plain_pooling(step->call) || is_sum(step->call))) {
      for (const auto& reference : step->call.references) wanted.insert(reference.value);
    }
  }
  quantizations.clear();
  made_quantized.clear();
  for (const size_t value : wanted) {
    TORCH_CHECK(std::isfinite(lowest[value]) && std::isfinite(highest[value]),
                "values that are not finite cannot be quantized");
    auto& quantization = quantizations[value];
    quantization.scale = std::max((static_cast<double>(highest[value]) - lowest[value]) / 255, 1e-12);
    quantization.zero_point = std::clamp<int64_t>(std::lround(-lowest[value] / quantization.scale), 0, 255);
  }
  // Forwards: who makes them.
  for (auto& step : steps) {
    const size_t result = step.results[0];
    const bool is_wanted = wanted.contains(result) && !outputs.contains(result);
    if (!suits(step)) {
      if (step.product || !is_wanted) continue;
      const auto is_made = [&](const Reference& reference) { return made_quantized.contains(reference.value); };
      const auto& references = step.call.references;
      if (is_plain_pooling(step.call) && is_made(references[0])) {
        quantizations[result] = quantizations[references[0].value];
        made_quantized.insert(result);
      } else if (is_sum(step.call) && graph.shapes[references[0].value] == graph.shapes[references[1].value] &&
                 is_made(references[0]) && is_made(references[1])) {
        made_quantized.insert(result);
      }
      continue;
    }
    if (is_wanted) made_quantized.insert(result);
    auto& product = *step.product;
    std::vector<int64_t> rest(static_cast<size_t>(product.weight.dim()) - 1), rows(rest.size() + 1, 1);
    for (size_t i = 0; i < rest.size(); i++) rest[i] = static_cast<int64_t>(i) + 1;
    rows[0] = -1;
    product.scales = (product.weight.abs().amax(rest) / 127).clamp_min(1e-12).contiguous();
    product.zero_points = at::zeros_like(product.scales, at::kLong);
    const auto weight = (product.weight / product.scales.view(rows)).round().clamp(-127, 127).to(at::kChar);
    const auto& input = quantizations.at(product.input);
    auto shape = graph.shapes[product.input];
    shape[0] = packed_batch;
    product.packed = product.is_linear
                         ? call_one(*pack_linear, {weight, shape})
                         : call_one(*pack_convolution, {weight, product.scales, input.scale, input.zero_point,
                                                        product.stride, product.padding, product.dilation,
                                                        product.groups, shape});
  }
  is_quantized = true;
}

}  // namespace bridge
