// The kernels of convolutions of 3×3 windows in bfloat16: see Convolution.cpp.
//
// All multiply pairs: one instruction of AVX512-BF16 adds a₀ b₀ + a₁ b₁ to each of sixteen sums. The pairs of an output
// are two channels of what comes in, the pairs of the weights' gradient two pixels.

#include "ConvolutionPairs.h"

#if defined(BRIDGE_PAIRS)

#include <ATen/ATen.h>
#include <immintrin.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "Parts.h"

#if !defined(__clang__)
// GCC warns of its own header, where what is not given is left as it is.
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif

namespace bridge {
namespace {

constexpr int64_t lanes = 16;
#define BRIDGE_PAIRS_TARGET __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,avx2,fma")))
#define BRIDGE_PAIRS_INLINE inline __attribute__((always_inline)) BRIDGE_PAIRS_TARGET

/// The side of a window.
constexpr int64_t side = 3;

using Half = uint16_t;
using Pair = uint32_t;

/// Calls `body` with the numbers from 0 to `count` − 1 as constants.
template <int... index, typename Body>
BRIDGE_PAIRS_INLINE void unrolled(std::integer_sequence<int, index...>, const Body& body) {
  (body(std::integral_constant<int, index>()), ...);
}

#define UNROLLED(name, count) \
  unrolled(std::make_integer_sequence<int, count>(), [&](auto name) __attribute__((always_inline)) BRIDGE_PAIRS_TARGET

BRIDGE_PAIRS_INLINE __m512 multiply_add(__m512 sum, __m512i pairs, __m512i others) {
  return _mm512_dpbf16_ps(sum, (__m512bh)pairs, (__m512bh)others);
}

BRIDGE_PAIRS_INLINE __m512i broadcast(const void* pair) {
  Pair value;
  std::memcpy(&value, pair, sizeof value);
  return _mm512_set1_epi32(static_cast<int>(value));
}

/// What is read next, fetched into the caches some of it at a time, while something else is computed.
struct Ahead {
  const char* at;
  int64_t left;
  /// Bytes at a time.
  int64_t step;

  Ahead(const void* data, int64_t bytes, int64_t steps)
      : at(static_cast<const char*>(data)), left(data ? bytes : 0), step((bytes / steps + 64) / 64 * 64) {}

  BRIDGE_PAIRS_INLINE void fetch() {
    const int64_t bytes = std::min(step, left);
    for (int64_t byte = 0; byte < bytes; byte += 64) _mm_prefetch(at + byte, _MM_HINT_T1);
    at += bytes;
    left -= bytes;
  }
};

// --- Outputs ---------------------------------------------------------------------------------------------------------

/// `pixels` outputs beside each other in `blocks` times sixteen channels.
///
/// - Parameters:
///   - input: where the windows begin, in an image with its padding
///   - weights: `[3, inputs / 2, 3, blocks, 16, 2]`
///   - count: how many of the outputs there are
template <int pixels, int blocks, int stride>
BRIDGE_PAIRS_INLINE void outputs(const Half* input, int64_t row, int64_t inputs, const Half* weights, Half* output,
                          int64_t channels, int64_t count) {
  __m512 sums[pixels][blocks];
  UNROLLED(pixel, pixels) {
    UNROLLED(block, blocks) { sums[pixel][block] = _mm512_setzero_ps(); });
  });
  for (int64_t y = 0; y < side; y++, input += row) {
    for (int64_t channel = 0; channel < inputs; channel += 2, weights += side * blocks * 2 * lanes) {
      __m512i window[side][blocks];
      UNROLLED(x, 3) {
        UNROLLED(block, blocks) { window[x][block] = _mm512_loadu_si512(weights + (x * blocks + block) * 2 * lanes); });
      });
      UNROLLED(column, stride * (pixels - 1) + 3) {
        const __m512i pair = broadcast(input + column * inputs + channel);
        UNROLLED(x, 3) {
          if constexpr (column >= x && (column - x) % stride == 0 && (column - x) / stride < pixels) {
            UNROLLED(block, blocks) {
              __m512& sum = sums[(column - x) / stride][block];
              sum = multiply_add(sum, pair, window[x][block]);
            });
          }
        });
      });
    }
  }
  UNROLLED(pixel, pixels) {
    if (pixel < count) {
      UNROLLED(block, blocks) {
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(output + pixel * channels + block * lanes),
                            (__m256i)_mm512_cvtneps_pbh(sums[pixel][block]));
      });
    }
  });
}

