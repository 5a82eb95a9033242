// The last linear layer of a student together with its losses, by chunks of rows and classes: for vocabularies whose
// logits would fill the memory.
//
// With features x [R, H], weight W [V, H], bias b, the logits are z = x Wᵀ + b, and the teacher's v likewise. Some rows at
// a time, all their logits are computed, block after block of classes; each block, while it is in the cache, adds to
// the sums that make the losses. When all blocks are in, the gradient by the logits is known in closed form,
//
//     soft T (q - p) + hard (softmax(z) - 1 at the label)
//
// and its products with W and x, again block after block, are the gradients by x and W. So there are never more logits
// than those of a few rows, and none is computed twice. The gradients wait for backward, which scales them.

#include <ATen/ATen.h>
#include <ATen/autocast_mode.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/library.h>

#include <algorithm>
#include <cmath>
#include <optional>
#include <tuple>
#include <vector>

#include "Parallel.h"
#include "SoftTargetRows.h"
#include "WholeProduct.h"

namespace {

using soft_target_rows::Divergence;
using Optional = std::optional<at::Tensor>;

/// Logits that are held at once, in bytes, where that leaves enough rows for fast products.
constexpr int64_t workspace = 64 << 20;
constexpr int64_t fewest_rows = 128;
/// Classes of a block: its logits fit into the second and third cache.
constexpr int64_t block_size = 2048;

struct Problem {
  at::Tensor features, weight, bias;
  /// The teacher's features where there is a weight, otherwise its logits. Undefined without a teacher.
  at::Tensor teacher, teacher_weight, teacher_bias;
  at::Tensor labels;
  double temperature;
  Divergence divergence;
  double soft, hard;
  /// Which gradients are wanted: by features, weight, bias.
  bool wanted[3];

  int64_t rows() const { return features.size(0); }
  int64_t classes() const { return weight.size(0); }
  bool is_learning() const { return wanted[0] || wanted[1] || wanted[2]; }
  /// How many logits of a row are held.
  int64_t logits_per_row() const { return classes() * (teacher_weight.defined() ? 2 : 1); }

