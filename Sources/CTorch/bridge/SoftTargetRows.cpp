// The loops over the classes of a row. They are written once, with vectors whose width is a parameter, and compiled for
// the instructions that processors may have: a loop with `std::exp` takes longer than the matrix products around it.

#include "SoftTargetRows.h"

#include <cmath>
#include <cstring>

// Vectors are handed to functions that are always inlined; how others would hand them over does not matter.
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wpsabi"
#endif
#define ALWAYS_INLINE inline __attribute__((always_inline))

namespace soft_target_rows {

double Statistics::log_student(double inverse_temperature) const {
  return double(student_maximum) * inverse_temperature + std::log(student_sum);
}

double Statistics::log_teacher(double inverse_temperature) const {
  return double(teacher_maximum) * inverse_temperature + std::log(teacher_sum);
}

double Statistics::log_plain() const { return double(student_maximum) + std::log(plain_sum); }

double Statistics::divergence(const Loss& loss) const {
  const double inverse = loss.inverse_temperature;
  const double difference = log_student(inverse) - log_teacher(inverse);
  switch (loss.divergence) {
    case Divergence::none: return 0;
    case Divergence::forward: return cross / teacher_sum * inverse + difference;
    case Divergence::reverse: return cross / student_sum * inverse - difference;
  }
  return 0;
}

namespace {

template <int width>
struct Types;

#define VECTORS_OF(width)                                               \
  template <>                                                           \
  struct Types<width> {                                                 \
    typedef float Floats __attribute__((vector_size(4 * width)));       \
    typedef int32_t Integers __attribute__((vector_size(4 * width)));   \
  };

VECTORS_OF(4)
VECTORS_OF(8)
VECTORS_OF(16)

template <int width>
struct Vectors {
  using Floats = typename Types<width>::Floats;
  using Integers = typename Types<width>::Integers;

  /// In the place of classes that are not there, of both models: their exponentials are 0, and so is their difference.
  static constexpr float absent = -1e30f;

  static ALWAYS_INLINE void load(const float* from, int64_t count, Floats& to) {
    if (count >= width) {
      std::memcpy(&to, from, sizeof to);
    } else {
      for (int lane = 0; lane < width; lane++) to[lane] = lane < count ? from[lane] : absent;
    }
  }

  static ALWAYS_INLINE void store(const Floats& from, int64_t count, float* to) {
    if (count >= width) {
      std::memcpy(to, &from, sizeof from);
    } else {
      for (int lane = 0; lane < count; lane++) to[lane] = from[lane];
    }
  }

  /// exp(x) for x up to 0, within 2 units in the last place; 0 below -87. NaN stays.
  ///
  /// x = n log 2 + r with a whole number n and |r| <= log 2 / 2; exp(r) is a polynomial (Taylor's up to r⁷), and 2ⁿ is
  /// written into the exponent.
  static ALWAYS_INLINE void exponential(const Floats& x, Floats& result) {
    constexpr float rounding = 0x1.8p23f;  // added, it leaves n in the last bits
    const Floats shifted = x * 0x1.715476p0f + rounding;
    const Floats n = shifted - rounding;
    const Floats r = (x - n * 0x1.62ep-1f) - n * 0x1.0bfbe8p-15f;
    Floats sum = r * (1.0f / 5040) + 1.0f / 720;
    sum = sum * r + 1.0f / 120;
    sum = sum * r + 1.0f / 24;
    sum = sum * r + 1.0f / 6;
    sum = sum * r + 0.5f;
    sum = sum * r + 1.0f;
    sum = sum * r + 1.0f;
    const Integers power = ((Integers)shifted << 23) + 0x3f800000;
    const Integers vanishes = x < -87.0f;
    const Floats scaled = sum * (Floats)power;
    result = (Floats)((Integers)scaled & ~vanishes);
  }

  /// weight · value, and 0 where the logit that the weight comes from is -∞: a masked class, whatever its value is.
  static ALWAYS_INLINE Floats weighted(const Floats& weight, const Floats& value, const Floats& logit) {
    const Integers masked = logit == -std::numeric_limits<float>::infinity();
    return (Floats)((Integers)(weight * value) & ~masked);
  }

  /// exp((maximum - largest) / T): what sums that were made with one maximum are worth beside another; 0 for those of
  /// masked classes alone.
  static double rescaled(float maximum, float largest, double inverse_temperature) {
    if (maximum == -std::numeric_limits<float>::infinity()) return 0;
    return std::exp((double(maximum) - largest) * inverse_temperature);
  }

  /// What is taken from logits before exp: their maximum, unless all are masked.
  static float shift(float maximum) { return maximum == -std::numeric_limits<float>::infinity() ? 0 : maximum; }

  static ALWAYS_INLINE double sum(const Floats& values) {
    double result = 0;
    for (int lane = 0; lane < width; lane++) result += values[lane];
    return result;
  }

  static ALWAYS_INLINE float maximum(const float* from, int64_t count) {
    Floats largest = Floats{} - std::numeric_limits<float>::infinity(), here;
    int64_t index = 0;
    for (; index + width <= count; index += width) {
      load(from + index, width, here);
      largest = here > largest ? here : largest;
    }
    float result = -std::numeric_limits<float>::infinity();
    for (int lane = 0; lane < width; lane++) result = largest[lane] > result ? largest[lane] : result;
    for (; index < count; index++) result = from[index] > result ? from[index] : result;
    return result;
  }