/// An image with a border of zeros, for windows of which `pixels` lie beside each other.
struct Padded {
  int64_t row, count;

  Padded(const ConvolutionSizes& sizes, int64_t pixels) {
    const int64_t blocks = (sizes.output_columns() + pixels - 1) / pixels;
    row = std::max(sizes.columns + 2, sizes.stride * (blocks * pixels - 1) + 3) * sizes.inputs;
    count = row * (sizes.rows + 2);
  }
};

void copy_image(const Half* image, Half* padded, const ConvolutionSizes& sizes, int64_t row) {
  const int64_t size = sizes.columns * sizes.inputs;
  for (int64_t y = 0; y < sizes.rows; y++)
    std::memcpy(padded + (y + 1) * row + sizes.inputs, image + y * size, size * sizeof(Half));
}

template <int pixels, int blocks, int stride>
BRIDGE_PAIRS_TARGET void image_outputs(const Half* padded, int64_t row, const Half* weights, Half* output,
                                       const ConvolutionSizes& sizes, const Half* next) {
  Ahead ahead(next, sizes.rows * sizes.columns * sizes.inputs * sizeof(Half), sizes.output_rows());
  const int64_t columns = sizes.output_columns(), channels = sizes.outputs, size = side * side * sizes.inputs * lanes;
  for (int64_t block = 0; block < channels / lanes; block += blocks)
    for (int64_t y = 0; y < sizes.output_rows(); y++, ahead.fetch())
      for (int64_t x = 0; x < columns; x += pixels)
        outputs<pixels, blocks, stride>(padded + y * stride * row + x * stride * sizes.inputs, row, sizes.inputs,
                                        weights + block * size, output + (y * columns + x) * channels + block * lanes,
                                        channels, columns - x);
}

/// Weights in the order in which `outputs` reads them, from any layout and any type.
///
/// - Parameter flipped: as the gradient of what came in wants them: outputs and inputs exchanged, windows turned round
template <typename Number>
void pack(const at::Tensor& weight, bool flipped, int64_t blocks, Half* packed) {
  const int64_t outputs = weight.size(flipped ? 1 : 0), inputs = weight.size(flipped ? 0 : 1);
  const int64_t output_stride = weight.stride(flipped ? 1 : 0), input_stride = weight.stride(flipped ? 0 : 1);
  const Number* data = weight.const_data_ptr<Number>();
  for (int64_t group = 0; group < outputs; group += blocks * lanes)
    for (int64_t y = 0; y < side; y++)
      for (int64_t input = 0; input < inputs; input += 2)
        for (int64_t x = 0; x < side; x++) {
          const int64_t place = flipped ? (side - 1 - y) * weight.stride(2) + (side - 1 - x) * weight.stride(3)
                                        : y * weight.stride(2) + x * weight.stride(3);
          const Number* from = data + place + group * output_stride + input * input_stride;
          for (int64_t output = 0; output < blocks * lanes; output++, from += output_stride)
            for (int64_t odd = 0; odd < 2; odd++)
              *packed++ = c10::BFloat16(from[odd * input_stride]).x;
        }
}

using ImageOutputs = void (*)(const Half*, int64_t, const Half*, Half*, const ConvolutionSizes&, const Half*);

}  // namespace

