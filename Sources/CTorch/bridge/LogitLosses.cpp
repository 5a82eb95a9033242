// Soft targets and hard labels, each in one pass over the rows that gives the sum of the losses and its gradient:
//
//     T² Σ p (log p - log q)      by z:  T (q - p)             p = softmax(v / T), q = softmax(z / T)
//     -log softmax(z)[y]          by z:  softmax(z) - 1 at y   0 for a row without a label, y = -1
//
// In libtorch's operators these are a dozen calls, each with a node of the graph, for a few thousand numbers. Sums are
// taken in double precision, in an order that does not depend on the number of threads. And the sum of several losses,
// each with its weight, as one operator too, which says beside it what each loss adds.

#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/library.h>

#include <algorithm>
#include <tuple>
#include <vector>

#include "Parallel.h"
#include "SoftTargetRows.h"

namespace {

using soft_target_rows::Divergence;
using soft_target_rows::Loss;
using soft_target_rows::Statistics;

/// Numbers that a thread should have at least.
constexpr int64_t grain = 1 << 14;

/// A single number, in float32 on the processor.
at::Tensor number(double value, const at::Tensor& like) {
  auto tensor = at::empty({}, like.options());
  *tensor.data_ptr<float>() = static_cast<float>(value);
  return tensor;
}

struct Result {
  at::Tensor sum;
  /// By the logits; undefined where it was not wanted.
  at::Tensor gradient;
};

/// Calls `row(index, gradient)` for each row, which gives its loss and writes its gradient, if that is not null.
template <typename Row>
Result over_rows(const at::Tensor& logits, bool wants_gradient, const Row& row) {
  const int64_t classes = logits.size(-1), rows = logits.numel() / classes;
  Result result;
  if (wants_gradient) result.gradient = at::empty(logits.sizes(), logits.options());
  float* gradient = wants_gradient ? result.gradient.data_ptr<float>() : nullptr;
  std::vector<double> losses(rows);
  bridge::parallel_for(0, rows, grain / classes + 1, [&](int64_t first, int64_t last) {
    for (int64_t index = first; index < last; index++)
      losses[index] = row(index, gradient ? gradient + index * classes : nullptr);
  });
  double sum = 0;
  for (double loss : losses) sum += loss;
  result.sum = number(sum, logits);
  return result;
}

Result soft_targets(const at::Tensor& student, const at::Tensor& teacher, double temperature, bool wants_gradient) {
  const auto functions = soft_target_rows::functions();
  const Loss loss{Divergence::forward, static_cast<float>(1 / temperature), false};
  const int64_t classes = student.size(-1);
  const float *z = student.const_data_ptr<float>(), *v = teacher.const_data_ptr<float>();
  return over_rows(student, wants_gradient, [&](int64_t row, float* gradient) {
    const int64_t start = row * classes;
    Statistics statistics;
    functions.scan(loss, z + start, v + start, classes, nullptr, nullptr, statistics);
    if (gradient) functions.gradient(loss, z + start, v + start, classes, statistics, 1, 0, gradient);
    return temperature * temperature * statistics.divergence(loss);
  });
}

Result hard_labels(const at::Tensor& logits, const at::Tensor& labels, bool wants_gradient) {
  const auto functions = soft_target_rows::functions();
  const Loss loss{Divergence::none, 1, true};
  const int64_t classes = logits.size(-1);
  const float* z = logits.const_data_ptr<float>();
  const int64_t* y = labels.const_data_ptr<int64_t>();
  return over_rows(logits, wants_gradient, [&](int64_t row, float* gradient) {
    const int64_t start = row * classes, label = y[row];
    TORCH_CHECK_INDEX(label >= -1 && label < classes, "Target ", label, " is out of bounds.");
    if (label < 0) {
      if (gradient) std::fill(gradient, gradient + classes, 0.f);
      return 0.0;
    }
    Statistics statistics;
    functions.scan(loss, z + start, nullptr, classes, nullptr, nullptr, statistics);
    if (gradient) {
      functions.gradient(loss, z + start, nullptr, classes, statistics, 0, 1, gradient);
      gradient[label] -= 1;
    }
    return statistics.log_plain() - z[start + label];
  });
}

/// With a graph of the gradients themselves, these are made of operators that have gradients.
at::Tensor differentiable_gradient(const at::Tensor& logits, const at::Tensor& targets, double temperature) {
  return (at::softmax(logits / temperature, -1) - at::softmax(targets / temperature, -1)) * temperature;
}

at::Tensor differentiable_gradient(const at::Tensor& logits, const at::Tensor& labels) {
  const auto counts = labels.ge(0).unsqueeze(-1);
  const auto places = at::one_hot(labels.clamp_min(0), logits.size(-1));
  return (at::softmax(logits, -1) - places) * counts;
}

struct SoftTargets : torch::autograd::Function<SoftTargets> {
  static at::Tensor forward(torch::autograd::AutogradContext* context, const at::Tensor& student,
                            const at::Tensor& teacher, double temperature) {
    auto result = soft_targets(student, teacher, temperature, true);
    context->save_for_backward({student, teacher, result.gradient});
    context->saved_data["temperature"] = temperature;
    return result.sum;
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 torch::autograd::variable_list gradients) {
    const auto saved = context->get_saved_variables();
    const auto gradient =
        at::GradMode::is_enabled()
            ? differentiable_gradient(saved[0], saved[1], context->saved_data["temperature"].toDouble())
            : saved[2];
    return {gradient * gradients[0], at::Tensor(), at::Tensor()};
  }
};

struct HardLabels : torch::autograd::Function<HardLabels> {
  static at::Tensor forward(torch::autograd::AutogradContext* context, const at::Tensor& logits,
                            const at::Tensor& labels) {
    auto result = hard_labels(logits, labels, true);
    context->save_for_backward({logits, labels, result.gradient});
    return result.sum;
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 torch::autograd::variable_list gradients) {
    const auto saved = context->get_saved_variables();
    const auto gradient = at::GradMode::is_enabled() ? differentiable_gradient(saved[0], saved[1]) : saved[2];
    return {gradient * gradients[0], at::Tensor()};
  }
};

struct WeightedSum : torch::autograd::Function<WeightedSum> {
  static torch::autograd::variable_list forward(torch::autograd::AutogradContext* context, at::TensorList sums,
                                                std::vector<double> weights) {
    const auto shares = at::empty({static_cast<int64_t>(sums.size())}, sums[0].options().dtype(at::kDouble));
    double* share = shares.data_ptr<double>();
    double total = 0;
    for (size_t i = 0; i < sums.size(); i++) {
      // In the type of the loss: one that is infinite there is so here.
      share[i] = static_cast<float>(sums[i].const_data_ptr<float>()[0] * weights[i]);
      total += share[i];
    }
    context->saved_data["weights"] = std::move(weights);
    context->mark_non_differentiable({shares});
    return {number(total, sums[0]), shares};
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 torch::autograd::variable_list gradients) {
    const auto weights = context->saved_data["weights"].toDoubleVector();
    const bool plain = !at::GradMode::is_enabled() && suits(gradients[0]);
    torch::autograd::variable_list found;
    for (const double weight : weights)
      found.push_back(plain ? number(gradients[0].const_data_ptr<float>()[0] * weight, gradients[0])
                            : gradients[0] * weight);
    found.emplace_back();
    return found;
  }