  static ALWAYS_INLINE void scan(const Loss& loss, const float* student, const float* teacher, int64_t count,
                                 float* kept_student, float* kept_teacher, Statistics& statistics) {
    // First by themselves: with the maxima of these classes, whose differences are small where they matter.
    const float student_maximum = maximum(student, count);
    const float teacher_maximum = teacher ? maximum(teacher, count) : 0;
    const float student_shift = shift(student_maximum), teacher_shift = shift(teacher_maximum);
    const bool reverse = loss.divergence == Divergence::reverse;
    Floats student_sum = {}, teacher_sum = {}, plain_sum = {}, cross = {};
    Floats z, v, exponentials, plain;
    for (int64_t index = 0; index < count; index += width) {
      const int64_t left = count - index;
      load(student + index, left, z);
      if (kept_student) store(z, left, kept_student + index);
      z -= student_shift;
      if (teacher) {
        load(teacher + index, left, v);
        if (kept_teacher) store(v, left, kept_teacher + index);
        v -= teacher_shift;
        exponential(z * loss.inverse_temperature, exponentials);
        student_sum += exponentials;
        if (reverse) cross += weighted(exponentials, z - v, z);
        exponential(v * loss.inverse_temperature, exponentials);
        teacher_sum += exponentials;
        if (!reverse) cross += weighted(exponentials, v - z, v);
      }
      if (loss.plain) {
        exponential(z, plain);
        plain_sum += plain;
      }
    }
    // Then together with those before.
    const double inverse = loss.inverse_temperature;
    const float largest_student = std::fmax(student_maximum, statistics.student_maximum);
    const double old_plain = rescaled(statistics.student_maximum, largest_student, 1);
    const double new_plain = rescaled(student_maximum, largest_student, 1);
    statistics.plain_sum = statistics.plain_sum * old_plain + sum(plain_sum) * new_plain;
    if (teacher) {
      const float largest_teacher = std::fmax(teacher_maximum, statistics.teacher_maximum);
      const double old_student = rescaled(statistics.student_maximum, largest_student, inverse);
      const double new_student = rescaled(student_maximum, largest_student, inverse);
      const double old_teacher = rescaled(statistics.teacher_maximum, largest_teacher, inverse);
      const double new_teacher = rescaled(teacher_maximum, largest_teacher, inverse);
      const double here_student = sum(student_sum), here_teacher = sum(teacher_sum);
      const double apart = double(teacher_shift) - student_shift;
      if (reverse) {
        statistics.cross = statistics.cross * old_student + (sum(cross) - apart * here_student) * new_student;
      } else {
        statistics.cross = statistics.cross * old_teacher + (sum(cross) + apart * here_teacher) * new_teacher;
      }
      statistics.student_sum = statistics.student_sum * old_student + here_student * new_student;
      statistics.teacher_sum = statistics.teacher_sum * old_teacher + here_teacher * new_teacher;
      statistics.teacher_maximum = largest_teacher;
    }
    statistics.student_maximum = largest_student;
  }

  static ALWAYS_INLINE void gradient(const Loss& loss, const float* student, const float* teacher, int64_t count,
                                     const Statistics& statistics, double soft, double hard, float* gradient) {
    const float inverse = loss.inverse_temperature;
    const float student_maximum = statistics.student_maximum, teacher_maximum = statistics.teacher_maximum;
    const float log_student = std::log(statistics.student_sum), log_teacher = std::log(statistics.teacher_sum);
    const float log_plain = std::log(statistics.plain_sum);
    const float divergence = statistics.divergence(loss);
    const float soft_factor = soft / inverse, hard_factor = hard;
    const bool reverse = loss.divergence == Divergence::reverse;
    Floats z, v, exponentials, result;
    for (int64_t index = 0; index < count; index += width) {
      const int64_t left = count - index;
      load(student + index, left, z);
      z -= student_maximum;
      result = Floats{};
      if (teacher) {
        load(teacher + index, left, v);
        const Floats log_q = z * inverse - log_student;
        const Floats log_p = (v - teacher_maximum) * inverse - log_teacher;
        exponential(log_q, result);
        if (reverse) {
          result = weighted(result, (log_q - log_p - divergence) * soft_factor, log_q);
        } else {
          exponential(log_p, exponentials);
          result = (result - exponentials) * soft_factor;
        }
      }
      if (hard_factor != 0) {
        exponential(z - log_plain, exponentials);
        result += exponentials * hard_factor;
      }
      store(result, left, gradient + index);
    }
  }
};

#define SOFT_TARGET_ROWS(name, width, attributes)                                                                     \
  attributes void scan_##name(const Loss& loss, const float* student, const float* teacher, int64_t count,            \
                              float* kept_student, float* kept_teacher, Statistics& statistics) {                     \
    Vectors<width>::scan(loss, student, teacher, count, kept_student, kept_teacher, statistics);                      \
  }                                                                                                                   \
  attributes void gradient_##name(const Loss& loss, const float* student, const float* teacher, int64_t count,        \
                                  const Statistics& statistics, double soft, double hard, float* gradient) {          \
    Vectors<width>::gradient(loss, student, teacher, count, statistics, soft, hard, gradient);                        \
  }

SOFT_TARGET_ROWS(four, 4, )
#if defined(__x86_64__)
SOFT_TARGET_ROWS(eight, 8, __attribute__((target("avx2,fma"))))
SOFT_TARGET_ROWS(sixteen, 16, __attribute__((target("avx512f,avx512dq"))))
#endif

}  // namespace

const Functions& functions() {
  static const Functions found = [] {
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq")) {
      return Functions{scan_sixteen, gradient_sixteen};
    }
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return Functions{scan_eight, gradient_eight};
#endif
    return Functions{scan_four, gradient_four};
  }();
  return found;
}

}  // namespace soft_target_rows