/// Sixteen outputs at a time where there is one block of channels, eight where there are two: as many sums as there are
/// registers for.
at::Tensor convolution_outputs(const at::Tensor& input, const at::Tensor& weight, const ConvolutionSizes& sizes,
                               bool flipped) {
  const bool two = sizes.outputs % (2 * lanes) == 0, wide = !two && sizes.output_columns() > 8;
  const int64_t pixels = wide ? 16 : 8;
  const ImageOutputs compute = sizes.stride == 1 ? (two    ? image_outputs<8, 2, 1>
                                                    : wide ? image_outputs<16, 1, 1>
                                                           : image_outputs<8, 1, 1>)
                                                 : (two    ? image_outputs<8, 2, 2>
                                                    : wide ? image_outputs<16, 1, 2>
                                                           : image_outputs<8, 1, 2>);
  at::Tensor packed = at::empty({weight.numel()}, at::kShort);
  Half* weights = reinterpret_cast<Half*>(packed.mutable_data_ptr<int16_t>());
  if (weight.scalar_type() == at::kFloat) pack<float>(weight, flipped, two ? 2 : 1, weights);
  else pack<c10::BFloat16>(weight, flipped, two ? 2 : 1, weights);

  at::Tensor output = at::empty({sizes.images, sizes.outputs, sizes.output_rows(), sizes.output_columns()},
                                input.options().memory_format(at::MemoryFormat::ChannelsLast));
  const Padded padding(sizes, pixels);
  const int64_t parts = std::min<int64_t>(sizes.images, at::get_num_threads());
  at::Tensor padded = at::zeros({parts, padding.count}, at::kShort);
  const Half* images = reinterpret_cast<const Half*>(input.const_data_ptr());
  Half* copies = reinterpret_cast<Half*>(padded.mutable_data_ptr());
  Half* results = reinterpret_cast<Half*>(output.mutable_data_ptr());
  const int64_t image_size = sizes.rows * sizes.columns * sizes.inputs;
  const int64_t result_size = sizes.output_rows() * sizes.output_columns() * sizes.outputs;
  in_parts(parts, [&](int64_t part) {
    Half* mine = copies + part * padding.count;
    const int64_t end = part_start(part + 1, parts, sizes.images);
    for (int64_t image = part_start(part, parts, sizes.images); image < end; image++) {
      copy_image(images + image * image_size, mine, sizes, padding.row);
      const Half* next = image + 1 < end ? images + (image + 1) * image_size : nullptr;
      compute(mine, padding.row, weights, results + image * result_size, sizes, next);
    }
  });
  return output;
}

// --- The gradient of what came in, where windows lie two pixels apart --------------------------------------------------

namespace {

// dx[2 i + odd, 2 j + odd'] is over those windows that had the pixel: of an even one in their middle, of an odd one in
// their first or third place. So there are four convolutions, with 1, 2, 2 and 4 places, each for a quarter of the pixels.

/// Where the place of a window lies that had a pixel, and how far from its half: for even pixels one, for odd ones two.
struct Place {
  int64_t window, offset;
};
constexpr Place places[2][2] = {{{1, 0}, {1, 0}}, {{0, 1}, {2, 0}}};
constexpr int64_t place_count(int64_t odd) { return odd ? 2 : 1; }

/// As `outputs`, for the pixels of one of the four kinds: every other one in a row.
///
/// - Parameters:
///   - gradient: of what went out, at the row and the column of the first pixel's half, in an image with its padding
///   - weights: `[places, places, inputs / 2, blocks, 16, 2]`
template <int pixels, int blocks>
BRIDGE_PAIRS_INLINE void quarter_outputs(const Half* gradient, int64_t row, int64_t inputs, const Half* weights,
                                         int64_t odd_row, int64_t odd_column, Half* output, int64_t channels,
                                         int64_t count) {
  __m512 sums[pixels][blocks];
  UNROLLED(pixel, pixels) {
    UNROLLED(block, blocks) { sums[pixel][block] = _mm512_setzero_ps(); });
  });
  for (int64_t y = 0; y < place_count(odd_row); y++)
    for (int64_t x = 0; x < place_count(odd_column); x++) {
      const Half* from = gradient + places[odd_row][y].offset * row + places[odd_column][x].offset * inputs;
      for (int64_t channel = 0; channel < inputs; channel += 2, weights += blocks * 2 * lanes) {
        __m512i window[blocks];
        UNROLLED(block, blocks) { window[block] = _mm512_loadu_si512(weights + block * 2 * lanes); });
        UNROLLED(pixel, pixels) {
          const __m512i pair = broadcast(from + pixel * inputs + channel);
          UNROLLED(block, blocks) {
            __m512& sum = sums[pixel][block];
            sum = multiply_add(sum, pair, window[block]);
          });
        });
      }
    }
  UNROLLED(pixel, pixels) {
    if (pixel < count) {
      UNROLLED(block, blocks) {
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(output + 2 * pixel * channels + block * lanes),
                            (__m256i)_mm512_cvtneps_pbh(sums[pixel][block]));
      });
    }
  });
}

