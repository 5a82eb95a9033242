// x Wᵀ + b, and max(0, x Wᵀ + b), in float32 on a processor with AVX-512.
//
// libtorch computes float32 matrix products with MKL, which does not use all that processors of other makes have, and a
// layer's products, bias, activation and their gradients one after the other. Here a layer is one operator with one node
// of the graph. Its products are made of blocks, by the kernel for small products that oneDNN, a part of libtorch, has
// under attention; so each block is biased, cut or transposed while it is still near. For the layers of an MLP that is
// twice as fast (Guides/Performance.md). Everywhere else (small products, other types, other devices, mixed precision,
// gradients of gradients) the operators `distill::linear` and `distill::linear_relu` are made of libtorch's own.

#include <ATen/ATen.h>
#include <ATen/autocast_mode.h>
#include <ATen/native/CPUBlas.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/library.h>

#include <algorithm>
#include <cstring>
#include <optional>
#include <vector>

#if defined(__x86_64__)
#include <fbgemm/Utils.h>
#endif

#include "Parallel.h"
#include "WholeProduct.h"

namespace {

using Bias = std::optional<at::Tensor>;

/// Multiplications from which on our way pays: below, the kernel for a size costs more than the product.
constexpr int64_t worthwhile = 1 << 12;

bool is_given(const Bias& bias) { return bias && bias->defined(); }

bool suits(const at::Tensor& tensor) {
  return tensor.scalar_type() == at::kFloat && tensor.device().is_cpu() && tensor.layout() == at::kStrided &&
         !tensor.is_neg();
}

/// Whether this processor has what the kernel needs.
bool has_kernel() {
#if defined(__x86_64__) && defined(CPUBLAS_BRGEMM_F32F32F32)
  static const bool found = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                            __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
  return found;
#else
  return false;
#endif
}

bool pays(const at::Tensor& input, const at::Tensor& weight, const Bias& bias) {
  return has_kernel() && input.dim() >= 2 && weight.dim() == 2 && input.size(-1) == weight.size(1) &&
         input.numel() * weight.size(0) >= worthwhile && suits(input) && suits(weight) &&
         (!is_given(bias) || (bias->dim() == 1 && bias->size(0) == weight.size(0) && suits(*bias))) &&
         !at::autocast::is_autocast_enabled(at::kCPU) && at::globalContext().userEnabledMkldnn();
}

// Products of blocks. The kernel is compiled for each size when it first occurs, so sizes must not vary freely: what is
// left of a dimension after its blocks is one part of a multiple of 16, and one of less than 16.

constexpr int64_t lanes = 16;

/// Numbers side by side, of which compilers make the widest instructions that they may use.
typedef float Numbers __attribute__((vector_size(lanes * sizeof(float))));
typedef int32_t Bits __attribute__((vector_size(lanes * sizeof(float))));

/// Of functions with `Numbers`: the widest instructions, without which compilers take them apart, comparisons number by
/// number. They are called only where there is a kernel.
#if defined(__x86_64__)
#define WIDE __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq")))
#else
#define WIDE
#endif

int64_t next_part(int64_t left, int64_t block) {
  return left >= block ? block : left >= lanes ? left / lanes * lanes : left;
}

/// Rows of a batch that are worked on together: what is kept of them, transposed, has to fit into the nearest memory.
constexpr int64_t rows_together = 64;
/// Terms of a sum in one product.
constexpr int64_t terms_together = 512;
/// Features that are worked on together.
constexpr int64_t features_together = 160;

/// Multiplications from which on threads share a product. To begin and to end together costs them several microseconds,
/// in which one alone computes as many as these.
constexpr int64_t worth_sharing = 1 << 22;

/// The blocks of a product: how many of `count` things are in each, and how many blocks a thread should have at least.
struct Blocks {
  int64_t size, count, grain;

