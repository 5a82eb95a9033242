// Batch normalization, together with the addition and the ReLU that follow it in convolutional networks.
//
// All three do next to no arithmetic: they cost what reading and writing the activations costs, and libtorch goes over
// them three times for the normalization and once more for each of the others. `distill::batch_norm` computes
//
//     y = ReLU((x − mean) / √(variance + ε) · weight + bias + residual)
//
// in two passes, one for the statistics and one for the rest, and its gradients in two more. It takes float32 and
// bfloat16 on processors with AVX-512, with the channels of a pixel side by side or with a plane for each channel;
// parameters, statistics and sums are in float32. Whatever else comes goes to libtorch's own operators.

#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/library.h>

#include <algorithm>
#include <cmath>
#include <optional>
#include <vector>

#include "BatchNormPasses.h"

namespace {

using namespace bridge::passes;
using Optional = std::optional<at::Tensor>;

template <typename Number>
Number* numbers(const at::Tensor& tensor) {
  return tensor.defined() ? tensor.mutable_data_ptr<std::remove_const_t<Number>>() : nullptr;
}

/// Calls `body` with a number of the tensor's type.
template <typename Body>
void with_type(const at::Tensor& tensor, const Body& body) {
  if (tensor.scalar_type() == at::kFloat) return body(float());
  body(c10::BFloat16());
}

// --- Forward ---------------------------------------------------------------------------------------------------------

struct Settings {
  bool training;
  double momentum, epsilon;
};

Shape shape_of(const at::Tensor& input) {
  const int64_t images = input.size(0), channels = input.size(1), plane = input.numel() / (images * channels);
  const bool last = plane == 1 || (input.dim() == 4 && input.is_contiguous(at::MemoryFormat::ChannelsLast));
  return {images, channels, plane, last};
}

at::MemoryFormat format_of(const at::Tensor& input) {
  return input.dim() == 4 && input.is_contiguous(at::MemoryFormat::ChannelsLast) ? at::MemoryFormat::ChannelsLast
                                                                                 : at::MemoryFormat::Contiguous;
}

/// Mean and 1 / √(variance + ε) of each channel.
struct Statistics {
  at::Tensor mean, inverse;
};

Statistics batch_statistics(const at::Tensor& input, const Optional& running_mean, const Optional& running_var,
                            const Settings& settings) {
  const Shape shape = shape_of(input);
  const int64_t channels = shape.channels;
  const double count = static_cast<double>(shape.per_channel());
  std::vector<float> shift(channels);
  std::vector<double> sums;
  with_type(input, [&](auto type) {
    using Number = decltype(type);
    const Number* data = input.const_data_ptr<Number>();
    // Squares of the distance to one of the numbers keep their digits where the mean is far from zero.
    for (int64_t channel = 0; channel < channels; channel++)
      shift[channel] = static_cast<float>(data[shape.channels_last ? channel : channel * shape.plane]);
    sums = run<Moments>(shape, Row<Number>{.input = data}, shift);
  });
  Statistics result{at::empty({channels}, at::kFloat), at::empty({channels}, at::kFloat)};
  float *mean = numbers<float>(result.mean), *inverse = numbers<float>(result.inverse);
  const bool tracks = running_mean && running_mean->defined();
  float* running[2] = {tracks ? numbers<float>(*running_mean) : nullptr,
                       tracks ? numbers<float>(*running_var) : nullptr};
  for (int64_t channel = 0; channel < channels; channel++) {
    const double first = sums[channel] / count, second = sums[channels + channel] / count;
    const double average = shift[channel] + first, variance = std::max(0.0, second - first * first);
    mean[channel] = static_cast<float>(average);
    inverse[channel] = static_cast<float>(1 / std::sqrt(variance + settings.epsilon));
    if (!tracks) continue;
    const auto move = [&](float& value, double towards) {
      value = static_cast<float>((1 - settings.momentum) * value + settings.momentum * towards);
    };
    move(running[0][channel], average);
    move(running[1][channel], variance * count / (count - 1));
  }
  if (tracks) {
    running_mean->unsafeGetTensorImpl()->bump_version();
    running_var->unsafeGetTensorImpl()->bump_version();
  }
  return result;
}

Statistics kept_statistics(const at::Tensor& running_mean, const at::Tensor& running_var, double epsilon) {
  const int64_t channels = running_mean.numel();
  Statistics result{running_mean.detach().clone(), at::empty({channels}, at::kFloat)};
  const float* variance = running_var.const_data_ptr<float>();
  float* inverse = numbers<float>(result.inverse);
  for (int64_t channel = 0; channel < channels; channel++)
    inverse[channel] = static_cast<float>(1 / std::sqrt(variance[channel] + epsilon));
  return result;
}

at::Tensor normalize(const at::Tensor& input, const at::Tensor& weight, const at::Tensor& bias,
                     const Optional& residual, const Statistics& statistics, bool relu) {
  const Shape shape = shape_of(input);
  const int64_t channels = shape.channels;
  std::vector<float> coefficients(3 * channels);
  const float *mean = statistics.mean.const_data_ptr<float>(), *inverse = statistics.inverse.const_data_ptr<float>();
  const float *scale = weight.const_data_ptr<float>(), *offset = bias.const_data_ptr<float>();
  for (int64_t channel = 0; channel < channels; channel++) {
    coefficients[channel] = mean[channel];
    coefficients[channels + channel] = scale[channel] * inverse[channel];
    coefficients[2 * channels + channel] = offset[channel];
  }
  at::Tensor output = at::empty_like(input);
  const bool adds = residual && residual->defined();
  with_type(input, [&](auto type) {
    using Number = decltype(type);
    const Row<Number> row{.input = input.const_data_ptr<Number>(),
                          .residual = adds ? residual->const_data_ptr<Number>() : nullptr,
                          .result = numbers<Number>(output)};
    if (adds && relu) run<Apply<true, true>>(shape, row, coefficients);
    else if (adds) run<Apply<true, false>>(shape, row, coefficients);
    else if (relu) run<Apply<false, true>>(shape, row, coefficients);
    else run<Apply<false, false>>(shape, row, coefficients);
  });
  return output;
}

Statistics statistics_of(const at::Tensor& input, const Optional& running_mean, const Optional& running_var,
                         const Settings& settings) {
  return settings.training ? batch_statistics(input, running_mean, running_var, settings)
                           : kept_statistics(*running_mean, *running_var, settings.epsilon);
}

// --- Backward --------------------------------------------------------------------------------------------------------

struct Gradients {
  at::Tensor input, weight, bias, residual;
};

/// - Parameters:
///   - output: what went out, if it went through a ReLU and something was added
///   - in_place: whether `gradient` is nobody else's, and may be overwritten
Gradients gradients_of(const at::Tensor& input, const at::Tensor& weight, const at::Tensor& bias,
                       const at::Tensor& output, const Statistics& statistics, const at::Tensor& gradient,
                       bool in_place, bool training, bool relu, bool wants_input, bool wants_residual) {
  const Shape shape = shape_of(input);
  const int64_t channels = shape.channels;
  const bool writes = relu && wants_residual;
  const double count = static_cast<double>(shape.per_channel());
  const float *mean = statistics.mean.const_data_ptr<float>(), *inverse = statistics.inverse.const_data_ptr<float>();
  const float *scale = weight.const_data_ptr<float>(), *offset = bias.const_data_ptr<float>();
  Gradients result;
  if (wants_residual) result.residual = relu && !in_place ? at::empty_like(input) : gradient;
  if (wants_input) result.input = in_place && !wants_residual ? gradient : at::empty_like(input);
  result.weight = at::empty({channels}, at::kFloat);
  result.bias = at::empty({channels}, at::kFloat);
  with_type(input, [&](auto type) {
    using Number = decltype(type);
    Row<Number> row{.input = input.const_data_ptr<Number>(),
                    .output = output.defined() ? output.const_data_ptr<Number>() : nullptr,
                    .gradient = gradient.const_data_ptr<Number>(),
                    .result = wants_input ? numbers<Number>(result.input) : nullptr,
                    .residual_result = writes ? numbers<Number>(result.residual) : nullptr};
    std::vector<float> coefficients(3 * channels);
    for (int64_t channel = 0; channel < channels; channel++) {
      coefficients[channel] = mean[channel];
      coefficients[channels + channel] = scale[channel] * inverse[channel];
      coefficients[2 * channels + channel] = offset[channel];
    }
    const auto sums = writes             ? run<GradientSums<Through::output, true>>(shape, row, coefficients)
                      : output.defined() ? run<GradientSums<Through::output, false>>(shape, row, coefficients)
                      : relu             ? run<GradientSums<Through::input, false>>(shape, row, coefficients)
                                         : run<GradientSums<Through::all, false>>(shape, row, coefficients);
    coefficients.resize(5 * channels);
    float *weight_gradient = numbers<float>(result.weight), *bias_gradient = numbers<float>(result.bias);
    for (int64_t channel = 0; channel < channels; channel++) {
      const double sum = sums[channel], product = sums[channels + channel], deviation = inverse[channel];
      bias_gradient[channel] = static_cast<float>(sum);
      weight_gradient[channel] = static_cast<float>(product * deviation);
      if (!training) continue;  // the statistics do not depend on what comes in
      const double factor = scale[channel] * deviation;
      coefficients[3 * channels + channel] = static_cast<float>(factor * deviation * deviation * product / count);
      coefficients[4 * channels + channel] = static_cast<float>(factor * sum / count);
    }
    if (!wants_input) return;
    if (writes) row.gradient = row.residual_result;
    if (writes || !relu) run<InputGradient<Through::all>>(shape, row, coefficients);
    else if (output.defined()) run<InputGradient<Through::output>>(shape, row, coefficients);
    else run<InputGradient<Through::input>>(shape, row, coefficients);
  });
  return result;
}

struct BatchNorm : torch::autograd::Function<BatchNorm> {
  static at::Tensor forward(torch::autograd::AutogradContext* context, const at::Tensor& input,
                            const at::Tensor& weight, const at::Tensor& bias, const Optional& residual,
                            const Optional& running_mean, const Optional& running_var, bool training, double momentum,
                            double epsilon, bool relu) {
    const auto statistics = statistics_of(input, running_mean, running_var, {training, momentum, epsilon});
    const auto output = normalize(input, weight, bias, residual, statistics, relu);
    const bool adds = residual && residual->defined();
    context->save_for_backward(
        {input, weight, bias, relu && adds ? output : at::Tensor(), statistics.mean, statistics.inverse});
    context->saved_data["training"] = training;
    context->saved_data["epsilon"] = epsilon;
    context->saved_data["relu"] = relu;
    context->saved_data["adds"] = adds;
    return output;
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 const torch::autograd::variable_list& given) {
    const auto saved = context->get_saved_variables();
    const auto &input = saved[0], &weight = saved[1], &bias = saved[2], &output = saved[3];
    const Statistics statistics{saved[4], saved[5]};
    const bool relu = context->saved_data["relu"].toBool();
    const bool training = context->saved_data["training"].toBool(), adds = context->saved_data["adds"].toBool();
    const bool wants_residual = adds && context->needs_input_grad(3);
    Gradients result;
    if (at::GradMode::is_enabled()) {
      // With a graph of the gradients themselves, everything has to be made of operators that have gradients.
      const auto through = [&] {
        if (output.defined()) return output > 0;
        const auto like = [&](const at::Tensor& numbers) {
          std::vector<int64_t> sizes(input.dim(), 1);
          sizes[1] = -1;
          return numbers.detach().view(sizes);
        };
        const auto centred = input.detach().to(at::kFloat) - like(statistics.mean);
        return centred * like(weight.detach() * statistics.inverse) + like(bias) > 0;
      };
      const auto gradient = relu ? given[0] * through() : given[0];
      const auto variance = statistics.inverse.pow(-2) - context->saved_data["epsilon"].toDouble();
      std::tie(result.input, result.weight, result.bias) = at::native_batch_norm_backward(
          gradient, input, weight, statistics.mean, variance, statistics.mean, statistics.inverse, training,
          context->saved_data["epsilon"].toDouble(), {true, true, true});
      result.residual = gradient;
    } else {
      const auto format = format_of(input);
      const bool copies = !given[0].is_contiguous(format);
      const at::Tensor gradient = copies ? given[0].contiguous(format) : given[0];
      // As libtorch does where it adds gradients up: what nobody else holds is overwritten, to spare memory traffic.
      // The two who hold it are the list of gradients and the line above.
      const bool in_place = copies || (given[0].use_count() == 2 && given[0].storage().use_count() == 1);
      result = gradients_of(input, weight, bias, output, statistics, gradient, in_place, training, relu,
                            context->needs_input_grad(0), wants_residual);
    }
    const auto if_wanted = [&](size_t index, const at::Tensor& tensor) {
      return context->needs_input_grad(index) ? tensor : at::Tensor();
    };
    return {if_wanted(0, result.input), if_wanted(1, result.weight), if_wanted(2, result.bias),
            wants_residual ? result.residual : at::Tensor(), {}, {}, {}, {}, {}, {}};
  }
};

// --- The operator ----------------------------------------------------------------------------------------------------

/// Pixels of a channel from which on our loops over one channel at a time pay.
constexpr int64_t least_plane = 256;

bool is_given(const Optional& tensor) { return tensor && tensor->defined(); }

/// Whether a tensor is one number for each channel, as our loops take it.
bool is_per_channel(const at::Tensor& tensor, int64_t channels) {
  return tensor.defined() && tensor.device().is_cpu() && tensor.scalar_type() == at::kFloat && tensor.dim() == 1 &&
         tensor.size(0) == channels && tensor.is_contiguous();
}

bool suits(const at::Tensor& input, const at::Tensor& weight, const at::Tensor& bias, const Optional& running_mean,
           const Optional& running_var, const Optional& residual, bool training) {
  if (!input.device().is_cpu() || input.layout() != at::kStrided || input.dim() < 2 || input.numel() == 0) return false;
  const bool halves = input.scalar_type() == at::kBFloat16;
  if ((!halves && input.scalar_type() != at::kFloat) || !bridge::has_wide_vectors(halves)) return false;
  const int64_t channels = input.size(1);
  if (training && input.numel() == channels) return false;  // without a variance: what that gives, libtorch decides
  if (const auto shape = shape_of(input); !shape.channels_last && shape.plane < least_plane) return false;
  if (!is_per_channel(weight, channels) || !is_per_channel(bias, channels)) return false;
  if (is_given(running_mean) != is_given(running_var)) return false;
  if (is_given(running_mean) ? !is_per_channel(*running_mean, channels) || !is_per_channel(*running_var, channels)
                             : !training)
    return false;
  return !is_given(residual) || (residual->scalar_type() == input.scalar_type() && residual->device().is_cpu() &&
                                 residual->layout() == at::kStrided && residual->sizes() == input.sizes());
}

at::Tensor batch_norm(const at::Tensor& given, const at::Tensor& weight, const at::Tensor& bias,
                      const Optional& running_mean, const Optional& running_var, const Optional& given_residual,
                      bool training, double momentum, double epsilon, bool relu) {
  if (!suits(given, weight, bias, running_mean, running_var, given_residual, training)) {
    auto output = at::batch_norm(given, weight, bias, running_mean, running_var, training, momentum, epsilon, true);
    if (is_given(given_residual)) output = output + *given_residual;
    return relu ? at::relu(output) : output;
  }
  const auto format = format_of(given);
  const auto input = given.contiguous(format);
  const Optional residual = is_given(given_residual) ? Optional(given_residual->contiguous(format)) : std::nullopt;
  const bool records = at::GradMode::is_enabled() && (input.requires_grad() || weight.requires_grad() ||
                                                      bias.requires_grad() || (residual && residual->requires_grad()));
  if (records)
    return BatchNorm::apply(input, weight, bias, residual, running_mean, running_var, training, momentum, epsilon,
                            relu);
  return normalize(input, weight, bias, residual,
               statistics_of(input, running_mean, running_var, {training, momentum, epsilon}), relu);
}

}  // namespace

TORCH_LIBRARY_FRAGMENT(distill, library) {
  library.def(
      "batch_norm(Tensor input, Tensor weight, Tensor bias, Tensor(a!)? running_mean, Tensor(b!)? running_var, "
      "Tensor? residual, bool training, float momentum, float epsilon, bool relu) -> Tensor",
      batch_norm);
}