  int64_t rows_at_once() const {
    return std::min(rows(), std::max(fewest_rows, workspace / (4 * logits_per_row()) / 16 * 16));
  }
};

/// The losses, each summed over its rows, and the gradients of soft · the one + hard · the other.
struct Result {
  at::Tensor soft, hard, features, weight, bias;
};

void check_layer(const at::Tensor& features, const at::Tensor& weight, const at::Tensor& bias, const char* whose) {
  TORCH_CHECK(features.dim() == 2 && weight.dim() == 2 && features.size(1) == weight.size(1), whose,
              " features must be [rows, width] and the weight [classes, width], not ", features.sizes(), " and ",
              weight.sizes());
  TORCH_CHECK(weight.size(0) > 0, whose, " weight has no classes");
  TORCH_CHECK(!bias.defined() || (bias.dim() == 1 && bias.size(0) == weight.size(0)), whose,
              " bias must have a number for each class, not ", bias.sizes());
}

void check(const Problem& problem) {
  check_layer(problem.features, problem.weight, problem.bias, "the student's");
  TORCH_CHECK(problem.temperature > 0 && std::isfinite(problem.temperature), "the temperature must be positive, not ",
              problem.temperature);
  if (problem.teacher_weight.defined()) {
    check_layer(problem.teacher, problem.teacher_weight, problem.teacher_bias, "the teacher's");
    TORCH_CHECK(problem.teacher_weight.size(0) == problem.classes() && problem.teacher.size(0) == problem.rows(),
                "the teacher must have the student's classes and rows, not ", problem.teacher_weight.size(0), " and ",
                problem.teacher.size(0));
  } else if (problem.teacher.defined()) {
    TORCH_CHECK(problem.teacher.dim() == 2 && problem.teacher.size(0) == problem.rows() &&
                    problem.teacher.size(1) == problem.classes(),
                "the teacher's logits must be [rows, classes] of the student, not ", problem.teacher.sizes());
  }
  if (problem.labels.defined()) {
    const auto& labels = problem.labels;
    TORCH_CHECK(labels.dim() == 1 && labels.size(0) == problem.rows() && labels.scalar_type() == at::kLong,
                "labels must be whole numbers, one for each row, not ", labels.sizes());
    if (labels.is_cpu() && labels.numel() > 0) {
      const auto least = labels.min().item<int64_t>(), most = labels.max().item<int64_t>();
      TORCH_CHECK(least >= -1 && most < problem.classes(), "a label must be from 0 to ", problem.classes() - 1,
                  ", or -1 for none, not ", least < -1 ? least : most);
    }
  }
}

/// Whether oneDNN multiplies matrices in float32 faster than what libtorch takes.
bool prefers_onednn(const at::Tensor& x) {
#if defined(__x86_64__)
  static const bool has_instructions = __builtin_cpu_supports("avx512f");
  return has_instructions && x.is_cpu() && x.scalar_type() == at::kFloat && at::globalContext().userEnabledMkldnn();
#else
  (void)x;
  return false;
#endif
}

/// x Wᵀ + b, in the type of x.
at::Tensor product(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias = {}) {
  const auto type = x.scalar_type();
  const auto w = weight.to(type);
  const auto b = bias.defined() ? Optional(bias.to(type)) : std::nullopt;
  if (prefers_onednn(x)) {
    if (auto product = bridge::whole_product(x, w, b, false)) return *std::move(product);
  }
  return at::linear(x, w, b);
}

/// Zeros for the gradients that are wanted.
Result make_result(const Problem& problem, at::ScalarType type) {
  Result result;
  const auto zeros = [&](const at::Tensor& like) { return at::zeros(like.sizes(), like.options().dtype(type)); };
  if (problem.wanted[0]) result.features = zeros(problem.features);
  if (problem.wanted[1]) result.weight = zeros(problem.weight);
  if (problem.wanted[2]) result.bias = zeros(problem.bias);
  return result;
}

/// Adds what the gradient by the logits [rows, classes] of some rows and classes says of the gradients that are wanted.
void add_products(const Problem& problem, const at::Tensor& gradient, int64_t first_row, int64_t first_class,
                  Result& result) {
  const auto rows = gradient.size(0), classes = gradient.size(1);
  const auto x = problem.features.narrow(0, first_row, rows);
  const auto factor = gradient.to(x.scalar_type());
  if (problem.wanted[0]) {
    const auto weight = problem.weight.narrow(0, first_class, classes);
    result.features.narrow(0, first_row, rows).add_(product(factor, weight.t()));
  }
  if (problem.wanted[1]) result.weight.narrow(0, first_class, classes).add_(product(factor.t(), x.t()));
  if (problem.wanted[2]) result.bias.narrow(0, first_class, classes).add_(gradient.sum(0));
}

/// With the loops of SoftTargetRows.cpp.
Result by_blocks(const Problem& problem) {
  const auto rows = problem.rows(), classes = problem.classes(), at_once = problem.rows_at_once();
  const bool has_teacher = problem.teacher.defined(), multiplies_teacher = problem.teacher_weight.defined();
  const auto functions = soft_target_rows::functions();
  const soft_target_rows::Loss loss{has_teacher ? problem.divergence : Divergence::none,
                                    static_cast<float>(1 / problem.temperature), problem.labels.defined()};
  auto result = make_result(problem, at::kFloat);
  const auto options = problem.features.options().dtype(at::kFloat);
  const auto student_logits = at::empty({at_once, classes}, options);
  const auto teacher_logits = multiplies_teacher ? at::empty({at_once, classes}, options) : at::Tensor();
  const auto gradients = at::empty({problem.is_learning() ? at_once * std::min(block_size, classes) : 0}, options);
  const int64_t* labels = problem.labels.defined() ? problem.labels.const_data_ptr<int64_t>() : nullptr;
  double soft = 0, hard = 0;

  for (int64_t first = 0; first < rows; first += at_once) {
    const auto count = std::min(at_once, rows - first);
    std::vector<soft_target_rows::Statistics> statistics(count);
    float* const kept = student_logits.data_ptr<float>();
    float* const kept_teacher = multiplies_teacher ? teacher_logits.data_ptr<float>() : nullptr;
    const auto given_logits = has_teacher && !multiplies_teacher
                                  ? problem.teacher.narrow(0, first, count).to(at::kFloat).contiguous()
                                  : at::Tensor();
    const float* const given = given_logits.defined() ? given_logits.const_data_ptr<float>() : kept_teacher;

    for (int64_t begin = 0; begin < classes; begin += block_size) {
      const auto width = std::min(block_size, classes - begin);
      const auto block = [&](const at::Tensor& features, const at::Tensor& weight, const at::Tensor& bias) {
        return product(features.narrow(0, first, count), weight.narrow(0, begin, width),
                       bias.defined() ? bias.narrow(0, begin, width) : bias)
            .to(at::kFloat)
            .contiguous();
      };
      const auto student = block(problem.features, problem.weight, problem.bias);
      const auto teacher =
          multiplies_teacher ? block(problem.teacher, problem.teacher_weight, problem.teacher_bias) : at::Tensor();
      const float* const z = student.const_data_ptr<float>();
      const float* const v = multiplies_teacher ? teacher.const_data_ptr<float>() : nullptr;
      bridge::parallel_for(0, count, 1, [&](int64_t from, int64_t to) {
        for (auto row = from; row < to; row++) {
          const auto place = row * classes + begin;
          functions.scan(loss, z + row * width, v ? v + row * width : given ? given + place : nullptr, width,
                         kept + place, v ? kept_teacher + place : nullptr, statistics[row]);
        }
      });
    }

    for (int64_t row = 0; row < count; row++) {
      if (has_teacher) soft += statistics[row].divergence(loss);
      const auto label = labels ? labels[first + row] : -1;
      if (label >= 0) hard += statistics[row].log_plain() - kept[row * classes + label];
    }
    if (!problem.is_learning()) continue;

    for (int64_t begin = 0; begin < classes; begin += block_size) {
      const auto width = std::min(block_size, classes - begin);
      const auto gradient = gradients.narrow(0, 0, count * width).view({count, width});
      float* const out = gradient.data_ptr<float>();
      bridge::parallel_for(0, count, 1, [&](int64_t from, int64_t to) {
        for (auto row = from; row < to; row++) {
          const auto place = row * classes + begin;
          const auto label = labels ? labels[first + row] : -1;
          const auto weight = label >= 0 ? problem.hard : 0;
          functions.gradient(loss, kept + place, given ? given + place : nullptr, width, statistics[row], problem.soft,
                             weight, out + row * width);
          if (label >= begin && label < begin + width) out[row * width + label - begin] -= static_cast<float>(weight);
        }
      });
      add_products(problem, gradient, first, begin, result);
    }
  }
  result.soft = at::scalar_tensor(soft * problem.temperature * problem.temperature, options);
  result.hard = at::scalar_tensor(hard, options);
  return result;
}

/// With libtorch's operators, on any device: chunks of rows with all their classes.
Result by_rows(const Problem& problem) {
  const auto type = problem.features.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
  const auto rows = problem.rows(), at_once = problem.rows_at_once();
  const auto temperature = problem.temperature;
  auto result = make_result(problem, type);
  result.soft = at::zeros({}, problem.features.options().dtype(type));
  result.hard = at::zeros_like(result.soft);
  for (int64_t first = 0; first < rows; first += at_once) {
    const auto count = std::min(at_once, rows - first);
    const auto part = [&](const at::Tensor& tensor) { return tensor.narrow(0, first, count); };
    const auto logits = product(part(problem.features), problem.weight, problem.bias).to(type);
    at::Tensor gradient;
    if (problem.teacher.defined()) {
      const auto given = part(problem.teacher);
      const auto teacher =
          problem.teacher_weight.defined() ? product(given, problem.teacher_weight, problem.teacher_bias) : given;
      const auto log_p = at::log_softmax(teacher.to(type) / temperature, 1);
      const auto log_q = at::log_softmax(logits / temperature, 1);
      if (problem.divergence == Divergence::reverse) {
        const auto q = log_q.exp();
        const auto apart = (log_q - log_p).masked_fill_(log_q.isneginf(), 0);
        const auto each = (q * apart).sum(1, true);
        result.soft.add_(each.sum());
        gradient = q * (apart - each);
      } else {
        const auto p = log_p.exp();
        result.soft.add_((p * (log_p - log_q).masked_fill_(log_p.isneginf(), 0)).sum());
        gradient = log_q.exp() - p;
      }
      gradient.mul_(problem.soft * temperature);
    }
    if (problem.labels.defined()) {
      const auto labels = part(problem.labels).unsqueeze(1);
      const auto counts = labels.ge(0).to(type), places = labels.clamp_min(0);
      const auto log_softmax = at::log_softmax(logits, 1);
      result.hard.sub_(log_softmax.gather(1, places).masked_fill_(labels.lt(0), 0).sum());
      auto hard = log_softmax.exp().scatter_add_(1, places, -at::ones_like(counts)).mul_(counts * problem.hard);
      gradient = gradient.defined() ? gradient.add_(hard) : hard;
    }
    if (problem.is_learning() && gradient.defined()) add_products(problem, gradient, first, 0, result);
  }
  result.soft.mul_(temperature * temperature);
  return result;
}

Result compute(const Problem& problem) {
  at::NoGradGuard no_gradient;
  c10::impl::ExcludeDispatchKeyGuard no_autocast(c10::autocast_dispatch_keyset);
  const auto type = problem.features.scalar_type();
  const bool has_loops = problem.features.is_cpu() && (type == at::kFloat || type == at::kBFloat16) &&
                         (!problem.teacher.defined() || problem.teacher.scalar_type() != at::kDouble);
  return has_loops ? by_blocks(problem) : by_rows(problem);
}

struct LinearSoftTargets : torch::autograd::Function<LinearSoftTargets> {
  static torch::autograd::variable_list forward(torch::autograd::AutogradContext* context, const at::Tensor&,
                                                const at::Tensor&, const Optional&, const Problem& problem) {
    auto result = compute(problem);
    const auto total = result.soft * problem.soft + result.hard * problem.hard;
    if (problem.wanted[0]) {
      context->saved_data["0"] = result.features.to(problem.features.scalar_type());
    }
    if (problem.wanted[1]) context->saved_data["1"] = result.weight.to(problem.weight.scalar_type());
    if (problem.wanted[2]) context->saved_data["2"] = result.bias.to(problem.bias.scalar_type());
    context->saved_data["waits"] = true;
    context->mark_non_differentiable({result.soft, result.hard});
    return {total, result.soft, result.hard};
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 torch::autograd::variable_list gradients) {
    TORCH_CHECK(context->saved_data.count("waits"), "the gradients of linear_soft_targets can be had once");
    TORCH_CHECK(!at::GradMode::is_enabled(), "the gradients of linear_soft_targets have no gradients themselves");
    const auto& scale = gradients[0];
    const bool is_one = scale.is_cpu() && scale.item<double>() == 1;
    torch::autograd::variable_list results(4);
    for (const auto index : {0, 1, 2}) {
      const auto found = context->saved_data.find(std::to_string(index));
      if (found == context->saved_data.end()) continue;
      auto gradient = found->second.toTensor();
      // Nobody else holds them, so that they are scaled where they are, and become the gradients without a copy.
      results[index] = is_one ? gradient : gradient.mul_(scale.to(gradient.scalar_type()));
    }
    context->saved_data.clear();
    return results;
  }
};

std::tuple<at::Tensor, at::Tensor, at::Tensor> linear_soft_targets(
    const at::Tensor& features, const at::Tensor& weight, const Optional& bias, const Optional& teacher,
    const Optional& teacher_weight, const Optional& teacher_bias, const Optional& labels, double temperature,
    bool reverse, double soft, double hard) {
  const auto given = [](const Optional& tensor) { return tensor && tensor->defined() ? tensor->detach() : at::Tensor(); };
  Problem problem{features.detach().contiguous(), weight.detach(), given(bias), given(teacher), given(teacher_weight),
                  given(teacher_bias), given(labels), temperature, reverse ? Divergence::reverse : Divergence::forward,
                  soft, hard, {false, false, false}};
  if (problem.teacher.defined()) problem.teacher = problem.teacher.contiguous();
  if (problem.labels.defined()) problem.labels = problem.labels.contiguous();
  check(problem);
  if (at::GradMode::is_enabled()) {
    problem.wanted[0] = features.requires_grad();
    problem.wanted[1] = weight.requires_grad();
    problem.wanted[2] = problem.bias.defined() && bias->requires_grad();
  }
  if (problem.is_learning()) {
    const auto results = LinearSoftTargets::apply(features, weight, bias, problem);
    return {results[0], results[1], results[2]};
  }
  const auto result = compute(problem);
  return {result.soft * soft + result.hard * hard, result.soft, result.hard};
}

}  // namespace

TORCH_LIBRARY_FRAGMENT(distill, library) {
  library.def(
      "linear_soft_targets(Tensor features, Tensor weight, Tensor? bias, Tensor? teacher, Tensor? teacher_weight, "
      "Tensor? teacher_bias, Tensor? labels, float temperature, bool reverse, float soft, float hard) "
      "-> (Tensor, Tensor, Tensor)",
      linear_soft_targets);
}
