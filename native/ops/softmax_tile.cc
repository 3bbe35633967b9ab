#include "ops/softmax_tile.h"

#include <algorithm>
#include <bit>
#include <cmath>

// The loops are compiled for several instruction sets; which one runs is chosen when the library is loaded.
#if defined(__x86_64__) && defined(__linux__) && defined(__GNUC__) && !defined(__clang__) && \
    !defined(__SANITIZE_ADDRESS__)
#define SEG_SAM_CLONES __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define SEG_SAM_CLONES
#endif
#define SEG_SAM_INLINE inline __attribute__((always_inline))

namespace segsam {

namespace {

/// Loops over columns run to a multiple of this, so that vectors are full.
constexpr int64_t kLanes = 16;

constexpr int64_t padded(int64_t columns) { return (columns + kLanes - 1) / kLanes * kLanes; }

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

}  // namespace

int64_t softmaxScratch(const TileBias& bias) { return bias.gridRows * bias.gridColumns + 2 * padded(bias.gridColumns); }

SEG_SAM_CLONES
void softmaxTile(float* scores, int64_t queries, const TileBias& bias, float scale, const RunningSoftmax& state,
                 float* scratch) {
  const int64_t keys = bias.gridRows * bias.gridColumns;
  const int64_t width = padded(bias.gridColumns);
  float* columns = scratch;
  float* biases = scratch + width;
  std::fill(columns, columns + width, 0.0f);
  for (int64_t query = 0; query < queries; ++query) {
    float* row = scores + query * keys;
    const float* ofRows = bias.rows + query * bias.rowStride;
    std::copy_n(bias.columns + query * bias.gridColumns, bias.gridColumns, columns);
    // What a grid row writes too much, the next one overwrites.
    for (int64_t i = 0; i < bias.gridRows; ++i) {
      float* target = biases + i * bias.gridColumns;
      const float ofRow = ofRows[i];
#pragma omp simd
      for (int64_t j = 0; j < width; ++j) target[j] = ofRow + columns[j];
    }
    const float before = state.maximum[query];
    float maximum = before;
#pragma omp simd reduction(max : maximum)
    for (int64_t i = 0; i < keys; ++i) {
      row[i] = row[i] * scale + biases[i];
      maximum = row[i] > maximum ? row[i] : maximum;
    }
    float sum = 0.0f;
#pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < keys; ++i) {
      row[i] = exponential(row[i] - maximum);
      sum += row[i];
    }
    const float correction = std::exp(before - maximum);
    state.sum[query] = state.sum[query] * correction + sum;
    state.correction[query] = correction;
    state.maximum[query] = maximum;
  }
}

SEG_SAM_CLONES
void roundToBf16(const float* values, int64_t count, uint16_t* rounded) {
#pragma omp simd
  for (int64_t i = 0; i < count; ++i) {
    const uint32_t bits = std::bit_cast<uint32_t>(values[i]);
    rounded[i] = static_cast<uint16_t>((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
  }
}

SEG_SAM_CLONES
void scaleRows(float* values, int64_t rows, int64_t width, const float* factors) {
  for (int64_t row = 0; row < rows; ++row) {
    const float factor = factors[row];
    float* target = values + row * width;
#pragma omp simd
    for (int64_t i = 0; i < width; ++i) target[i] *= factor;
  }
}

}  // namespace segsam
