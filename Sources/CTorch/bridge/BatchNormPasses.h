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

// --- Sixteen numbers -------------------------------------------------------------------------------------------------

template <typename Number>
struct Row {
  const Number* input = nullptr;
  const Number* residual = nullptr;
  const Number* output = nullptr;
  const Number* gradient = nullptr;
  Number* result = nullptr;
  Number* residual_result = nullptr;
};

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

// Each takes the numbers at `at`, of which `some` count, a vector of each of the coefficients, and two sums.

/// Of x − shift: the sum and the sum of squares.
struct Moments {
  static constexpr int coefficients = 1;
  static constexpr bool sums = true;

  template <typename Number>
  BRIDGE_INLINE static void step(const Row<Number>& row, int64_t at, int64_t some, const Floats* given, Floats* sums) {
    Floats value = load_some(row.input + at, some) - given[0];
    if (some < lanes) value = first(value, some);
    sums[0] += value;
    sums[1] += value * value;
  }
};

/// y = ReLU((x − mean) · scale + bias + residual); coefficients: mean, scale, bias.
template <bool adds, bool rectifies>
struct Apply {
  static constexpr int coefficients = 3;
  static constexpr bool sums = false;

  template <typename Number>
  BRIDGE_INLINE static void step(const Row<Number>& row, int64_t at, int64_t some, const Floats* given, Floats*) {
    Floats value = (load_some(row.input + at, some) - given[0]) * given[1] + given[2];
    if constexpr (adds) value += load_some(row.residual + at, some);
    // NaN stays NaN, as with libtorch's ReLU.
    if constexpr (rectifies) value = (Floats)((Masks)value & ~(value < Floats{}));
    store_some(row.result + at, value, some);
  }
};

/// From what the backward passes see where a ReLU let through what it was given.
enum class Through {
  /// There is no ReLU.
  all,
  /// From what went out.
  output,
  /// From what came in, where nothing was added: that is read anyway.
  input,
};

/// dy where y > 0, else 0; the coefficients begin with mean, scale, bias.
template <Through through, typename Number>
BRIDGE_INLINE Floats let_through(const Row<Number>& row, int64_t at, int64_t some, Floats centred, const Floats* given) {
  const Floats gradient = load_some(row.gradient + at, some);
  if constexpr (through == Through::output) return where_positive(load_some(row.output + at, some), gradient);
  if constexpr (through == Through::input) return where_positive(centred * given[1] + given[2], gradient);
  return gradient;
}

/// The gradient before the ReLU, g = dy where y > 0, and of it: Σ g and Σ g (x − mean). Coefficients: mean, scale,
/// bias.
template <Through through, bool writes>
struct GradientSums {
  static constexpr int coefficients = 3;
  static constexpr bool sums = true;

  template <typename Number>
  BRIDGE_INLINE static void step(const Row<Number>& row, int64_t at, int64_t some, const Floats* given, Floats* sums) {
    const Floats centred = load_some(row.input + at, some) - given[0];
    Floats gradient = let_through<through>(row, at, some, centred, given);
    if constexpr (writes) store_some(row.residual_result + at, gradient, some);
    Floats product = gradient * centred;
    if (some < lanes) gradient = first(gradient, some), product = first(product, some);
    sums[0] += gradient;
    sums[1] += product;
  }
};

/// dx = g · scale − (x − mean) · slope − offset; coefficients: mean, scale, bias, slope, offset.
template <Through through>
struct InputGradient {
  static constexpr int coefficients = 5;
  static constexpr bool sums = false;

  template <typename Number>
  BRIDGE_INLINE static void step(const Row<Number>& row, int64_t at, int64_t some, const Floats* given, Floats*) {
    const Floats centred = load_some(row.input + at, some) - given[0];
    const Floats gradient = let_through<through>(row, at, some, centred, given);
    store_some(row.result + at, gradient * given[1] - centred * given[3] - given[4], some);
  }
};

// --- Numbers in a row ------------------------------------------------------------------------------------------------

/// Vectors whose coefficients and sums are kept in registers.
constexpr int kept = 4;

/// Takes `count` numbers whose channels repeat after `period` numbers, a multiple of the lanes. There are coefficients
/// and sums for one period.
template <typename Loop, typename Number>
BRIDGE_WIDE void run_row(const Row<Number>& given_row, int64_t count, int64_t period, const float* coefficients,
                         float* all_sums) {
  constexpr int kinds = Loop::coefficients;
  const Row<Number> row = given_row;  // what is written cannot change it
  int64_t at = 0;
  if (period == kept * lanes) {
    Floats given[kept][kinds], sums[kept][2];
    unrolled<kept>([&](auto vector) BRIDGE_ALWAYS {
      unrolled<kinds>([&](auto kind) BRIDGE_ALWAYS {
        given[vector][kind] = load(coefficients + kind * period + vector * lanes);
      });
      unrolled<2>([&](auto kind) BRIDGE_ALWAYS {
        sums[vector][kind] = load(all_sums + kind * period + vector * lanes);
      });
    });
    for (; at + period <= count; at += period)
      unrolled<kept>([&](auto vector) BRIDGE_ALWAYS {
        Loop::step(row, at + vector * lanes, lanes, given[vector], sums[vector]);
      });
    unrolled<kept>([&](auto vector) BRIDGE_ALWAYS {
      unrolled<2>([&](auto kind) BRIDGE_ALWAYS {
        store(all_sums + kind * period + vector * lanes, sums[vector][kind]);
      });
    });
  }
  for (int64_t index = 0; at < count; at += lanes, index = index + lanes < period ? index + lanes : 0) {
    Floats given[kinds], sums[2] = {load(all_sums + index), load(all_sums + period + index)};
    unrolled<kinds>([&](auto kind) BRIDGE_ALWAYS { given[kind] = load(coefficients + kind * period + index); });
    Loop::step(row, at, std::min(lanes, count - at), given, sums);
    if constexpr (Loop::sums) {
      store(all_sums + index, sums[0]);
      store(all_sums + period + index, sums[1]);
    }
  }
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
  int64_t period = kept * lanes;
  if (shape.channels_last) {
    // Long enough that sums are not waited for.
    const int64_t least = std::lcm(channels, lanes);
    period = (period + least - 1) / least * least;
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
    // Of as many numbers as lie together each is another channel's, or all are one's.
    const int64_t group = shape.channels_last ? channels : period;
    const auto pass = [&](int64_t start, int64_t count, int64_t channel) {
      run_row<Loop>(moved(row, start), count, period, spread_coefficients.data(), block_sums.data());
      if (!Loop::sums) return;
      for (int64_t index = 0; index < 2 * period; index += group) {
        double* to = mine + (index < period ? 0 : channels) + channel;
        for (int64_t next = 0; next < group; next++) to[shape.channels_last ? next : 0] += block_sums[index + next];
      }
      std::fill(block_sums.begin(), block_sums.end(), 0.0f);
    };
    const int64_t start = part_start(part, parts, pieces), end = part_start(part + 1, parts, pieces);
    if (shape.channels_last) spread(spread_coefficients, 0);
    const int64_t step = shape.channels_last ? block_periods * period / size : 1;
    for (int64_t piece = start; piece < end; piece += step) {
      const int64_t channel = shape.channels_last ? 0 : piece % channels;
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
