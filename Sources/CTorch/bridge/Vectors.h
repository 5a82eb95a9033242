// Sixteen numbers at a time, in float32, read from float32 or bfloat16 and written as such.
//
// The compiler turns these into the instructions of the processor that a function is compiled for; on one without such
// wide registers into several. What uses them is compiled for several processors; `vector_level` says which to take.
#pragma once

#include <c10/util/BFloat16.h>

#include <cstdint>
#include <cstring>

#define BRIDGE_INLINE inline BRIDGE_ALWAYS
#define BRIDGE_ALWAYS __attribute__((always_inline))

// Vectors are never given to a function that was compiled for another processor: all that takes them is inlined.
#pragma GCC diagnostic ignored "-Wpsabi"

namespace bridge {

constexpr int64_t lanes = 16;

typedef float Floats __attribute__((vector_size(64)));
typedef int32_t Masks __attribute__((vector_size(64)));
typedef uint32_t Words __attribute__((vector_size(64)));
typedef uint16_t Halves __attribute__((vector_size(32)));

BRIDGE_INLINE Floats fill(float value) { return value - Floats{}; }

BRIDGE_INLINE Floats load(const float* from) {
  Floats value;
  std::memcpy(&value, from, sizeof value);
  return value;
}

BRIDGE_INLINE void store(float* to, Floats value) { std::memcpy(to, &value, sizeof value); }

BRIDGE_INLINE Floats load(const c10::BFloat16* from) {
  Halves halves;
  std::memcpy(&halves, from, sizeof halves);
  return (Floats)(__builtin_convertvector(halves, Words) << 16);
}

/// Rounded to the nearest, ties to even.
BRIDGE_INLINE void store(c10::BFloat16* to, Floats value) {
  const Words bits = (Words)value;
  const Words rounded = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
  const Words number = (Words)(value == value);
  const Halves halves = __builtin_convertvector((rounded & number) | (0x7fc0 & ~number), Halves);
  std::memcpy(to, &halves, sizeof halves);
}

/// `yes` where `test` is positive, 0 elsewhere.
BRIDGE_INLINE Floats where_positive(Floats test, Floats yes) {
  return (Floats)((Masks)yes & (test > Floats{}));
}

}  // namespace bridge

#if defined(__x86_64__) && defined(__GNUC__)
#define BRIDGE_AVX512 __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")))
#define BRIDGE_AVX2 __attribute__((target("avx2,fma")))

namespace bridge {
/// 2 where the processor has AVX-512, 1 where it has AVX2, 0 elsewhere.
inline int vector_level() {
  static const int level = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                                   __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl")
                               ? 2
                           : __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") ? 1
                                                                                              : 0;
  return level;
}
}  // namespace bridge
#endif
