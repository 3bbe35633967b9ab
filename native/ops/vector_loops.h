#pragma once

// What loops share that are compiled for several instruction sets, of which one is chosen when the library is loaded:
// the attributes, and arithmetic that becomes part of the loop.
#if defined(__x86_64__) && defined(__linux__) && defined(__GNUC__) && !defined(__clang__) && \
    !defined(__SANITIZE_ADDRESS__)
#define SEG_SAM_CLONES __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define SEG_SAM_CLONES
#endif
#define SEG_SAM_ALWAYS_INLINE __attribute__((always_inline))
#define SEG_SAM_INLINE inline SEG_SAM_ALWAYS_INLINE

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>

namespace segsam {

/// exp(x) for x <= 0, its relative error 4e-7 near 0 and up to 8e-6 at -87; below that it is 1e-38 rather than less.
SEG_SAM_INLINE float exponential(float x) {
  constexpr float kLog2E = 1.44269504f;
  // Added, it leaves the nearest integer in the low bits.
  constexpr float kRound = 12582912.0f;
  const float power = std::max(x, -87.0f) * kLog2E;
  const float shifted = power + kRound;
  const float fraction = power - (shifted - kRound);
  // 2^fraction by the Taylor series, |fraction| <= 1/2.
  float series = 1.54035304e-4f;
  series = series * fraction + 1.33335581e-3f;
  series = series * fraction + 9.61812911e-3f;
  series = series * fraction + 5.55041087e-2f;
  series = series * fraction + 2.40226507e-1f;
  series = series * fraction + 6.93147181e-1f;
  series = series * fraction + 1.0f;
  const int32_t exponent = std::bit_cast<int32_t>(shifted) - std::bit_cast<int32_t>(kRound);
  return std::bit_cast<float>(std::bit_cast<int32_t>(series) + (exponent << 23));
}

/// x times the normal distribution's share below x, to 2e-7 of the larger of 1 and |x|: erf by Abramowitz and Stegun
/// (1964), 7.1.26.
SEG_SAM_INLINE float gelu(float x) {
  const float z = std::fabs(x) * 0.707106781f;
  const float t = 1.0f / (1.0f + 0.3275911f * z);
  float series = 1.061405429f;
  series = series * t - 1.453152027f;
  series = series * t + 1.421413741f;
  series = series * t - 0.284496736f;
  series = series * t + 0.254829592f;
  const float tail = 0.5f * series * t * exponential(-z * z);
  return x > 0.0f ? x - x * tail : x * tail;
}

/// To the nearest bfloat16, ties to even; no NaN.
SEG_SAM_INLINE uint16_t rounded(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  return static_cast<uint16_t>((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}

/// What loops read and write: float, or bfloat16 as its bits.
SEG_SAM_INLINE float load(const float* source) { return *source; }
SEG_SAM_INLINE float load(const uint16_t* source) { return std::bit_cast<float>(static_cast<uint32_t>(*source) << 16); }
SEG_SAM_INLINE void store(float value, float* target) { *target = value; }
SEG_SAM_INLINE void store(float value, uint16_t* target) { *target = rounded(value); }

}  // namespace segsam
