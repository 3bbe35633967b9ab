#pragma once

#include "cuda/arguments.h"
#include "cuda/lanes.h"
#include "cuda/warp.h"
#include "cuda/wide_rows.h"

namespace segsam::cuda {

/// GELU(x) = x Phi(x), where erf(x / sqrt(2)) is a hyperbolic tangent within 5e-5; the coefficients are fitted so that
/// the greatest error of GELU is 2.5e-5, that of the GPU's own hyperbolic tangent set aside.
SEG_SAM_DEVICE float quickGelu(float x) {
  const float square = fminf(x * x, 36.0f);
  const float inner = x * (0.7975078837f + square * (0.0370056456f - square * 0.0003515169f));
  const float half = 0.5f * x;
  return half + half * hyperbolicTangent(inner);
}

/// The logits of SAM's masks, as engine/mask_upscaling.h has it: two transposed convolutions (2 x 2, stride 2), with
/// layer norm and GELU, and the products with the masks' vectors, where nothing but logits leaves the registers.
///
/// A warp keeps 16 positions, which are part of a row of the grid, and goes through the 16 pixels of each. One block:
/// every `blocks`-th tile of 128 positions from blockX on, by 256 threads. Needs `maskUpscalingBytes` of shared
/// memory. The side is a multiple of 16, and its square one of 128.
SEG_SAM_DEVICE void upscaleMasks(const MaskUpscaling& a, uint16* shared) {
  constexpr int kThreads = 256;
  constexpr int kMiddle = 64;
  constexpr int kLast = 32;
  uint16* const weight1 = shared;
  uint16* const weight2 = weight1 + 4 * kMiddle * kWide;
  uint16* const bias1 = weight2 + 4 * kLast * kMiddle;
  uint16* const normWeight = bias1 + kMiddle;
  uint16* const normBias = normWeight + kMiddle;
  uint16* const bias2 = normBias + kMiddle;

  const int thread = threadIndex();
  const int lane = thread % 32;
  const auto placeOf2 = [](int row, int chunk) { return row * kMiddle + ((chunk ^ (row & 7)) << 3); };
  for (int i = thread; i < 4 * kMiddle * kWide / 8; i += kThreads) {
    copyAsync(inShared(weight1) + placeOf(i / (kWide / 8), i % (kWide / 8)), a.weight1 + i * 8, true);
  }
  for (int i = thread; i < 4 * kLast * kMiddle / 8; i += kThreads) {
    copyAsync(inShared(weight2) + placeOf2(i / (kMiddle / 8), i % (kMiddle / 8)), a.weight2 + i * 8, true);
  }
  commitCopies();
  if (thread < kMiddle) {
    bias1[thread] = a.bias1[thread];
    normWeight[thread] = a.normWeight[thread];
    normBias[thread] = a.normBias[thread];
  }
  if (thread < kLast) bias2[thread] = a.bias2[thread];
  waitForCopies<0>();
  synchroniseBlock();

  // Two values of a lane in column n * 8 + lane % 4 * 2.
  const auto pairAt = [&](const uint16* values, int n) {
    return *reinterpret_cast<const uint32*>(values + n * 8 + lane % 4 * 2);
  };
  const int positionsOfPrompt = a.side * a.side;
  const int outSide = 4 * a.side;
  for (int tile = blockX(); tile < a.tiles; tile += a.blocks) {
    const int64 first = static_cast<int64>(tile) * 128 + thread / 32 * 16;
    const int prompt = static_cast<int>(first / positionsOfPrompt);
    const int position = static_cast<int>(first % positionsOfPrompt);
    Vector x[2][kPieces];
    SEG_SAM_UNROLL
    for (int r = 0; r < 2; ++r) {
      SEG_SAM_UNROLL
      for (int piece = 0; piece < kPieces; ++piece) {
        x[r][piece] = vectorAt(a.image + (first + r * 8 + lane / 4) * kWide + (piece * 4 + lane % 4) * 8);
      }
    }
    uint32 vectors[4];
    const bool isMask = lane / 4 < a.masks;
    SEG_SAM_UNROLL
    for (int i = 0; i < 4; ++i) {
      const int64 row = static_cast<int64>(prompt) * a.masks + lane / 4;
      vectors[i] = isMask ? pairAt(a.vectors + row * kLast, i) : 0;
    }

    SEG_SAM_LOOP
    for (int pixel = 0; pixel < 4; ++pixel) {
      float logits[4][4];
      float sums[8][4];
      SEG_SAM_UNROLL
      for (int n = 0; n < 8; ++n) {
        const uint32 bias = pairAt(bias1, n);
        sums[n][0] = sums[n][2] = Float16::first(bias);
        sums[n][1] = sums[n][3] = Float16::second(bias);
      }
      SEG_SAM_UNROLL
      for (int piece = 0; piece < kPieces; ++piece) {
        SEG_SAM_UNROLL
        for (int n = 0; n < 8; ++n) {
          multiplyPiece(sums[n], x[0][piece], x[1][piece],
                        vectorAt(weight1 + placeOf(pixel * kMiddle + n * 8 + lane / 4, piece * 4 + lane % 4)));
        }
      }
      uint32 middle[4][4];
      SEG_SAM_UNROLL
      for (int r = 0; r < 2; ++r) {
        float sum = 0.0f;
        SEG_SAM_UNROLL
        for (int n = 0; n < 8; ++n) sum += sums[n][2 * r] + sums[n][2 * r + 1];
        const float mean = laneSum<4>(sum) / kMiddle;
        float squares = 0.0f;
        SEG_SAM_UNROLL
        for (int n = 0; n < 8; ++n) {
          sums[n][2 * r] -= mean;
          sums[n][2 * r + 1] -= mean;
          squares += sums[n][2 * r] * sums[n][2 * r] + sums[n][2 * r + 1] * sums[n][2 * r + 1];
        }
        const float scale = inverseRoot(laneSum<4>(squares) / kMiddle + a.epsilon);
        SEG_SAM_UNROLL
        for (int n = 0; n < 8; ++n) {
          const uint32 weight = pairAt(normWeight, n);
          const uint32 bias = pairAt(normBias, n);
          const float left = sums[n][2 * r] * scale * Float16::first(weight) + Float16::first(bias);
          const float right = sums[n][2 * r + 1] * scale * Float16::second(weight) + Float16::second(bias);
          middle[n / 2][n % 2 * 2 + r] = Float16::pack(quickGelu(left), quickGelu(right));
        }
      }
      SEG_SAM_UNROLL
      for (int inner = 0; inner < 4; ++inner) {
        float last[4][4];
        SEG_SAM_UNROLL
        for (int n = 0; n < 4; ++n) {
          const uint32 bias = pairAt(bias2, n);
          last[n][0] = last[n][2] = Float16::first(bias);
          last[n][1] = last[n][3] = Float16::second(bias);
        }
        SEG_SAM_UNROLL
        for (int step = 0; step < 4; ++step) {
          SEG_SAM_UNROLL
          for (int n = 0; n < 4; n += 2) {
            uint32 b[4];
            loadMatrices(b, inShared(weight2) +
                                placeOf2(inner * kLast + n * 8 + lane / 16 * 8 + lane % 8, step * 2 + lane / 8 % 2));
            Float16::multiply(last[n], middle[step], b[0], b[1]);
            Float16::multiply(last[n + 1], middle[step], b[2], b[3]);
          }
        }
        float(&result)[4] = logits[inner];
        SEG_SAM_UNROLL
        for (int i = 0; i < 4; ++i) result[i] = 0.0f;
        SEG_SAM_UNROLL
        for (int step = 0; step < 2; ++step) {
          uint32 rows[4];
          SEG_SAM_UNROLL
          for (int i = 0; i < 4; ++i) {
            const float(&two)[4] = last[2 * step + i / 2];
            rows[i] = Float16::pack(quickGelu(two[i % 2 * 2]), quickGelu(two[i % 2 * 2 + 1]));
          }
          Float16::multiply(result, rows, vectors[2 * step], vectors[2 * step + 1]);
        }
      }
      SEG_SAM_UNROLL
      for (int i = 0; i < 4; ++i) {
        const int mask = lane % 4 * 2 + i % 2;
        if (mask >= a.masks) continue;
        const int place = position + lane / 4 + i / 2 * 8;
        SEG_SAM_UNROLL
        for (int row = 0; row < 2; ++row) {
          const int y = 4 * (place / a.side) + pixel / 2 * 2 + row;
          const int64 target = (static_cast<int64>(prompt) * a.masks + mask) * outSide + y;
          *reinterpret_cast<TwoFloats*>(a.out + target * outSide + 4 * (place % a.side) + pixel % 2 * 2) = {
              logits[2 * row][i], logits[2 * row + 1][i]};
        }
      }
    }
  }
}

}  // namespace segsam::cuda
