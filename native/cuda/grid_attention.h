#pragma once

#include "cuda/arguments.h"
#include "cuda/lanes.h"
#include "cuda/warp.h"

namespace segsam::cuda {

/// The attention of SAM's image encoder (Kirillov et al. 2023) within windows of a grid, with its decomposed relative
/// positions: out = softmax(scale q k' + q R_h + q R_w) v, for heads of 64 values.
///
/// Follows FlashAttention-2 (Dao 2023, arXiv 2307.08691): a warp keeps `Tiles` times 16 queries, their running maxima
/// and sums, and goes through the keys in steps of `Step`. The positions of a window are laid out in rows of `Slots`,
/// so that a step is whole rows or a part of one: R_w is then the same for all rows, and R_h is one number a row. The
/// maxima follow only where scores exceed them by much, which changes no result but for rounding.
///
/// One block: 128 queries of blockX in window blockZ (of all images) and head blockY, by 256 / Tiles threads. Needs
/// `gridAttentionBytes` of shared memory. `window` is Slots at most.
template <class T, int Slots, int Tiles, int Step>
SEG_SAM_DEVICE void attendGrid(const GridAttention& a, uint16* shared) {
  constexpr int kWidth = 64;
  constexpr int kQueries = 128;
  constexpr int kKeys = 64;
  constexpr int kThreads = 256 / Tiles;
  constexpr int kOfWarp = 16 * Tiles;
  constexpr int kRowsAtOnce = kThreads / 8;
  constexpr int kTile = kKeys * kWidth;
  // Rows lie 4 words apart or 12 or 20, so that those which a warp reads together are in different banks.
  constexpr int kPitch = Slots + 8;
  constexpr int kRows = Step > Slots ? Step / Slots : 1;
  constexpr int kPairs = Step / kRows / 8;
  constexpr int kGroups = 2 * Tiles;
  // Small tables lie where the second tile of keys will, so that the first is copied meanwhile.
  constexpr bool kIsSmall = 2 * Slots <= kKeys;
  constexpr int kTables = kIsSmall ? 2 * kTile : 0;
  constexpr int kTable = kIsSmall ? kTile : 2 * kTile;
  // Far below every score, and finite in both types when the exponent's scale has been applied.
  constexpr float kMasked = -30000.0f;
  // Powers of two that a weight may exceed 1 by.
  constexpr float kSlack = 8.0f;

  const SharedValues stages = inShared(shared);
  // Those are in registers before the biases are written.
  const SharedValues queries = stages + 4 * kTile;
  uint16* const biasW = shared + 4 * kTile;
  uint16* const biasH = biasW + kQueries * kPitch;

  const int thread = threadIndex();
  const int lane = thread % 32;
  const int firstRow = thread / 32 * kOfWarp;
  const int head = blockY();
  const int perRow = (a.grid + a.window - 1) / a.window;
  const int image = blockZ() / (perRow * perRow);
  const int top = blockZ() % (perRow * perRow) / perRow * a.window;
  const int left = blockZ() % perRow * a.window;
  const int firstSlot = blockX() * kQueries;
  const int width = a.heads * kWidth;

  const int64 imageOffset = static_cast<int64>(image) * a.grid * a.grid * width + head * kWidth;
  const uint16* const qkv = a.qkv + 3 * static_cast<int64>(image) * a.grid * a.grid * width + head * kWidth;
  // Eight values are a chunk. Chunks of a tile's column lie in other banks of shared memory.
  const auto at = [](int row, int chunk) { return row * kWidth + ((chunk ^ (row & 7)) << 3); };
  // A thread copies one chunk of this row, and of every `kRowsAtOnce`-th from there.
  const int copiedRow = kept(thread / 8);
  const int copiedChunk = thread % 8 * 8;
  const int copiedTo = kept(at(copiedRow, thread % 8));
  // The slot of that row after another's slot, which is a multiple of `kRowsAtOnce`.
  const int copiedY = kRowsAtOnce > Slots ? copiedRow / Slots : 0;
  const int copiedX = kRowsAtOnce > Slots ? copiedRow % Slots : copiedRow;
  const int copiedFrom = kept(((top + copiedY) * a.grid + left + copiedX) * 3 * width + copiedChunk);
  // Parts `first` to `last` of the position there, to tiles one after the other: 0 queries, 1 keys, 2 values.
  const auto copyParts = [&](SharedValues target, int slot, int first, int last) {
    const int y = slot / Slots;
    const int x = slot % Slots;
    const bool isThere = copiedY < a.window - y && copiedX < a.window - x;
    const bool isInGrid = copiedY < a.grid - top - y && copiedX < a.grid - left - x;
    const uint16* const parts =
        isInGrid ? qkv + copiedFrom + (y * a.grid + x) * 3 * width : a.bias + head * kWidth + copiedChunk;
    for (int part = first; part <= last; ++part) {
      copyAsync(target + (part - first) * kTile, parts + part * width, isThere);
    }
  };
  const auto copyKeys = [&](int tile) {
    const SharedValues keys = stages + tile % 2 * 2 * kTile + copiedTo;
    SEG_SAM_UNROLL
    for (int row = 0; row < kKeys; row += kRowsAtOnce) copyParts(keys + row * kWidth, tile * kKeys + row, 1, 2);
    commitCopies();
  };

  for (int row = 0; row < kQueries; row += kRowsAtOnce) {
    copyParts(queries + copiedTo + row * kWidth, firstSlot + row, 0, 0);
  }
  for (int row = 0; row < 2 * Slots; row += kRowsAtOnce) {
    const bool isThere = row + copiedRow < 2 * a.window - 1;
    const int entry = (isThere ? row + copiedRow : 0) * kWidth + copiedChunk;
    copyAsync(stages + kTables + copiedTo + row * kWidth, a.tableH + entry, isThere);
    copyAsync(stages + kTables + kTable + copiedTo + row * kWidth, a.tableW + entry, isThere);
  }
  commitCopies();
  if (kIsSmall) copyKeys(0);
  waitForCopies<kIsSmall ? 1 : 0>();
  synchroniseBlock();

  uint32 q[Tiles][4][4];
  SEG_SAM_UNROLL
  for (int m = 0; m < Tiles; ++m) {
    SEG_SAM_UNROLL
    for (int k = 0; k < 4; ++k) {
      loadMatrices(q[m][k], queries + at(firstRow + m * 16 + lane % 16, k * 2 + lane / 16));
    }
  }
  synchroniseBlock();

  // The products of the queries with both tables, each value stored at the key that it is of.
  const float inverse = 1.0f / a.scale;
  SEG_SAM_LOOP
  for (int axis = 0; axis < 2; ++axis) {
    uint16* const target = axis == 0 ? biasH : biasW;
    const uint16 masked = static_cast<uint16>(T::pack(kMasked, 0.0f));
    for (int row = thread; row < kQueries; row += kThreads) {
      for (int k = a.window; k < Slots; ++k) target[row * kPitch + k] = masked;
    }
    // The warp's queries lie between these along the axis, which not all entries of a table concern.
    const int low = axis == 0 ? (firstSlot + firstRow) / Slots : kOfWarp < Slots ? (firstSlot + firstRow) % Slots : 0;
    const int high = low + (axis == 0 ? (kOfWarp - 1) / Slots : (kOfWarp < Slots ? kOfWarp : Slots) - 1);
    SEG_SAM_LOOP
    for (int pair = low / 16; pair * 16 < high + a.window; ++pair) {
      float sums[Tiles][2][4] = {};
      SEG_SAM_UNROLL
      for (int k = 0; k < 4; ++k) {
        uint32 b[4];
        loadMatrices(b,
                     stages + kTables + axis * kTable + at(pair * 16 + lane / 16 * 8 + lane % 8, k * 2 + lane / 8 % 2));
        SEG_SAM_UNROLL
        for (int m = 0; m < Tiles; ++m) {
          T::multiply(sums[m][0], q[m][k], b[0], b[1]);
          T::multiply(sums[m][1], q[m][k], b[2], b[3]);
        }
      }
      SEG_SAM_UNROLL
      for (int i = 0; i < 8 * Tiles; ++i) {
        const int row = firstRow + i / 8 * 16 + lane / 4 + i / 2 % 2 * 8;
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
  if (!kIsSmall) copyKeys(0);

  // In groups of 8 rows: the lane has to do with row lane / 4 of each.
  const auto rowOf = [&](int group) { return firstRow + group * 8 + lane / 4; };
  // Of the first matrices of a step; those of other chunks differ in the chunk's bits.
  const int keyOfLane = kept(at(lane / 16 * 8 + lane % 8, lane / 8 % 2));
  const int valueOfLane = kept(at(lane % 16, lane / 16));
  const int biasOfLane = kept(4 * kTile + rowOf(0) * kPitch);
  const float toExponent = a.scale * kLog2OfE;
  const float slack = kSlack / toExponent;
  float out[Tiles][8][4] = {};
  float maxima[kGroups];
  float totals[kGroups] = {};
  SEG_SAM_UNROLL
  for (int r = 0; r < kGroups; ++r) maxima[r] = -1e30f;

  const int keys = a.window * Slots;
  SEG_SAM_LOOP
  for (int tile = 0; tile * kKeys < keys; ++tile) {
    waitForCopies<0>();
    // This tile is there, and the one before is read no more.
    synchroniseBlock();
    if ((tile + 1) * kKeys < keys) copyKeys(tile + 1);
    SEG_SAM_UNROLL
    for (int first = 0; first < kKeys; first += Step) {
      if (first > 0 && tile * kKeys + first >= keys) break;
      const SharedValues keysOfStep = stages + tile % 2 * 2 * kTile + first * kWidth;
      const SharedValues values = keysOfStep + kTile;
      const SharedValues columns = stages + (biasOfLane + lane % 4 * 2) + first % Slots;
      const SharedValues rows = stages + biasOfLane + kQueries * kPitch + tile * kKeys / Slots + first / Slots;

      float scores[Tiles][Step / 8][4];
      SEG_SAM_UNROLL
      for (int r = 0; r < kGroups; ++r) {
        SEG_SAM_UNROLL
        for (int n = 0; n < Step / 8; ++n) {
          const uint32 ofColumns = loadWord(columns + r * 8 * kPitch + n % kPairs * 8);
          scores[r / 2][n][r % 2 * 2] = T::first(ofColumns);
          scores[r / 2][n][r % 2 * 2 + 1] = T::second(ofColumns);
        }
      }
      SEG_SAM_UNROLL
      for (int k = 0; k < 4; ++k) {
        SEG_SAM_UNROLL
        for (int n = 0; n < Step / 8; n += 2) {
          uint32 b[4];
          loadMatrices(b, keysOfStep + n * 8 * kWidth + (keyOfLane ^ k * 16));
          SEG_SAM_UNROLL
          for (int m = 0; m < Tiles; ++m) {
            T::multiply(scores[m][n], q[m][k], b[0], b[1]);
            T::multiply(scores[m][n + 1], q[m][k], b[2], b[3]);
          }
        }
      }

      float ofRows[kGroups][kRows];
      float most[kGroups];
      bool exceeds = false;
      SEG_SAM_UNROLL
      for (int r = 0; r < kGroups; ++r) {
        most[r] = maxima[r];
        SEG_SAM_UNROLL
        for (int row = 0; row < kRows; ++row) {
          float ofRow = scores[r / 2][row * kPairs][r % 2 * 2];
          SEG_SAM_UNROLL
          for (int n = row * kPairs; n < (row + 1) * kPairs; ++n) {
            const float* const pair = &scores[r / 2][n][r % 2 * 2];
            ofRow = fmaxf(ofRow, fmaxf(pair[0], pair[1]));
          }
          ofRows[r][row] = T::first(loadHalf(rows + r * 8 * kPitch + row));
          most[r] = fmaxf(most[r], ofRow + ofRows[r][row]);
        }
        exceeds = exceeds || most[r] > maxima[r] + slack;
      }
      if (anyInWarp(exceeds)) {
        SEG_SAM_UNROLL
        for (int r = 0; r < kGroups; ++r) {
          most[r] = laneMaximum<4>(most[r]);
          const float correction = powerOfTwo((maxima[r] - most[r]) * toExponent);
          maxima[r] = most[r];
          totals[r] *= correction;
          SEG_SAM_UNROLL
          for (int n = 0; n < 8; ++n) {
            out[r / 2][n][r % 2 * 2] *= correction;
            out[r / 2][n][r % 2 * 2 + 1] *= correction;
          }
        }
      }
      SEG_SAM_UNROLL
      for (int r = 0; r < kGroups; ++r) {
        SEG_SAM_UNROLL
        for (int n = 0; n < Step / 8; ++n) {
          const float shift = (ofRows[r][n / kPairs] - maxima[r]) * toExponent;
          float* const pair = &scores[r / 2][n][r % 2 * 2];
          pair[0] = powerOfTwo(pair[0] * toExponent + shift);
          pair[1] = powerOfTwo(pair[1] * toExponent + shift);
          totals[r] += pair[0] + pair[1];
        }
      }

      SEG_SAM_UNROLL
      for (int k = 0; k < Step / 16; ++k) {
        uint32 weights[Tiles][4];
        SEG_SAM_UNROLL
        for (int m = 0; m < Tiles; ++m) {
          SEG_SAM_UNROLL
          for (int i = 0; i < 4; ++i) {
            const float* const pair = &scores[m][k * 2 + i / 2][i % 2 * 2];
            weights[m][i] = T::pack(pair[0], pair[1]);
          }
        }
        SEG_SAM_UNROLL
        for (int n = 0; n < 8; n += 2) {
          uint32 b[4];
          loadTransposed(b, values + k * 16 * kWidth + (valueOfLane ^ n * 8));
          SEG_SAM_UNROLL
          for (int m = 0; m < Tiles; ++m) {
            T::multiply(out[m][n], weights[m], b[0], b[1]);
            T::multiply(out[m][n + 1], weights[m], b[2], b[3]);
          }
        }
      }
    }
  }

  SEG_SAM_UNROLL
  for (int r = 0; r < kGroups; ++r) {
    const float factor = 1.0f / laneSum<4>(totals[r]);
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