  /// As evenly as multiples of `unit` can be, for as many threads as take part.
  Blocks(int64_t things, int64_t largest, int64_t multiplications, int64_t unit = lanes) {
    const int64_t threads = multiplications < worth_sharing ? 1 : at::get_num_threads();
    const int64_t share = (things + threads - 1) / threads;
    size = std::min(largest, (share + unit - 1) / unit * unit);
    count = (things + size - 1) / size;
    grain = threads == 1 ? count : 1;
  }
};

struct Matrix {
  const float* data;
  int64_t stride;
};

/// C = A B, or C + A B, with C `[rows, columns]` and A `[rows, terms]`.
void multiply(Matrix a, Matrix b, float* c, int64_t c_stride, int64_t rows, int64_t columns, int64_t terms,
              bool adds = false) {
#if defined(CPUBLAS_BRGEMM_F32F32F32)
  for (int64_t begin = 0, part; begin < terms; begin += part) {
    part = next_part(terms - begin, terms_together);
    at::native::cpublas::brgemm(rows, columns, part, a.stride, b.stride, c_stride, adds || begin > 0, a.data + begin,
                                b.data + begin * b.stride, c, false);
  }
#else
  (void)a, (void)b, (void)c, (void)c_stride, (void)rows, (void)columns, (void)terms, (void)adds;
#endif
}

void transpose(int64_t rows, int64_t columns, const float* from, int64_t from_stride, float* to, int64_t to_stride) {
#if defined(__x86_64__)
  fbgemm::transpose_simd<float>(rows, columns, from, from_stride, to, to_stride);
#else
  (void)rows, (void)columns, (void)from, (void)from_stride, (void)to, (void)to_stride;
#endif
}

/// Weights that lie near enough to be used once for each block of rows. With more of them oneDNN's own product of whole
/// matrices, which puts the weights in order first, is the faster one.
constexpr int64_t weights_nearby = 1 << 18;

/// Memory that a thread uses again at every call.
float* scratch(size_t which, size_t count) {
  thread_local std::vector<float> memory[2];
  if (memory[which].size() < count + lanes) memory[which].resize(count + lanes);
  const auto address = reinterpret_cast<uintptr_t>(memory[which].data());
  return reinterpret_cast<float*>((address + 63) / 64 * 64);
}

/// values + shift, cut at 0 if wanted.
WIDE void shift_and_cut(float* values, int64_t count, float shift, bool cuts) {
  int64_t i = 0;
  for (; i + lanes <= count; i += lanes) {
    Numbers some;
    std::memcpy(&some, values + i, sizeof some);
    some += shift;
    if (cuts) some = reinterpret_cast<Numbers>(reinterpret_cast<Bits>(some) & ~(some < 0));  // NaN stays, as in aten::relu
    std::memcpy(values + i, &some, sizeof some);
  }
  for (; i < count; i++) {
    values[i] += shift;
    if (cuts && values[i] < 0) values[i] = 0;
  }
}

/// The gradient where an output was not cut, 0 where it was.
WIDE void cut_gradient(const float* given, const float* output, float* gradient, int64_t count) {
  int64_t i = 0;
  for (; i + lanes <= count; i += lanes) {
    Numbers some, values;
    std::memcpy(&some, given + i, sizeof some);
    std::memcpy(&values, output + i, sizeof values);
    some = reinterpret_cast<Numbers>(reinterpret_cast<Bits>(some) & ~(values <= 0));
    std::memcpy(gradient + i, &some, sizeof some);
  }
  for (; i < count; i++) gradient[i] = output[i] <= 0 ? 0 : given[i];
}

WIDE float sum(const float* values, int64_t count) {
  Numbers sums = {};
  int64_t i = 0;
  for (; i + lanes <= count; i += lanes) {
    Numbers some;
    std::memcpy(&some, values + i, sizeof some);
    sums += some;
  }
  float total = 0;
  for (int64_t lane = 0; lane < lanes; lane++) total += sums[lane];
  for (; i < count; i++) total += values[i];
  return total;
}

/// x Wᵀ + b, cut at 0 if wanted: of contiguous x `[rows, in]` and W `[out, in]`.
///
/// A block of rows is transposed, W xᵀ + b computed and transposed back, so that the weights are used as they lie.
at::Tensor forward(const at::Tensor& input, const at::Tensor& weight, const Bias& bias, bool cuts) {
  if (weight.numel() > weights_nearby) {
    if (auto product = bridge::whole_product(input, weight, bias, cuts)) return *std::move(product);
  }
  const auto x = input.reshape({-1, input.size(-1)}).contiguous(), w = weight.contiguous();
  const int64_t rows = x.size(0), in = x.size(1), out = w.size(0);
  auto sizes = input.sizes().vec();
  sizes.back() = out;
  auto output = at::empty(sizes, input.options());
  const auto b = is_given(bias) ? bias->contiguous() : at::Tensor();
  const float *x_data = x.const_data_ptr<float>(), *w_data = w.const_data_ptr<float>();
  const float* b_data = b.defined() ? b.const_data_ptr<float>() : nullptr;
  float* y = output.data_ptr<float>();
  const Blocks blocks(rows, rows_together, rows * in * out);
  bridge::parallel_for(0, blocks.count, blocks.grain, [&](int64_t first, int64_t last) {
    float* transposed = scratch(0, in * rows_together);
    float* product = scratch(1, features_together * rows_together);
    const int64_t end = std::min(rows, last * blocks.size);
    for (int64_t row = first * blocks.size, part; row < end; row += part) {
      part = next_part(end - row, blocks.size);
      transpose(part, in, x_data + row * in, in, transposed, part);
      for (int64_t feature = 0, features; feature < out; feature += features) {
        features = next_part(out - feature, features_together);
        multiply({w_data + feature * in, in}, {transposed, part}, product, part, features, part, in);
        for (int64_t i = 0; i < features && (b_data || cuts); i++)
          shift_and_cut(product + i * part, part, b_data ? b_data[feature + i] : 0, cuts);
        transpose(features, part, product, part, y + row * out + feature, out);
      }
    }
    at::native::cpublas::brgemm_release();
  });
  return output;
}

struct Gradients {
  at::Tensor input, weight, bias;
};

/// The gradients of `forward`, from that of its output; `output` where it was cut at 0.
Gradients backward(const at::Tensor& input, const at::Tensor& weight, const at::Tensor& output_gradient,
                   const at::Tensor& output, bool wants_input, bool wants_weight, bool wants_bias) {
  const auto x = input.reshape({-1, input.size(-1)}).contiguous(), w = weight.contiguous();
  const int64_t rows = x.size(0), in = x.size(1), out = w.size(0);
  const auto given = output_gradient.reshape({-1, out}).contiguous();
  const bool cuts = output.defined();
  const auto gradient = cuts ? at::empty_like(given) : given;
  Gradients found;
  if (wants_weight) found.weight = at::empty_like(w);
  if (wants_bias) found.bias = at::empty({out}, w.options());
  const float *x_data = x.const_data_ptr<float>(), *w_data = w.const_data_ptr<float>();
  const float *given_data = given.const_data_ptr<float>(), *y = cuts ? output.const_data_ptr<float>() : nullptr;
  float* g = cuts ? gradient.data_ptr<float>() : const_cast<float*>(given_data);
  float* weight_gradient = wants_weight ? found.weight.data_ptr<float>() : nullptr;
  float* bias_gradient = wants_bias ? found.bias.data_ptr<float>() : nullptr;
  // For a block of features: the gradient where the output was not cut, its transpose, and with that Gᵀ x and Σ G.
  const Blocks blocks(out, features_together, rows * in * out, 1);
  bridge::parallel_for(0, blocks.count, blocks.grain, [&](int64_t first, int64_t last) {
    float* transposed = scratch(0, blocks.size * rows);
    for (int64_t index = first; index < last; index++) {
      const int64_t feature = index * blocks.size, features = std::min(blocks.size, out - feature);
      if (cuts) {
        for (int64_t start = feature; start < rows * out; start += out)
          cut_gradient(given_data + start, y + start, g + start, features);
      }
      if (!wants_weight && !wants_bias) continue;
      transpose(rows, features, g + feature, out, transposed, rows);
      for (int64_t i = 0; i < features && wants_bias; i++)
        bias_gradient[feature + i] = sum(transposed + i * rows, rows);
      for (int64_t start = 0, part; wants_weight && start < features; start += part) {
        part = next_part(features - start, blocks.size);
        multiply({transposed + start * rows, rows}, {x_data, in}, weight_gradient + (feature + start) * in, in, part, in,
                 rows);
      }
    }
    at::native::cpublas::brgemm_release();
  });
  if (wants_input) {
    found.input = at::empty_like(input, at::MemoryFormat::Contiguous);
    float* input_gradient = found.input.data_ptr<float>();
    const Blocks blocks(rows, rows_together, rows * in * out);
    bridge::parallel_for(0, blocks.count, blocks.grain, [&](int64_t first, int64_t last) {
      const int64_t end = std::min(rows, last * blocks.size);
      for (int64_t row = first * blocks.size, part; row < end; row += part) {
        part = next_part(end - row, blocks.size);
        multiply({g + row * out, out}, {w_data, in}, input_gradient + row * in, in, part, in, out);
      }
      at::native::cpublas::brgemm_release();
    });
  }
  return found;
}

struct Linear : torch::autograd::Function<Linear> {
  static at::Tensor forward(torch::autograd::AutogradContext* context, const at::Tensor& input,
                            const at::Tensor& weight, const Bias& bias, bool cuts) {
    auto output = ::forward(input, weight, bias, cuts);
    context->save_for_backward({input, weight, cuts ? output : at::Tensor()});
    context->saved_data["bias"] = is_given(bias);
    return output;
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 torch::autograd::variable_list gradients) {
    const auto saved = context->get_saved_variables();
    const auto &input = saved[0], &weight = saved[1], &output = saved[2];
    const bool wants_bias = context->saved_data["bias"].toBool() && context->needs_input_grad(2);
    if (!at::GradMode::is_enabled() && suits(gradients[0])) {
      auto found = ::backward(input, weight, gradients[0], output, context->needs_input_grad(0),
                              context->needs_input_grad(1), wants_bias);
      return {found.input, found.weight, found.bias, at::Tensor()};
    }
    // With a graph of the gradients themselves, everything has to be made of operators that have gradients.
    auto gradient = output.defined() ? gradients[0] * output.gt(0) : gradients[0];
    gradient = gradient.reshape({-1, weight.size(0)});
    at::Tensor input_gradient, weight_gradient, bias_gradient;
    if (context->needs_input_grad(0)) input_gradient = gradient.matmul(weight).view(input.sizes());
    if (context->needs_input_grad(1)) weight_gradient = gradient.t().matmul(input.reshape({-1, input.size(-1)}));
    if (wants_bias) bias_gradient = gradient.sum(0);
    return {input_gradient, weight_gradient, bias_gradient, at::Tensor()};
  }
};

at::Tensor compute(const at::Tensor& input, const at::Tensor& weight, const Bias& bias, bool cuts) {
  if (!pays(input, weight, bias)) {
    auto output = at::linear(input, weight, bias);
    return cuts ? at::relu(output) : output;
  }
  const bool records = at::GradMode::is_enabled() && (input.requires_grad() || weight.requires_grad() ||
                                                      (is_given(bias) && bias->requires_grad()));
  return records ? Linear::apply(input, weight, bias, cuts) : forward(input, weight, bias, cuts);
}

at::Tensor linear(const at::Tensor& input, const at::Tensor& weight, const Bias& bias) {
  return compute(input, weight, bias, false);
}

at::Tensor linear_relu(const at::Tensor& input, const at::Tensor& weight, const Bias& bias) {
  return compute(input, weight, bias, true);
}

}  // namespace

TORCH_LIBRARY(distill, library) {
  library.def("linear(Tensor input, Tensor weight, Tensor? bias) -> Tensor", linear);
  library.def("linear_relu(Tensor input, Tensor weight, Tensor? bias) -> Tensor", linear_relu);
}
