// The passes over activations that batch normalization makes: see BatchNorm.cpp.
#pragma once

#include <ATen/Parallel.h>

#include <algorithm>
#include <cstring>
#include <numeric>
#include <vector>

#include "Parts.h"
#include "Vectors.h"

namespace bridge::passes {

// --- Loops over numbers in a row -------------------------------------------------------------------------------------

// Each takes `count` numbers whose channels repeat after `period` numbers, a multiple of the lanes, and coefficients
// and sums for one period.

template <typename Number>
struct Row {
  const Number* input = nullptr;
  const Number* residual = nullptr;
  const Number* output = nullptr;
  const Number* gradient = nullptr;
  Number* result = nullptr;
  Number* residual_result = nullptr;
};

/// Calls `step(at, index, count)` for all lanes at a time: where they are in the row and in the period, and how many
/// of them count.
template <typename Step>
BRIDGE_INLINE void each(int64_t count, int64_t period, const Step& step) {
  int64_t at = 0;
  for (; at + period <= count; at += period)
    for (int64_t index = 0; index < period; index += lanes) step(at + index, index, lanes);
  for (int64_t index = 0; at + index < count; index += lanes)
    step(at + index, index, std::min<int64_t>(lanes, count - at - index));
}

template <typename Number>
BRIDGE_INLINE Floats load_some(const Number* from, int64_t count) {
  if (__builtin_expect(count == lanes, 1)) return load(from);
  Number copy[lanes] = {};
  std::memcpy(copy, from, count * sizeof(Number));
  return load(copy);
}

/// The first ones, and zeros.
BRIDGE_INLINE Floats first(Floats value, int64_t count) {
  float copy[lanes] = {};
  std::memcpy(copy, &value, count * sizeof(float));
  return load(copy);
}

template <typename Number>
BRIDGE_INLINE void store_some(Number* to, Floats value, int64_t count) {
  if (__builtin_expect(count == lanes, 1)) return store(to, value);
  Number copy[lanes];
  store(copy, value);
  std::memcpy(to, copy, count * sizeof(Number));
}

/// Of x − shift: the sum and the sum of squares.
struct Moments {
  static constexpr bool sums = true;

  template <typename Number>
  BRIDGE_INLINE static void run(const Row<Number>& row, int64_t count, int64_t period, const float* coefficients,
                                 float* sums) {
    each(count, period, [&](int64_t at, int64_t index, int64_t some) BRIDGE_ALWAYS {
      Floats value = load_some(row.input + at, some) - load(coefficients + index);
      if (some < lanes) value = first(value, some);
      store(sums + index, load(sums + index) + value);
      store(sums + period + index, load(sums + period + index) + value * value);
    });
  }
};

/// y = ReLU((x − mean) · scale + bias + residual); coefficients: mean, scale, bias.
template <bool adds, bool rectifies>
struct Apply {
  static constexpr bool sums = false;

  template <typename Number>
  BRIDGE_INLINE static void run(const Row<Number>& row, int64_t count, int64_t period, const float* coefficients,
                                 float*) {
    each(count, period, [&](int64_t at, int64_t index, int64_t some) BRIDGE_ALWAYS {
      Floats value = (load_some(row.input + at, some) - load(coefficients + index)) *
                         load(coefficients + period + index) +
                     load(coefficients + 2 * period + index);
      if constexpr (adds) value += load_some(row.residual + at, some);
      // NaN stays NaN, as with libtorch's ReLU.
      if constexpr (rectifies) value = (Floats)((Masks)value & ~(value < Floats{}));
      store_some(row.result + at, value, some);
    });
  }
};

/// The gradient before the ReLU, g = dy where y > 0, and of it: Σ g and Σ g (x − mean). Coefficients: mean.
template <bool rectifies, bool writes>
struct GradientSums {
  static constexpr bool sums = true;

  template <typename Number>
  BRIDGE_INLINE static void run(const Row<Number>& row, int64_t count, int64_t period, const float* coefficients,
                                 float* sums) {
    each(count, period, [&](int64_t at, int64_t index, int64_t some) BRIDGE_ALWAYS {
      Floats gradient = load_some(row.gradient + at, some);
      if constexpr (rectifies) gradient = where_positive(load_some(row.output + at, some), gradient);
      if constexpr (writes) store_some(row.residual_result + at, gradient, some);
      Floats product = gradient * (load_some(row.input + at, some) - load(coefficients + index));
      if (some < lanes) product = first(product, some);
      store(sums + index, load(sums + index) + gradient);
      store(sums + period + index, load(sums + period + index) + product);
    });
  }
};

/// dx = g · scale − (x − mean) · slope − offset; coefficients: mean, scale, slope, offset.
template <bool rectifies>
struct InputGradient {
  static constexpr bool sums = false;

