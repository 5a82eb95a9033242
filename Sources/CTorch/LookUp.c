#include "CTorch.h"

#if defined(__x86_64__)
#include <immintrin.h>

/// Sixteen bytes at once: of the table's 256 numbers, which lie in sixteen registers, each byte's lower five bits choose
/// among the 32 of every pair of registers, and its upper three among the pairs.
__attribute__((target("avx512f"))) static size_t look_up_sixteens(
  const uint8_t *bytes, size_t count, const float *table, float *out) {
  __m512 numbers[16];
  for (int i = 0; i < 16; i++) numbers[i] = _mm512_loadu_ps(table + 16 * i);
  size_t done = 0;
  for (; done + 16 <= count; done += 16) {
    const __m512i index = _mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)(bytes + done)));
    const __mmask16 odd = _mm512_test_epi32_mask(index, _mm512_set1_epi32(32));
    const __mmask16 upper = _mm512_test_epi32_mask(index, _mm512_set1_epi32(64));
    const __mmask16 last = _mm512_test_epi32_mask(index, _mm512_set1_epi32(128));
    __m512 found[8];
    for (int i = 0; i < 8; i++) found[i] = _mm512_permutex2var_ps(numbers[2 * i], index, numbers[2 * i + 1]);
    for (int i = 0; i < 4; i++) found[i] = _mm512_mask_blend_ps(odd, found[2 * i], found[2 * i + 1]);
    for (int i = 0; i < 2; i++) found[i] = _mm512_mask_blend_ps(upper, found[2 * i], found[2 * i + 1]);
    _mm512_storeu_ps(out + done, _mm512_mask_blend_ps(last, found[0], found[1]));
  }
  return done;
}
#endif

void ct_fetch(const void *bytes, size_t count) {
  for (size_t i = 0; i < count; i += 64) __builtin_prefetch((const char *)bytes + i);
}

void ct_look_up(const uint8_t *bytes, size_t count, const float *table, float *out) {
  size_t index = 0;
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx512f")) index = look_up_sixteens(bytes, count, table, out);
#endif
  for (; index < count; index++) out[index] = table[bytes[index]];
}
