#pragma once

#include <ATen/ATen.h>

#include <algorithm>
#include <vector>

#include "engine/packed_matrix.h"
#include "ops/softmax_tile.h"
#include "ops/tile_loops.h"

namespace segsam {

/// Positions of an image in a tile, which rows attend to at a time.
inline constexpr int64_t kTile = 128;
/// Positions whose sums are computed apart: always the same ones, so that the sums are, whatever computes them.
inline constexpr int64_t kPart = 4 * kTile;

/// What a part of an image adds to the sums of rows that attend to it: for each row the greatest score, the sum of the
/// exponentials relative to it, and that of the values so weighted.
struct PartialSums {
  int64_t width = 0;
  std::vector<float> maximum, sum, values;

  PartialSums() = default;

  /// Of no positions yet.
  PartialSums(int64_t rows, int64_t itsWidth);

  /// Turns the scores of a tile, (count, rows), into weights, (rows, count), by which its values are to be added. What
  /// was added before changes with them.
  /// @param correction memory for a value of each row
  template <class T>
  void weigh(float* scores, int64_t count, float* correction, T* weights) {
    const auto rows = static_cast<int64_t>(maximum.size());
    softmaxColumns(scores, count, rows, maximum.data(), sum.data(), correction);
    transpose(scores, count, rows, rows, weights);
    scaleRows(values.data(), rows, width, correction);
  }

  /// Adds the values of a tile, (count, width), to `rows` rows from `first` on.
  template <class T>
  void add(const T* weights, const PackedMatrix<T>& tile, int64_t count, int64_t first, int64_t rows) {
    // oneDNN compiles a kernel for each number of rows, so there are few of them.
    constexpr int64_t kRows = 128;
    for (int64_t row = first; row < first + rows; row += kRows) {
      tile.multiply(weights + row * count, std::min(kRows, first + rows - row), count, values.data() + row * width,
                    true);
    }
  }
};

using PartsOfPrompts = std::vector<std::vector<PartialSums>>;

/// The means of the parts of each prompt, as if they were one: (P, rows, width).
at::Tensor mergeParts(const PartsOfPrompts& sums, int64_t rows, const at::TensorOptions& options);

}  // namespace segsam
