#include "ops/softmax_tile.h"

#include <algorithm>
#include <cmath>

#include "ops/vector_loops.h"

namespace segsam {

namespace {

/// Loops over columns run to a multiple of this, so that vectors are full.
constexpr int64_t kLanes = 16;

constexpr int64_t padded(int64_t columns) { return (columns + kLanes - 1) / kLanes * kLanes; }

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
void scaleRows(float* values, int64_t rows, int64_t width, const float* factors) {
  for (int64_t row = 0; row < rows; ++row) {
    const float factor = factors[row];
    float* target = values + row * width;
#pragma omp simd
    for (int64_t i = 0; i < width; ++i) target[i] *= factor;
  }
}

}  // namespace segsam
