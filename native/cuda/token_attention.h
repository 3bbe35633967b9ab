#pragma once

#include "cuda/arguments.h"
#include "cuda/lanes.h"
#include "cuda/warp.h"
#include "cuda/wide_rows.h"

namespace segsam::cuda {

/// The image's attention to the tokens, as engine/token_attention.h has it: the layer norm of image + bias +
/// softmax((image + positions) keys' + shifts) values, the softmax over the tokens of each of 8 heads.
///
/// A warp keeps 16 positions in registers; the 8 heads of a token are the columns of one product, so that the softmax
/// of a head is over what one lane holds. One block: `tiles` times 64 positions of blockX, and prompt blockY, by 128
/// threads. Needs `tokenAttentionBytes` of shared memory. `Tokens`, a multiple of 8, is at least the number of tokens;
/// the positions are a multiple of 64.
template <int Tokens>
SEG_SAM_DEVICE void attendTokens(const TokenAttention& a, uint16* shared) {
  constexpr int kGroups = Tokens / 8;
  constexpr int kRows = 64;
  constexpr int kThreads = 128;
  constexpr int kTile = kRows * kWide;
  constexpr int kColumns = kWide / 8;
  constexpr float kMasked = -1e30f;

  const SharedValues all = inShared(shared);
  const int thread = threadIndex();
  const int lane = thread % 32;
  const int64 prompt = blockY();
  const uint16* const image = a.image + prompt * a.imageStride;
  const int rows = a.tokens * 8;
  const uint16* const keys = a.keys + prompt * rows * kWide;
  const uint16* const values = a.values + prompt * rows * kWide;
  const uint16* const shifts = a.shifts + prompt * rows;

  // Keys and values of 8 tokens in turn, through two stages; those of one group stay there.
  const int lastStep = kGroups == 1 ? 2 : a.tiles * 2 * kGroups;
  const auto copyStep = [&](int step) {
    if (step < lastStep) {
      const int first = step % kGroups * kRows;
      const uint16* const source = step / kGroups % 2 == 0 ? keys : values;
      for (int i = thread; i < kTile / 8; i += kThreads) {
        const int row = first + i / kColumns;
        const bool isThere = row < rows;
        copyAsync(all + (step % 2 * kTile + placeOf(i / kColumns, i % kColumns)),
                  source + (isThere ? row * kWide + i % kColumns * 8 : 0), isThere);
      }
    }
    commitCopies();
  };
  int step = 0;
  copyStep(0);
  // What the next step reads, once it is there.
  const auto nextStage = [&] {
    const int stage = step % 2 * kTile;
    ++step;
    if (kGroups == 1 && step > 2) return stage;
    synchroniseBlock();
    copyStep(step);
    waitForCopies<1>();
    synchroniseBlock();
    return stage;
  };

  for (int tile = 0; tile < a.tiles; ++tile) {
    const int position = (blockX() * a.tiles + tile) * 64 + thread / 32 * 16 + lane / 4;
    if (position - lane / 4 >= a.positionCount) {
      // The block's last positions: its warps still wait for each other.
      for (int i = 0; i < 2 * kGroups; ++i) nextStage();
      continue;
    }
    const auto chunkOf = [&](int r, int piece) {
      return static_cast<int64>(position + r * 8) * kWide + (piece * 4 + lane % 4) * 8;
    };
    Vector x[2][kPieces];
    SEG_SAM_UNROLL
    for (int r = 0; r < 2; ++r) {
      SEG_SAM_UNROLL
      for (int piece = 0; piece < kPieces; ++piece) {
        x[r][piece] = sumOf(vectorAt(image + chunkOf(r, piece)), vectorAt(a.positions + chunkOf(r, piece)));
      }
    }

    float scores[Tokens][4];
    SEG_SAM_UNROLL
    for (int group = 0; group < kGroups; ++group) {
      SEG_SAM_UNROLL
      for (int n = group * 8; n < group * 8 + 8; ++n) {
        const bool isThere = n < a.tokens;
        const uint32 pair = isThere ? *reinterpret_cast<const uint32*>(shifts + n * 8 + lane % 4 * 2) : 0;
        scores[n][0] = scores[n][2] = isThere ? Float16::first(pair) : kMasked;
        scores[n][1] = scores[n][3] = isThere ? Float16::second(pair) : kMasked;
      }
      const int stage = nextStage();
      SEG_SAM_UNROLL
      for (int piece = 0; piece < kPieces; ++piece) {
        SEG_SAM_UNROLL
        for (int n = 0; n < 8; ++n) {
          multiplyPiece(scores[group * 8 + n], x[0][piece], x[1][piece],
                        vectorAt(shared + stage + placeOf(n * 8 + lane / 4, piece * 4 + lane % 4)));
        }
      }
    }

    SEG_SAM_UNROLL
    for (int i = 0; i < 4; ++i) {
      float most = scores[0][i];
      SEG_SAM_UNROLL
      for (int n = 1; n < Tokens; ++n) most = fmaxf(most, scores[n][i]);
      const float shift = most * kLog2OfE;
      float total = 0.0f;
      SEG_SAM_UNROLL
      for (int n = 0; n < Tokens; ++n) {
        scores[n][i] = powerOfTwo(scores[n][i] * kLog2OfE - shift);
        total += scores[n][i];
      }
      const float inverse = 1.0f / total;
      SEG_SAM_UNROLL
      for (int n = 0; n < Tokens; ++n) scores[n][i] *= inverse;
    }
    uint32 weights[Tokens / 2][4];
    SEG_SAM_UNROLL
    for (int pair = 0; pair < Tokens / 2; ++pair) {
      SEG_SAM_UNROLL
      for (int i = 0; i < 4; ++i) {
        const float(&two)[4] = scores[2 * pair + i / 2];
        weights[pair][i] = Float16::pack(two[i % 2 * 2], two[i % 2 * 2 + 1]);
      }
    }

    // out[4 piece + i][2 r + j] is channel 32 piece + 8 (lane % 4) + 2 i + j of row r.
    float out[kColumns][4];
    SEG_SAM_UNROLL
    for (int piece = 0; piece < kPieces; ++piece) {
      const Vector bias = vectorAt(a.bias + (piece * 4 + lane % 4) * 8);
      SEG_SAM_UNROLL
      for (int r = 0; r < 2; ++r) {
        const Vector own = vectorAt(image + chunkOf(r, piece));
        SEG_SAM_UNROLL
        for (int i = 0; i < 8; ++i) out[piece * 4 + i / 2][r * 2 + i % 2] = valueOf(own, i) + valueOf(bias, i);
      }
    }
    SEG_SAM_UNROLL
    for (int group = 0; group < kGroups; ++group) {
      const int stage = nextStage();
      SEG_SAM_UNROLL
      for (int pair = 0; pair < 4; ++pair) {
        SEG_SAM_UNROLL
        for (int n = 0; n < kColumns; n += 2) {
          uint32 b[4];
          loadTransposed(b, all + (stage + placeOf(pair * 16 + lane % 16, n + lane / 16)));
          Float16::multiply(out[n], weights[group * 4 + pair], b[0], b[1]);
          Float16::multiply(out[n + 1], weights[group * 4 + pair], b[2], b[3]);
        }
      }
    }

    uint16* const target = a.out + prompt * a.positionCount * kWide;
    SEG_SAM_UNROLL
    for (int r = 0; r < 2; ++r) {
      float sum = 0.0f;
      SEG_SAM_UNROLL
      for (int n = 0; n < kColumns; ++n) sum += out[n][2 * r] + out[n][2 * r + 1];
      const float mean = laneSum<4>(sum) / kWide;
      float squares = 0.0f;
      SEG_SAM_UNROLL
      for (int n = 0; n < kColumns; ++n) {
        const float first = out[n][2 * r] - mean;
        const float second = out[n][2 * r + 1] - mean;
        squares += first * first + second * second;
      }
      const float scale = inverseRoot(laneSum<4>(squares) / kWide + a.epsilon);
      SEG_SAM_UNROLL
      for (int piece = 0; piece < kPieces; ++piece) {
        const Vector weight = vectorAt(a.normWeight + (piece * 4 + lane % 4) * 8);
        const Vector bias = vectorAt(a.normBias + (piece * 4 + lane % 4) * 8);
        Vector result;
        SEG_SAM_UNROLL
        for (int i = 0; i < 4; ++i) {
          const float first = (out[piece * 4 + i][2 * r] - mean) * scale;
          const float second = (out[piece * 4 + i][2 * r + 1] - mean) * scale;
          result.words[i] = Float16::pack(first * valueOf(weight, 2 * i) + valueOf(bias, 2 * i),
                                          second * valueOf(weight, 2 * i + 1) + valueOf(bias, 2 * i + 1));
        }
        *reinterpret_cast<Vector*>(target + chunkOf(r, piece)) = result;
      }
    }
  }
}

}  // namespace segsam::cuda