/// - Parameter sizes: of the convolution, as are its inputs and outputs
template <int blocks>
BRIDGE_PAIRS_TARGET void image_quarters(const Half* padded, int64_t row, const Half* weights, Half* result,
                                        const ConvolutionSizes& sizes, const Half* next) {
  constexpr int pixels = 8;
  Ahead ahead(next, sizes.output_rows() * sizes.output_columns() * sizes.outputs * sizeof(Half), 2 * sizes.rows);
  for (int64_t group = 0; group < sizes.inputs; group += blocks * lanes)
    for (int64_t odd_row = 0; odd_row < 2; odd_row++)
      for (int64_t odd_column = 0; odd_column < 2; odd_column++) {
        const int64_t count = (sizes.columns - odd_column + 1) / 2;
        for (int64_t y = odd_row; y < sizes.rows; y += 2, ahead.fetch())
          for (int64_t x = 0; x < count; x += pixels)
            quarter_outputs<pixels, blocks>(
                padded + (y / 2 + 1) * row + (x + 1) * sizes.outputs, row, sizes.outputs, weights, odd_row, odd_column,
                result + (y * sizes.columns + 2 * x + odd_column) * sizes.inputs + group, sizes.inputs, count - x);
        weights += place_count(odd_row) * place_count(odd_column) * sizes.outputs * blocks * lanes;
      }
}

/// Weights in the order in which `image_quarters` reads them.
template <typename Number>
void pack_quarters(const at::Tensor& weight, int64_t blocks, Half* packed) {
  const int64_t outputs = weight.size(0), inputs = weight.size(1);
  const Number* data = weight.const_data_ptr<Number>();
  for (int64_t group = 0; group < inputs; group += blocks * lanes)
    for (int64_t quarter = 0; quarter < 4; quarter++)
      for (int64_t y = 0; y < place_count(quarter / 2); y++)
        for (int64_t x = 0; x < place_count(quarter % 2); x++)
          for (int64_t output = 0; output < outputs; output += 2)
            for (int64_t input = group; input < group + blocks * lanes; input++) {
              const Number* from = data + input * weight.stride(1) + output * weight.stride(0) +
                                   places[quarter / 2][y].window * weight.stride(2) +
                                   places[quarter % 2][x].window * weight.stride(3);
              for (int64_t odd = 0; odd < 2; odd++) *packed++ = c10::BFloat16(from[odd * weight.stride(0)]).x;
            }
}

}  // namespace

at::Tensor convolution_strided_input_gradient(const at::Tensor& gradient, const at::Tensor& weight,
                                              const ConvolutionSizes& sizes) {
  const bool two = sizes.inputs % (2 * lanes) == 0;
  at::Tensor packed = at::empty({weight.numel()}, at::kShort);
  Half* weights = reinterpret_cast<Half*>(packed.mutable_data_ptr<int16_t>());
  if (weight.scalar_type() == at::kFloat) pack_quarters<float>(weight, two ? 2 : 1, weights);
  else pack_quarters<c10::BFloat16>(weight, two ? 2 : 1, weights);

  at::Tensor result = at::empty({sizes.images, sizes.inputs, sizes.rows, sizes.columns},
                                gradient.options().memory_format(at::MemoryFormat::ChannelsLast));
  // What went out is what comes in here.
  const ConvolutionSizes turned{sizes.images, sizes.output_rows(), sizes.output_columns(), sizes.outputs, sizes.inputs,
                                1};
  const Padded padding(turned, 8);
  const int64_t parts = std::min<int64_t>(sizes.images, at::get_num_threads());
  at::Tensor padded = at::zeros({parts, padding.count}, at::kShort);
  const Half* images = reinterpret_cast<const Half*>(gradient.const_data_ptr());
  Half* copies = reinterpret_cast<Half*>(padded.mutable_data_ptr());
  Half* results = reinterpret_cast<Half*>(result.mutable_data_ptr());
  const int64_t image_size = turned.rows * turned.columns * turned.inputs;
  const int64_t result_size = sizes.rows * sizes.columns * sizes.inputs;
  in_parts(parts, [&](int64_t part) {
    Half* mine = copies + part * padding.count;
    const int64_t end = part_start(part + 1, parts, sizes.images);
    for (int64_t image = part_start(part, parts, sizes.images); image < end; image++) {
      copy_image(images + image * image_size, mine, turned, padding.row);
      const Half* next = image + 1 < end ? images + (image + 1) * image_size : nullptr;
      (two ? image_quarters<2> : image_quarters<1>)(mine, padding.row, weights, results + image * result_size, sizes,
                                                    next);
    }
  });
  return result;
}

// --- The gradient of the weights -------------------------------------------------------------------------------------

