// Sixteen numbers at a time, in float32, read from float32 or bfloat16 and written as such.
//
// What uses these is compiled for AVX-512 by BRIDGE_WIDE. For other processors compilers make slow code of them, so that
// `has_wide_vectors` is to be asked first.
#pragma once

#include <c10/util/BFloat16.h>

#include <cstdint>
#include <cstring>
#include <utility>

#if defined(__x86_64__) && defined(__GNUC__)
#include <immintrin.h>
#define BRIDGE_WIDE __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,avx2,fma")))
#else
#define BRIDGE_WIDE
#endif

#define BRIDGE_ALWAYS __attribute__((always_inline)) BRIDGE_WIDE
#define BRIDGE_INLINE inline BRIDGE_ALWAYS

// Vectors are never given to a function that was compiled for another processor: all that takes them is inlined.
#pragma GCC diagnostic ignored "-Wpsabi"

namespace bridge {

/// Whether the processor has what BRIDGE_WIDE compiles for. Only bfloat16 needs the instructions of AVX512-BF16.
inline bool has_wide_vectors(bool bfloat16) {
#if defined(__x86_64__) && defined(__GNUC__)
  static const bool wide = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
  static const bool converts = __builtin_cpu_supports("avx512bf16");
  return wide && (converts || !bfloat16);
#else
  static_cast<void>(bfloat16);
  return false;
#endif
}

constexpr int64_t lanes = 16;

typedef float Floats __attribute__((vector_size(64)));
typedef int32_t Masks __attribute__((vector_size(64)));
typedef uint32_t Words __attribute__((vector_size(64)));
typedef uint16_t Halves __attribute__((vector_size(32)));

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
#if defined(__x86_64__) && defined(__GNUC__)
  const Halves halves = (Halves)_mm512_cvtneps_pbh((__m512)value);
#else
  const Words bits = (Words)value;
  const Words rounded = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
  const Words number = (Words)(value == value);
  const Halves halves = __builtin_convertvector((rounded & number) | (0x7fc0 & ~number), Halves);
#endif
  std::memcpy(to, &halves, sizeof halves);
}

/// `yes` where `test` is positive, 0 elsewhere.
BRIDGE_INLINE Floats where_positive(Floats test, Floats yes) {
  return (Floats)((Masks)yes & (test > Floats{}));
}

/// Calls `body` with the numbers from 0 to `count` − 1 as constants, so that what it indexes can be in registers.
template <int... index, typename Body>
BRIDGE_INLINE void unrolled(std::integer_sequence<int, index...>, const Body& body) {
  (body(std::integral_constant<int, index>()), ...);
}

template <int count, typename Body>
BRIDGE_INLINE void unrolled(const Body& body) {
  unrolled(std::make_integer_sequence<int, count>(), body);
}

}  // namespace bridge