  /// A single number in float32 on the processor.
  static bool suits(const at::Tensor& sum) {
    return sum.numel() == 1 && sum.dim() == 0 && sum.scalar_type() == at::kFloat && sum.device().is_cpu() &&
           !sum.is_neg();
  }
};

std::tuple<at::Tensor, at::Tensor> weighted_sum(const c10::List<at::Tensor>& list, const c10::List<double>& weights) {
  const auto sums = list.vec();
  TORCH_CHECK(!sums.empty() && sums.size() == weights.size(), "there must be a weight for each sum");
  if (std::all_of(sums.begin(), sums.end(), WeightedSum::suits)) {
    auto found = WeightedSum::apply(at::TensorList(sums), weights.vec());
    return {found[0], found[1]};
  }
  at::Tensor total;
  std::vector<at::Tensor> shares;
  for (size_t i = 0; i < sums.size(); i++) {
    const auto share = sums[i] * weights.get(i);
    total = total.defined() ? total + share : share;
    shares.push_back(share.detach().reshape({}));
  }
  return {total, at::stack(shares).to(total.device().is_mps() ? at::kFloat : at::kDouble)};
}

void require_rows(const at::Tensor& logits) {
  TORCH_CHECK(logits.dim() >= 1 && logits.size(-1) >= 1 && logits.scalar_type() == at::kFloat && logits.device().is_cpu(),
              "logits must be [..., C] in float32 on the processor");
}

bool records(const at::Tensor& logits) { return at::GradMode::is_enabled() && logits.requires_grad(); }

at::Tensor soft_target_sum(const at::Tensor& student, const at::Tensor& teacher, double temperature) {
  require_rows(student);
  require_rows(teacher);
  TORCH_CHECK(student.sizes() == teacher.sizes(), "logits of student and teacher must have one shape");
  const auto z = student.contiguous(), v = teacher.detach().contiguous();
  return records(z) ? SoftTargets::apply(z, v, temperature) : soft_targets(z, v, temperature, false).sum;
}

at::Tensor hard_label_sum(const at::Tensor& logits, const at::Tensor& labels) {
  require_rows(logits);
  TORCH_CHECK(labels.scalar_type() == at::kLong && labels.device().is_cpu() &&
                  labels.sizes() == logits.sizes().slice(0, logits.dim() - 1),
              "there must be a label for each row");
  const auto z = logits.contiguous(), y = labels.contiguous();
  return records(z) ? HardLabels::apply(z, y) : hard_labels(z, y, false).sum;
}

}  // namespace

TORCH_LIBRARY_FRAGMENT(distill, library) {
  library.def("soft_target_sum(Tensor student, Tensor teacher, float temperature) -> Tensor", soft_target_sum);
  library.def("hard_label_sum(Tensor logits, Tensor labels) -> Tensor", hard_label_sum);
  library.def("weighted_sum(Tensor[] sums, float[] weights) -> (Tensor total, Tensor shares)", weighted_sum);
}
