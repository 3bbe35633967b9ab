#pragma once

#include "cuda/arguments.h"
#include "cuda/warp.h"

namespace segsam::cuda {

/// Where a bilinear resize along an axis finds a position: between two positions of the source.
struct Between {
  int first;
  int second;
  /// Of the second.
  float weight;
};

/// Rounded step by step, as libtorch and the CPU's loops find it, so that the same pixels lie above the threshold.
/// @param scale positions of the source for one of the result
/// @param from positions of the source
SEG_SAM_DEVICE Between between(float scale, int position, int from) {
  const float exact = fmaxf(roundedProduct(scale, static_cast<float>(position) + 0.5f) - 0.5f, 0.0f);
  const int index = static_cast<int>(exact);
  const int last = from - 1;
  const int first = index < last ? index : last;
  const float weight = exact - static_cast<float>(first);
  return {first, first < last ? first + 1 : last, weight < 1.0f ? weight : 1.0f};
}

/// What a row or column of a mask is made of: two of the input, each of which is made of two of the logits.
struct Sources {
  int indices[4];
  float weights[4];
  /// Of these four: 2 where one of the input is all.
  int count;
};

SEG_SAM_DEVICE Sources sourcesOf(const MaskAxis& axis, int position, int side) {
  const Between outer = between(axis.coveredScale, position, axis.covered);
  const Between one = between(axis.logitScale, outer.first, side);
  const Between other = between(axis.logitScale, outer.second, side);
  const float share = 1.0f - outer.weight;
  return {{one.first, one.second, other.first, other.second},
          {share * (1.0f - one.weight), share * one.weight, outer.weight * (1.0f - other.weight),
           outer.weight * other.weight},
          outer.weight > 0.0f ? 4 : 2};
}

/// Masks of logits, a bit per pixel: resized bilinearly to the model's input, cropped to the part that the image
/// covers, resized bilinearly to the original size, compared with the threshold; segment-anything, `modeling/sam.py`
/// (postprocess_masks). One block: `kMaskWordsOfBlock` words by 256 threads. A warp makes 32 words, a pixel a lane at a
/// time.
SEG_SAM_DEVICE void writeMaskBits(const MaskBits& a) {
  constexpr int kWords = 32;
  constexpr int kWarps = kMaskWordsOfBlock / kWords;
  static_assert(kWarps * 32 == 256, "a warp makes its words alone");
  const int lane = threadIndex() % 32;
  const int64 blocksOfMask = (a.words + kMaskWordsOfBlock - 1) / kMaskWordsOfBlock;
  const int64 mask = blockX() / blocksOfMask;
  const int64 firstWord = blockX() % blocksOfMask * kMaskWordsOfBlock + threadIndex() / 32 * kWords;
  if (firstWord >= a.words) return;
  const int words = a.words - firstWord < kWords ? static_cast<int>(a.words - firstWord) : kWords;
  const float* const logits = a.logits + mask * a.side * a.side;

  // Unsigned, as they run past the sizes.
  const uint32 height = a.rows.size;
  const uint32 width = a.columns.size;
  const int64 firstPixel = firstWord * 32 + lane;
  uint32 y = static_cast<uint32>(firstPixel / width);
  uint32 x = static_cast<uint32>(firstPixel % width);
  const uint32 rowsOfStep = 32 / width;
  const uint32 columnsOfStep = 32 % width;
  Sources rows{};
  uint32 rowOfSources = height;
  uint32 own = 0;
  for (int i = 0; i < words; ++i) {
    bool isSet = false;
    if (y < height) {
      if (rowOfSources != y) {
        rows = sourcesOf(a.rows, static_cast<int>(y), a.side);
        rowOfSources = y;
      }
      const Sources columns = sourcesOf(a.columns, static_cast<int>(x), a.side);
      // Apart for each number of taps, so that loads need not wait for each other.
      const auto logitOf = [&](int taps) {
        float logit = 0.0f;
        SEG_SAM_UNROLL
        for (int row = 0; row < 4; ++row) {
          if (row > 1 && rows.count == 2) continue;
          const float* const source = logits + rows.indices[row] * a.side;
          float sum = 0.0f;
          SEG_SAM_UNROLL
          for (int tap = 0; tap < taps; ++tap) sum += columns.weights[tap] * source[columns.indices[tap]];
          logit += rows.weights[row] * sum;
        }
        return logit;
      };
      isSet = (columns.count == 2 ? logitOf(2) : logitOf(4)) > a.threshold;
    }
    const uint32 word = ballot(isSet);
    if (lane == i) own = word;
    x += columnsOfStep;
    y += rowsOfStep;
    if (x >= width) {
      x -= width;
      ++y;
    }
  }
  if (lane < words) a.bits[mask * a.words + firstWord + lane] = own;
}

}  // namespace segsam::cuda
