#pragma once

#include "cuda/arguments.h"
#include "cuda/warp.h"

namespace segsam::cuda {

/// The attention of SAM's image encoder (Kirillov et al. 2023) within windows of a grid, with its decomposed relative
/// positions: out = softmax(scale q k' + q R_h + q R_w) v, for heads of 64 values.
///
/// Follows FlashAttention-2 (Dao 2023, arXiv 2307.08691): a warp keeps 32 queries, their running maxima and sums, and
/// goes through the keys in tiles. The positions of a window are laid out in rows of `Slots`, so that a tile of 64 keys
/// is whole rows: R_w is then the same in each tile and stays in registers, and R_h is one number a row.
///
/// One block: 128 queries of blockX in window blockZ (of all images) and head blockY, by 128 threads. Needs
/// `gridAttentionBytes` of shared memory. `window` is Slots at most.
template <class T, int Slots>
SEG_SAM_DEVICE void attendGrid(const GridAttention& a, uint16* shared) {
  constexpr int kWidth = 64;
  constexpr int kQueries = 128;
  constexpr int kKeys = 64;
  constexpr int kThreads = 128;
  constexpr int kTile = kKeys * kWidth;
  constexpr int kPitch = Slots + 2;
  constexpr int kRowsOfTile = kKeys / Slots;
  constexpr int kPairs = Slots / 8;
  // Far below every score, and finite in both types when the exponent's scale has been applied.
  constexpr float kMasked = -30000.0f;

  uint16* const queries = shared;
  uint16* const stages = queries + kQueries * kWidth;
  uint16* const biasW = stages + 4 * kTile;
  uint16* const biasH = biasW + kQueries * kPitch;

  const int thread = threadIndex();
  const int lane = thread % 32;
  const int warp = thread / 32;
  const int head = blockY();
  const int perRow = (a.grid + a.window - 1) / a.window;
  const int image = blockZ() / (perRow * perRow);
  const int top = blockZ() % (perRow * perRow) / perRow * a.window;
  const int left = blockZ() % perRow * a.window;
  const int firstSlot = blockX() * kQueries;
  const int width = a.heads * kWidth;

  const int64 imageOffset = static_cast<int64>(image) * a.grid * a.grid * width + head * kWidth;
  const uint16* const qkv = a.qkv + 3 * static_cast<int64>(image) * a.grid * a.grid * width + head * kWidth;
  // Part 0 are queries, 1 keys, 2 values. Null where a slot is no position of the window.
  const auto source = [&](int slot, int part) -> const uint16* {
    const int y = slot / Slots;
    const int x = slot % Slots;
    if (y >= a.window || x >= a.window) return nullptr;
    if (top + y >= a.grid || left + x >= a.grid) return a.bias + part * width + head * kWidth;
    return qkv + (((top + y) * a.grid + left + x) * 3 + part) * width;
  };
  // Eight values are a chunk. Chunks of a tile's column lie in other banks of shared memory.
  const auto at = [](int row, int chunk) { return row * kWidth + ((chunk ^ (row & 7)) << 3); };
  const auto copyRow = [&](uint16* tile, int index, const uint16* row) {
    copyAsync(tile + at(index / 8, index % 8), (row != nullptr ? row : a.bias) + index % 8 * 8, row != nullptr);
  };
  const auto copyKeys = [&](int tile) {
    uint16* const keys = stages + tile % 2 * 2 * kTile;
    for (int i = thread; i < kKeys * 8; i += kThreads) {
      copyRow(keys, i, source(tile * kKeys + i / 8, 1));
      copyRow(keys + kTile, i, source(tile * kKeys + i / 8, 2));
    }
    commitCopies();
  };

  for (int i = thread; i < kQueries * 8; i += kThreads) copyRow(queries, i, source(firstSlot + i / 8, 0));
  uint16* const tables[2] = {stages, stages + 2 * kTile};
  for (int i = thread; i < 2 * Slots * 8; i += kThreads) {
    const bool isThere = i / 8 < 2 * a.window - 1;
    copyRow(tables[0], i, isThere ? a.tableH + i / 8 * kWidth : nullptr);
    copyRow(tables[1], i, isThere ? a.tableW + i / 8 * kWidth : nullptr);
  }
  commitCopies();
  const uint16 masked = static_cast<uint16>(T::pack(kMasked, 0.0f));
  for (int k = a.window; k < Slots; ++k) {
    biasW[thread * kPitch + k] = masked;
    biasH[thread * kPitch + k] = masked;
  }
  waitForCopies<0>();
  synchroniseBlock();

  uint32 q[2][4][4];
  SEG_SAM_UNROLL
  for (int m = 0; m < 2; ++m) {
    SEG_SAM_UNROLL
    for (int step = 0; step < 4; ++step) {
      loadMatrices(q[m][step], queries + at(warp * 32 + m * 16 + lane % 16, step * 2 + lane / 16));
    }
  }

  // The products of the queries with both tables, each value stored at the key that it is of.
  const float inverse = 1.0f / a.scale;
  SEG_SAM_LOOP
  for (int axis = 0; axis < 2; ++axis) {
    uint16* const target = axis == 0 ? biasH : biasW;
    SEG_SAM_LOOP
    for (int pair = 0; pair < 2 * Slots / 16; ++pair) {
      float sums[2][2][4] = {};
      SEG_SAM_UNROLL
      for (int step = 0; step < 4; ++step) {
        uint32 b[4];
        loadMatrices(b, tables[axis] + at(pair * 16 + lane / 16 * 8 + lane % 8, step * 2 + lane / 8 % 2));
        SEG_SAM_UNROLL
        for (int m = 0; m < 2; ++m) {
          T::multiply(sums[m][0], q[m][step], b[0], b[1]);
          T::multiply(sums[m][1], q[m][step], b[2], b[3]);
        }
      }
      SEG_SAM_UNROLL
      for (int i = 0; i < 16; ++i) {
        const int row = warp * 32 + i / 8 * 16 + lane / 4 + i / 2 % 2 * 8;
        const int entry = pair * 16 + i / 4 % 2 * 8 + lane % 4 * 2 + i % 2;
        const int slot = firstSlot + row;
        const int key = (axis == 0 ? slot / Slots : slot % Slots) + a.window - 1 - entry;
        if (key >= 0 && key < a.window) {
          target[row * kPitch + key] =
              static_cast<uint16>(T::pack(sums[i / 8][i / 4 % 2][i / 2 % 2 * 2 + i % 2] * inverse, 0.0f));
        }
      }
    }
  }
  // Of tables and of biases: each is read by all from here on.
  synchroniseBlock();
  copyKeys(0);

  // In steps of 8 rows: rows lane / 4 + 8 r of the warp.
  const auto rowOf = [&](int r) { return warp * 32 + r * 8 + lane / 4; };
  uint32 columns[4][kPairs];
  SEG_SAM_UNROLL
  for (int r = 0; r < 4; ++r) {
    SEG_SAM_UNROLL
    for (int n = 0; n < kPairs; ++n) {
      columns[r][n] = *reinterpret_cast<const uint32*>(biasW + rowOf(r) * kPitch + n * 8 + lane % 4 * 2);
    }
  }

  const float toExponent = a.scale * 1.44269504088896340736f;
  float out[2][8][4] = {};
  float maxima[4];
  float totals[4] = {};
  SEG_SAM_UNROLL
  for (int r = 0; r < 4; ++r) maxima[r] = -1e30f;

  const int tiles = (a.window + kRowsOfTile - 1) / kRowsOfTile;
  for (int tile = 0; tile < tiles; ++tile) {
    if (tile + 1 < tiles) {
      copyKeys(tile + 1);
      waitForCopies<1>();
    } else {
      waitForCopies<0>();
    }
    synchroniseBlock();
    const uint16* const keys = stages + tile % 2 * 2 * kTile;
    const uint16* const values = keys + kTile;

    float scores[2][8][4];
    SEG_SAM_UNROLL
    for (int row = 0; row < kRowsOfTile; ++row) {
      SEG_SAM_UNROLL
      for (int r = 0; r < 4; ++r) {
        const float ofRow = T::first(biasH[rowOf(r) * kPitch + tile * kRowsOfTile + row]);
        SEG_SAM_UNROLL
        for (int n = 0; n < kPairs; ++n) {
          scores[r / 2][row * kPairs + n][r % 2 * 2] = ofRow + T::first(columns[r][n]);
          scores[r / 2][row * kPairs + n][r % 2 * 2 + 1] = ofRow + T::second(columns[r][n]);
        }
      }
    }
    SEG_SAM_UNROLL
    for (int step = 0; step < 4; ++step) {
      SEG_SAM_UNROLL
      for (int n = 0; n < 8; n += 2) {
        uint32 b[4];
        loadMatrices(b, keys + at(n * 8 + lane / 16 * 8 + lane % 8, step * 2 + lane / 8 % 2));
        SEG_SAM_UNROLL
        for (int m = 0; m < 2; ++m) {
          T::multiply(scores[m][n], q[m][step], b[0], b[1]);
          T::multiply(scores[m][n + 1], q[m][step], b[2], b[3]);
        }
      }
    }

    SEG_SAM_UNROLL
    for (int r = 0; r < 4; ++r) {
      float most = maxima[r];
      SEG_SAM_UNROLL
      for (int n = 0; n < 8; ++n) {
        const float* const pair = &scores[r / 2][n][r % 2 * 2];
        most = fmaxf(most, fmaxf(pair[0], pair[1]));
      }
      most = fmaxf(most, exchange(most, 1));
      most = fmaxf(most, exchange(most, 2));
      const float correction = powerOfTwo((maxima[r] - most) * toExponent);
      const float shift = most * toExponent;
      maxima[r] = most;
      float total = 0.0f;
      SEG_SAM_UNROLL
      for (int n = 0; n < 8; ++n) {
        float* const pair = &scores[r / 2][n][r % 2 * 2];
        pair[0] = powerOfTwo(pair[0] * toExponent - shift);
        pair[1] = powerOfTwo(pair[1] * toExponent - shift);
        total += pair[0] + pair[1];
        out[r / 2][n][r % 2 * 2] *= correction;
        out[r / 2][n][r % 2 * 2 + 1] *= correction;
      }
      totals[r] = totals[r] * correction + total;
    }

    SEG_SAM_UNROLL
    for (int step = 0; step < 4; ++step) {
      uint32 weights[2][4];
      SEG_SAM_UNROLL
      for (int m = 0; m < 2; ++m) {
        SEG_SAM_UNROLL
        for (int i = 0; i < 4; ++i) {
          const float* const pair = &scores[m][step * 2 + i / 2][i % 2 * 2];
          weights[m][i] = T::pack(pair[0], pair[1]);
        }
      }
      SEG_SAM_UNROLL
      for (int n = 0; n < 8; n += 2) {
        uint32 b[4];
        loadTransposed(b, values + at(step * 16 + lane % 16, n + lane / 16));
        SEG_SAM_UNROLL
        for (int m = 0; m < 2; ++m) {
          T::multiply(out[m][n], weights[m], b[0], b[1]);
          T::multiply(out[m][n + 1], weights[m], b[2], b[3]);
        }
      }
    }
    // The next but one tile takes this one's place.
    synchroniseBlock();
  }

  SEG_SAM_UNROLL
  for (int r = 0; r < 4; ++r) {
    float total = totals[r];
    total += exchange(total, 1);
    total += exchange(total, 2);
    const float factor = 1.0f / total;
    const int slot = firstSlot + rowOf(r);
    const int y = slot / Slots;
    const int x = slot % Slots;
    if (y >= a.window || x >= a.window || top + y >= a.grid || left + x >= a.grid) continue;
    uint16* const target = a.out + imageOffset + ((top + y) * a.grid + left + x) * width + lane % 4 * 2;
    SEG_SAM_UNROLL
    for (int n = 0; n < 8; ++n) {
      const float* const pair = &out[r / 2][n][r % 2 * 2];
      *reinterpret_cast<uint32*>(target + n * 8) = T::pack(pair[0] * factor, pair[1] * factor);
    }
  }
}

}  // namespace segsam::cuda
