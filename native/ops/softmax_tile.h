#pragma once

#include <cstdint>

namespace segsam {

/// What softmax over tiles of keys carries from one tile to the next, for each query (Dao et al. 2022, arXiv
/// 2205.14135, algorithm 1).
struct RunningSoftmax {
  /// Of the scores so far; begins at minus infinity.
  float* maximum;
  /// Of the exponentials so far, relative to the maximum; begins at 0.
  float* sum;
  /// By which the last tile scales what was summed before it.
  float* correction;
};

/// A grid's position bias of SAM (Kirillov et al. 2023): that of a key in row r and column c is rows[r] + columns[c].
struct TileBias {
  /// (queries, gridRows): of the grid rows of this tile.
  const float* rows;
  /// (queries, gridColumns)
  const float* columns;
  int64_t gridRows;
  int64_t gridColumns;
  /// From one query to the next.
  int64_t rowStride;
};

/// Turns a tile of products (queries, keys), keys = gridRows * gridColumns, into exponentials of
/// product * scale + bias - maximum, in place. `scratch` has room for softmaxScratch(bias) values.
void softmaxTile(float* scores, int64_t queries, const TileBias& bias, float scale, const RunningSoftmax& state,
                 float* scratch);

int64_t softmaxScratch(const TileBias& bias);

/// rows of `width` values, each scaled by its own factor.
void scaleRows(float* values, int64_t rows, int64_t width, const float* factors);

}  // namespace segsam
