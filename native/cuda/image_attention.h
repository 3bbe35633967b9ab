#pragma once

#include "cuda/arguments.h"
#include "cuda/lanes.h"
#include "cuda/warp.h"
#include "cuda/wide_rows.h"

namespace segsam::cuda {

/// The tokens' attention to the image, as engine/token_attention.h has it: softmax of queries (image + positions)',
/// times image. In the manner of FlashAttention-2 (Dao 2023, arXiv 2307.08691); the image's positions are divided into
/// parts, so that few prompts fill a GPU too, and `joinParts` puts the parts together.
///
/// One block: 64 queries of blockY, part blockX and prompt blockZ, by 128 threads, a warp 16 queries. Needs
/// `imageAttentionBytes` of shared memory. The positions are a multiple of 32, the parts at most one for each 32.
SEG_SAM_DEVICE void attendImage(const ImageAttention& a, uint16* shared) {
  constexpr int kKeys = 32;
  constexpr int kRows = 64;
  constexpr int kThreads = 128;
  constexpr int kTile = kKeys * kWide;
  constexpr int kColumns = kWide / 8;

  const SharedValues all = inShared(shared);
  const int thread = threadIndex();
  const int lane = thread % 32;
  const int firstRow = blockY() * kRows + thread / 32 * 16;
  const bool isUsed = firstRow < a.rows;
  const int64 prompt = blockZ();
  const uint16* const image = a.image + prompt * a.imageStride;
  const int tiles = a.positionCount / kKeys;
  const int begin = tiles * blockX() / a.parts;
  const int end = tiles * (blockX() + 1) / a.parts;

  const auto copyTile = [&](int tile) {
    const SharedValues stage = all + (tile - begin) % 2 * 2 * kTile;
    SEG_SAM_LOOP
    for (int i = thread; i < kTile / 8; i += kThreads) {
      const int place = placeOf(i / kColumns, i % kColumns);
      const int64 source = static_cast<int64>(tile) * kTile + i * 8;
      copyAsync(stage + place, image + source, true);
      copyAsync(stage + kTile + place, a.positions + source, true);
    }
    commitCopies();
  };

  uint16* const queries = shared + 4 * kTile;
  for (int i = thread; i < kRows * kColumns; i += kThreads) {
    const int row = blockY() * kRows + i / kColumns;
    // Rows past the end are zeros.
    const int64 source = (prompt * a.rows + (row < a.rows ? row : 0)) * kWide + i % kColumns * 8;
    copyAsync(all + (4 * kTile + placeOf(i / kColumns, i % kColumns)), a.queries + source, row < a.rows);
  }
  copyTile(begin);

  float out[kColumns][4] = {};
  float maxima[2] = {-1e30f, -1e30f};
  float totals[2] = {};
  for (int tile = begin; tile < end; ++tile) {
    if (tile + 1 < end) {
      copyTile(tile + 1);
      waitForCopies<1>();
    } else {
      waitForCopies<0>();
    }
    synchroniseBlock();
    const int stage = (tile - begin) % 2 * 2 * kTile;
    const uint16* const keys = shared + stage;
    if (isUsed) {
      float scores[4][4] = {};
      SEG_SAM_UNROLL
      for (int piece = 0; piece < kPieces; ++piece) {
        const uint16* const query = queries + placeOf(thread / 32 * 16 + lane / 4, piece * 4 + lane % 4);
        const Vector upper = vectorAt(query);
        const Vector lower = vectorAt(query + 8 * kWide);
        SEG_SAM_UNROLL
        for (int n = 0; n < 4; ++n) {
          const uint16* const key = keys + placeOf(n * 8 + lane / 4, piece * 4 + lane % 4);
          multiplyPiece(scores[n], upper, lower, sumOf(vectorAt(key), vectorAt(key + kTile)));
        }
      }
      SEG_SAM_UNROLL
      for (int r = 0; r < 2; ++r) {
        float most = maxima[r];
        SEG_SAM_UNROLL
        for (int n = 0; n < 4; ++n) most = fmaxf(most, fmaxf(scores[n][2 * r], scores[n][2 * r + 1]));
        most = laneMaximum<4>(most);
        const float correction = powerOfTwo((maxima[r] - most) * kLog2OfE);
        const float shift = most * kLog2OfE;
        maxima[r] = most;
        float total = totals[r] * correction;
        SEG_SAM_UNROLL
        for (int n = 0; n < 4; ++n) {
          SEG_SAM_UNROLL
          for (int i = 2 * r; i < 2 * r + 2; ++i) {
            scores[n][i] = powerOfTwo(scores[n][i] * kLog2OfE - shift);
            total += scores[n][i];
          }
        }
        totals[r] = total;
        SEG_SAM_UNROLL
        for (int n = 0; n < kColumns; ++n) {
          out[n][2 * r] *= correction;
          out[n][2 * r + 1] *= correction;
        }
      }
      SEG_SAM_UNROLL
      for (int step = 0; step < 2; ++step) {
        const float(&left)[4] = scores[2 * step];
        const float(&right)[4] = scores[2 * step + 1];
        const uint32 weights[4] = {Float16::pack(left[0], left[1]), Float16::pack(left[2], left[3]),
                                   Float16::pack(right[0], right[1]), Float16::pack(right[2], right[3])};
        SEG_SAM_UNROLL
        for (int n = 0; n < kColumns; n += 2) {
          uint32 b[4];
          loadTransposed(b, all + (stage + placeOf(step * 16 + lane % 16, n + lane / 16)));
          Float16::multiply(out[n], weights, b[0], b[1]);
          Float16::multiply(out[n + 1], weights, b[2], b[3]);
        }
      }
    }
    synchroniseBlock();
  }

  SEG_SAM_UNROLL
  for (int r = 0; r < 2; ++r) {
    totals[r] = laneSum<4>(totals[r]);
    const int row = firstRow + r * 8 + lane / 4;
    if (row >= a.rows) continue;
    const int64 target = (prompt * a.parts + blockX()) * a.rows + row;
    if (lane % 4 == 0) {
      a.scales[2 * target] = maxima[r];
      a.scales[2 * target + 1] = totals[r];
    }
    SEG_SAM_UNROLL
    for (int n = 0; n < kColumns; ++n) {
      float* const pair = a.sums + target * kWide + n * 8 + lane % 4 * 2;
      pair[0] = out[n][2 * r];
      pair[1] = out[n][2 * r + 1];
    }
  }
}

/// The attended values of all parts of `attendImage`. One block: 4 rows of all prompts, by 128 threads.
SEG_SAM_DEVICE void joinParts(const JoinedParts& a) {
  const int lane = threadIndex() % 32;
  const int64 row = static_cast<int64>(blockX()) * 4 + threadIndex() / 32;
  if (row >= a.allRows) return;
  const auto sourceOf = [&](int part) { return (row / a.rows * a.parts + part) * a.rows + row % a.rows; };

  float most = -1e30f;
  for (int part = 0; part < a.parts; ++part) most = fmaxf(most, a.scales[2 * sourceOf(part)]);
  float total = 0.0f;
  float sums[8] = {};
  for (int part = 0; part < a.parts; ++part) {
    const int64 source = sourceOf(part);
    const float weight = powerOfTwo((a.scales[2 * source] - most) * kLog2OfE);
    total += weight * a.scales[2 * source + 1];
    SEG_SAM_UNROLL
    for (int half = 0; half < 2; ++half) {
      const FourFloats four = *reinterpret_cast<const FourFloats*>(a.sums + source * kWide + lane * 8 + half * 4);
      SEG_SAM_UNROLL
      for (int i = 0; i < 4; ++i) sums[half * 4 + i] += weight * four.values[i];
    }
  }
  Vector result;
  SEG_SAM_UNROLL
  for (int i = 0; i < 4; ++i) result.words[i] = Float16::pack(sums[2 * i] / total, sums[2 * i + 1] / total);
  *reinterpret_cast<Vector*>(a.out + row * kWide + lane * 8) = result;
}

}  // namespace segsam::cuda
