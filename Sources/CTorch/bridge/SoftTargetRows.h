// Rows of logits in float32: what soft targets and labels say of them, and their gradient.
#pragma once

#include <cstdint>
#include <limits>

namespace soft_target_rows {

enum class Divergence : int64_t { none, forward, reverse };

/// What is computed of a row.
struct Loss {
  Divergence divergence;
  /// 1 / T
  float inverse_temperature;
  /// Whether the softmax at temperature 1 is wanted beside that at T, for labels.
  bool plain;
};

/// What is known of a row after some of its classes: z are the student's logits, v the teacher's.
struct Statistics {
  float student_maximum = -std::numeric_limits<float>::infinity();
  float teacher_maximum = -std::numeric_limits<float>::infinity();
  /// Σ exp((z - max) / T), Σ exp((v - max) / T) and Σ exp(z - max)
  double student_sum = 0, teacher_sum = 0, plain_sum = 0;
  /// Σ exp((v - max) / T) (v - z) of the forward divergence, Σ exp((z - max) / T) (z - v) of the reverse one.
  double cross = 0;

  double log_student(double inverse_temperature) const;
  double log_teacher(double inverse_temperature) const;
  double log_plain() const;
  /// The divergence, once all classes are in.
  double divergence(const Loss& loss) const;
};

/// Adds some classes of a row to its statistics.
///
/// - student, teacher: `count` logits each; teacher null where there is none
/// - kept_student, kept_teacher: where they are copied to; null: they are not
using Scan = void (*)(const Loss& loss, const float* student, const float* teacher, int64_t count, float* kept_student,
                      float* kept_teacher, Statistics& statistics);

/// The gradient by some classes' logits, without the -1 at the label:
///
///     soft T (q - p), or soft T q (log q - log p - divergence), plus hard softmax(z)
using Gradient = void (*)(const Loss& loss, const float* student, const float* teacher, int64_t count,
                          const Statistics& statistics, double soft, double hard, float* gradient);

struct Functions {
  Scan scan;
  Gradient gradient;
};

/// Those for this processor.
const Functions& functions();

}  // namespace soft_target_rows
