// A frozen graph made ready to be computed many times.
#pragma once

#include <functional>
#include <map>
#include <set>

#include "FrozenGraph.h"

namespace bridge {

/// A convolution or a linear layer with fixed weights, and what of the calls behind it is computed with it.
struct Product {
  enum class Activation { none, relu, relu6 };

  bool is_linear = false;
  size_t input = 0;
  at::Tensor weight, bias;
  std::vector<int64_t> stride, padding, dilation;
  int64_t groups = 1;
  /// A value that is added to the product before the activation.
  std::optional<size_t> addend;
  Activation activation = Activation::none;

  /// The weight as oneDNN wants it, and the bias in its type; undefined where the product is computed by ATen.
  at::Tensor packed, packed_bias;
  /// Of the weight where the product is quantized, otherwise undefined.
  at::Tensor scales, zero_points;
};

/// How a value is quantized to uint8: x ≈ (q − zero_point) · scale.
struct Quantization {
  double scale = 1;
  int64_t zero_point = 0;
};

struct Step {
  std::optional<Product> product;  // or a call as it was recorded
  Call call;
  std::vector<size_t> results;  // all values that come out
  std::vector<size_t> done;     // values that nobody needs afterwards
  bool is_exact = false;        // in float32 whatever the precision

  explicit Step(const Call& recorded) : call(recorded) {}
};

struct Plan {
  FrozenGraph graph;
  std::vector<Step> steps;
  at::ScalarType type = at::kFloat;  // of the products
  bool channels_last = false;
  bool is_quantized = false;
  std::map<size_t, Quantization> quantizations;  // of values that quantized products read or make
  std::set<size_t> made_quantized;
  int64_t packed_batch = 1;
  /// The tensors that were made into something else, with the version that they had.
  std::vector<std::pair<at::Tensor, uint32_t>> sources;
  int64_t folded = 0, fused = 0;

  /// Throws where the input has another shape than what was recorded, the number of examples aside.
  std::vector<at::Tensor> run(const at::Tensor& input, const std::function<void(size_t, const at::Tensor&)>& look = {});
  /// Looks at the values that products read and make for some examples, and computes products in int8 from then on.
  void quantize(const at::Tensor& examples);
  /// Lays the weights out for batches of a size.
  void pack(int64_t batch);
};

// Quantized values: FrozenQuantized.cpp.

at::Tensor quantized(const at::Tensor& tensor, const Quantization& quantization);
at::Tensor dequantized(const at::Tensor& tensor, const Quantization& quantization, at::ScalarType type);

/// Computes a step with quantized values; false where it is none of those that are.
bool run_quantized(const Plan& plan, const Step& step, std::vector<at::Tensor>& values);

// What both ways of computing share.

using Stack = torch::jit::Stack;

inline std::optional<c10::OperatorHandle> find(const char* name, const char* overload = "") {
  return c10::Dispatcher::singleton().findSchema({name, overload});
}

inline at::Tensor call_one(const c10::OperatorHandle& handle, Stack stack) {
  handle.callBoxed(stack);
  return std::move(stack[0]).toTensor();
}

inline c10::IValue optional(const at::Tensor& tensor) {
  return tensor.defined() ? c10::IValue(tensor) : c10::IValue();
}

/// oneDNN's word for an activation.
inline const char* attribute(const Product& product) {
  switch (product.activation) {
    case Product::Activation::none: return "none";
    case Product::Activation::relu: return "relu";
    case Product::Activation::relu6: return "hardtanh";
  }
  return "none";
}

/// The numbers that oneDNN wants with it.
inline c10::List<std::optional<at::Scalar>> limits(const Product& product) {
  c10::List<std::optional<at::Scalar>> numbers;
  if (product.activation == Product::Activation::relu6) {
    numbers.push_back(at::Scalar(0.0));
    numbers.push_back(at::Scalar(6.0));
  }
  return numbers;
}

}  // namespace bridge
