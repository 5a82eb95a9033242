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
  /// In whole numbers: the weight's scales, and undefined where the product is not computed so.
  at::Tensor scales, zero_points;
};

/// How a value is held in bytes: (byte − zero) · scale.
struct Bytes {
  double scale = 1;
  int64_t zero = 0;
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
  bool in_bytes = false;
  std::map<size_t, Bytes> bytes;  // of values that products in whole numbers read or make
  std::set<size_t> made_in_bytes;
  int64_t packed_batch = 1;
  /// The tensors that were made into something else, with the version that they had.
  std::vector<std::pair<at::Tensor, uint32_t>> sources;
  int64_t folded = 0, fused = 0;

  /// Throws where the input has another shape than what was recorded, the number of examples aside.
  std::vector<at::Tensor> run(const at::Tensor& input, const std::function<void(size_t, const at::Tensor&)>& look = {});
  /// Looks at the values that products read and make for some examples, and computes in whole numbers from then on.
  void use_bytes(const at::Tensor& examples);
  /// Lays the weights out for batches of a size.
  void pack(int64_t batch);
};

/// How values are computed in whole numbers: FrozenBytes.cpp.
at::Tensor to_bytes(const at::Tensor& tensor, const Bytes& form);
at::Tensor from_bytes(const at::Tensor& tensor, const Bytes& form, at::ScalarType type);

/// Computes a step in whole numbers; false where it is none of those that are.
bool run_in_bytes(const Plan& plan, const Step& step, std::vector<at::Tensor>& values);

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