namespace {

// Σ over images and pixels of dy[y, x, output] · input[stride · y + v, stride · x + u, input]: the pairs are the pixels
// x and x + 1. Both factors are first copied so that the numbers of two pixels lie beside each other.

/// Numbers of pairs that are kept at a time: what fits into the cache of a processor's core.
constexpr int64_t kept_pairs = 1 << 16;

/// How much of the gradient is summed up in registers at a time.
struct Pairs {
  int64_t columns, input_row, input_count, gradient_row, gradient_count;

  explicit Pairs(const ConvolutionSizes& sizes) {
    columns = (sizes.output_columns() + 1) / 2;
    input_row = (sizes.stride * 2 * (columns - 1) + side) * sizes.inputs;
    input_count = (sizes.rows + 2) * input_row;
    gradient_row = columns * sizes.outputs;
    gradient_count = sizes.output_rows() * gradient_row;
  }
};

/// Sixteen numbers of each of two pixels; `second` may be null, which is a pixel of zeros, as `first`.
BRIDGE_PAIRS_INLINE void pair_up(const Half* first, const Half* second, Pair* to) {
  const __m512i low = first ? _mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(first)))
                            : _mm512_setzero_si512();
  const __m512i high = second ? _mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(second)))
                              : _mm512_setzero_si512();
  _mm512_storeu_si512(to, _mm512_or_si512(low, _mm512_slli_epi32(high, 16)));
}

/// `[rows + 2, …, inputs]`: beside each pixel the one that is `stride` further. The first and the last row stay zero.
BRIDGE_PAIRS_TARGET void pair_inputs(const Half* image, const ConvolutionSizes& sizes, const Pairs& pairs, Pair* to) {
  const int64_t columns = pairs.input_row / sizes.inputs;
  for (int64_t y = 0; y < sizes.rows; y++) {
    const Half* row = image + y * sizes.columns * sizes.inputs;
    Pair* result = to + (y + 1) * pairs.input_row;
    const auto pixel = [&](int64_t x) { return x > 0 && x <= sizes.columns ? row + (x - 1) * sizes.inputs : nullptr; };
    for (int64_t x = 0; x < columns; x++) {
      const Half *first = pixel(x), *second = pixel(x + sizes.stride);
      for (int64_t channel = 0; channel < sizes.inputs; channel += lanes, result += lanes)
        pair_up(first ? first + channel : nullptr, second ? second + channel : nullptr, result);
    }
  }
}

/// `[rows, columns / 2, outputs]`: two pixels each.
BRIDGE_PAIRS_TARGET void pair_gradients(const Half* image, const ConvolutionSizes& sizes, Pair* to) {
  const int64_t columns = sizes.output_columns();
  for (int64_t y = 0; y < sizes.output_rows(); y++)
    for (int64_t x = 0; x < columns; x += 2) {
      const Half* first = image + (y * columns + x) * sizes.outputs;
      const Half* second = x + 1 < columns ? first + sizes.outputs : nullptr;
      for (int64_t channel = 0; channel < sizes.outputs; channel += lanes, to += lanes)
        pair_up(first + channel, second ? second + channel : nullptr, to);
    }
}

/// Adds to `sums`, `[3, inputs, blocks, 16]`, what `count` images give for one row of the window.
template <int inputs, int blocks>
BRIDGE_PAIRS_TARGET void add_products(const Pair* input, const Pair* gradient, int64_t count,
                                      const ConvolutionSizes& sizes, const Pairs& pairs, float* sums,
                                      Ahead& next_inputs, Ahead& next_gradients) {
  __m512 sum[side][inputs][blocks];
  UNROLLED(x, 3) {
    UNROLLED(channel, inputs) {
      UNROLLED(block, blocks) {
        sum[x][channel][block] = _mm512_loadu_ps(sums + ((x * inputs + channel) * blocks + block) * lanes);
      });
    });
  });
  for (int64_t image = 0; image < count; image++)
    for (int64_t y = 0; y < sizes.output_rows(); y++, next_inputs.fetch(), next_gradients.fetch()) {
      const Pair* from = input + image * pairs.input_count + y * sizes.stride * pairs.input_row;
      const Pair* others = gradient + image * pairs.gradient_count + y * pairs.gradient_row;
      for (int64_t column = 0; column < pairs.columns; column++) {
        __m512i other[blocks];
        UNROLLED(block, blocks) { other[block] = _mm512_loadu_si512(others + block * lanes); });
        UNROLLED(x, 3) {
          UNROLLED(channel, inputs) {
            const __m512i pair = broadcast(from + x * sizes.inputs + channel);
            UNROLLED(block, blocks) {
              __m512& mine = sum[x][channel][block];
              mine = multiply_add(mine, pair, other[block]);
            });
          });
        });
        from += 2 * sizes.stride * sizes.inputs;
        others += sizes.outputs;
      }
    }
  UNROLLED(x, 3) {
    UNROLLED(channel, inputs) {
      UNROLLED(block, blocks) {
        _mm512_storeu_ps(sums + ((x * inputs + channel) * blocks + block) * lanes, sum[x][channel][block]);
      });
    });
  });
}

}  // namespace