  template <typename Number>
  BRIDGE_INLINE static void run(const Row<Number>& row, int64_t count, int64_t period, const float* coefficients,
                                 float*) {
    each(count, period, [&](int64_t at, int64_t index, int64_t some) BRIDGE_ALWAYS {
      Floats gradient = load_some(row.gradient + at, some);
      if constexpr (rectifies) gradient = where_positive(load_some(row.output + at, some), gradient);
      const Floats centred = load_some(row.input + at, some) - load(coefficients + index);
      store_some(row.result + at,
                 gradient * load(coefficients + period + index) - centred * load(coefficients + 2 * period + index) -
                     load(coefficients + 3 * period + index),
                 some);
    });
  }
};

// --- The same, for the processor at hand -----------------------------------------------------------------------------

template <typename Loop, typename Number>
void run_plain(const Row<Number>& row, int64_t count, int64_t period, const float* coefficients, float* sums) {
  Loop::run(row, count, period, coefficients, sums);
}

#if defined(BRIDGE_AVX512)
template <typename Loop, typename Number>
BRIDGE_AVX512 void run_avx512(const Row<Number>& row, int64_t count, int64_t period, const float* coefficients,
                               float* sums) {
  Loop::run(row, count, period, coefficients, sums);
}

template <typename Loop, typename Number>
BRIDGE_AVX2 void run_avx2(const Row<Number>& row, int64_t count, int64_t period, const float* coefficients,
                           float* sums) {
  Loop::run(row, count, period, coefficients, sums);
}
#endif

template <typename Loop, typename Number>
inline auto chosen() {
#if defined(BRIDGE_AVX512)
  if (vector_level() == 2) return run_avx512<Loop, Number>;
  if (vector_level() == 1) return run_avx2<Loop, Number>;
#endif
  return run_plain<Loop, Number>;
}

// --- Over whole tensors ----------------------------------------------------------------------------------------------

/// How the numbers of a tensor lie in memory.
struct Shape {
  int64_t images, channels, plane;
  /// Whether the channels of a pixel lie side by side; otherwise the pixels of a channel do.
  bool channels_last;

  int64_t count() const { return images * channels * plane; }
  int64_t per_channel() const { return images * plane; }
};

/// Numbers that are added up in float32 before they are added to a sum in float64, for each of the lanes.
constexpr int64_t block_periods = 128;
/// Numbers from which on another thread pays.
constexpr int64_t part_size = 1 << 14;

template <typename Number>
Row<Number> moved(const Row<Number>& row, int64_t by) {
  const auto move = [by](auto* pointer) { return pointer ? pointer + by : nullptr; };
  return {move(row.input),  move(row.residual), move(row.output),
          move(row.gradient), move(row.result), move(row.residual_result)};
}

/// Runs a loop over whole tensors. `coefficients` has some numbers for each channel: all of the first, then all of the
/// second. Returns two sums for each channel: all of the first, then all of the second.
template <typename Loop, typename Number>
std::vector<double> run(const Shape& shape, const Row<Number>& row, const std::vector<float>& coefficients) {
  const int64_t channels = shape.channels, kinds = static_cast<int64_t>(coefficients.size()) / channels;
  const auto loop = chosen<Loop, Number>();
  int64_t period = lanes;
  if (shape.channels_last) {
    // Long enough that sums are not waited for.
    period = std::lcm(channels, lanes);
    period *= (4 * lanes + period - 1) / period;
  }
  const auto spread = [&](std::vector<float>& to, int64_t channel) {
    for (int64_t kind = 0; kind < kinds; kind++) {
      const float* from = coefficients.data() + kind * channels;
      for (int64_t index = 0; index < period; index++)
        to[kind * period + index] = from[shape.channels_last ? index % channels : channel];
    }
  };
  const int64_t pieces = shape.channels_last ? shape.images * shape.plane : shape.images * channels;
  const int64_t size = shape.count() / pieces, parts = std::min(pieces, part_count(shape.count(), part_size));
  std::vector<double> sums(parts * 2 * channels);
  in_parts(parts, [&](int64_t part) {
    double* mine = sums.data() + part * 2 * channels;
    std::vector<float> spread_coefficients(kinds * period), block_sums(2 * period);
    const auto pass = [&](int64_t start, int64_t count, int64_t channel) {
      loop(moved(row, start), count, period, spread_coefficients.data(), block_sums.data());
      if (!Loop::sums) return;
      for (int64_t kind = 0; kind < 2; kind++)
        for (int64_t index = 0; index < period; index++)
          mine[kind * channels + (shape.channels_last ? index % channels : channel)] +=
              block_sums[kind * period + index];
      std::fill(block_sums.begin(), block_sums.end(), 0.0f);
    };
    const int64_t start = part_start(part, parts, pieces), end = part_start(part + 1, parts, pieces);
    if (shape.channels_last) spread(spread_coefficients, 0);
    const int64_t step = shape.channels_last ? block_periods * period / size : 1;
    for (int64_t piece = start; piece < end; piece += step) {
      const int64_t channel = piece % channels;
      if (!shape.channels_last) spread(spread_coefficients, channel);
      pass(piece * size, std::min(step, end - piece) * size, channel);
    }
  });
  for (int64_t part = 1; part < parts; part++)
    for (int64_t index = 0; index < 2 * channels; index++) sums[index] += sums[part * 2 * channels + index];
  sums.resize(2 * channels);
  return sums;
}

}  // namespace bridge::passes