/// The gradient of the weights, in float32 and with the layout of `weight`.
at::Tensor convolution_weight_gradient(const at::Tensor& input, const at::Tensor& gradient, const at::Tensor& weight,
                                       const ConvolutionSizes& sizes) {
  const bool two = sizes.outputs % (2 * lanes) == 0;
  const int64_t blocks = two ? 2 : 1, channels = two ? 4 : 8, step = side * channels * blocks * lanes;
  const auto add = two ? add_products<4, 2> : add_products<8, 1>;
  const Pairs pairs(sizes);
  const int64_t together = std::max<int64_t>(1, kept_pairs / (pairs.input_count + pairs.gradient_count));
  const int64_t parts = std::min<int64_t>(sizes.images, at::get_num_threads());
  at::Tensor kept = at::zeros({parts, together * (pairs.input_count + pairs.gradient_count)}, at::kInt);
  at::Tensor sums = at::zeros({parts, weight.numel()}, at::kFloat);
  const Half* images = reinterpret_cast<const Half*>(input.const_data_ptr());
  const Half* gradients = reinterpret_cast<const Half*>(gradient.const_data_ptr());
  Pair* scratch = reinterpret_cast<Pair*>(kept.mutable_data_ptr());
  float* all = sums.mutable_data_ptr<float>();
  const int64_t image_size = sizes.rows * sizes.columns * sizes.inputs;
  const int64_t gradient_size = sizes.output_rows() * sizes.output_columns() * sizes.outputs;
  in_parts(parts, [&](int64_t part) {
    Pair *mine = scratch + part * together * (pairs.input_count + pairs.gradient_count),
         *others = mine + together * pairs.input_count;
    const int64_t end = part_start(part + 1, parts, sizes.images);
    for (int64_t first = part_start(part, parts, sizes.images); first < end; first += together) {
      const int64_t count = std::min(together, end - first);
      for (int64_t image = 0; image < count; image++) {
        pair_inputs(images + (first + image) * image_size, sizes, pairs, mine + image * pairs.input_count);
        pair_gradients(gradients + (first + image) * gradient_size, sizes, others + image * pairs.gradient_count);
      }
      const int64_t following = std::min(together, end - first - count);
      const int64_t steps = weight.numel() / step * count * sizes.output_rows();
      const auto ahead = [&](const Half* data, int64_t size) {
        return Ahead(following > 0 ? data + (first + count) * size : nullptr, following * size * sizeof(Half), steps);
      };
      Ahead next_inputs = ahead(images, image_size), next_gradients = ahead(gradients, gradient_size);
      float* sum = all + part * weight.numel();
      for (int64_t y = 0; y < side; y++)
        for (int64_t output = 0; output < sizes.outputs; output += blocks * lanes)
          for (int64_t channel = 0; channel < sizes.inputs; channel += channels, sum += step)
            add(mine + y * pairs.input_row + channel, others + output, count, sizes, pairs, sum, next_inputs,
                next_gradients);
    }
  });

  for (int64_t part = 1; part < parts; part++)
    for (int64_t index = 0; index < weight.numel(); index++) all[index] += all[part * weight.numel() + index];
  at::Tensor result = at::empty_like(weight, weight.options().dtype(at::kFloat));
  float* to = result.mutable_data_ptr<float>();
  const auto strides = result.strides();
  const float* from = all;
  for (int64_t y = 0; y < side; y++)
    for (int64_t group = 0; group < sizes.outputs; group += blocks * lanes)
      for (int64_t start = 0; start < sizes.inputs; start += channels)
        for (int64_t x = 0; x < side; x++)
          for (int64_t channel = start; channel < start + channels; channel++)
            for (int64_t output = group; output < group + blocks * lanes; output++)
              to[output * strides[0] + channel * strides[1] + y * strides[2] + x * strides[3]] = *from++;
  return result;
}

}  // namespace bridge

#endif
