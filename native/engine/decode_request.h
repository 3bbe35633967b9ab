#pragma once

#include <cstdint>

namespace segsam {

/// P prompts of the same shape, not owned.
struct PromptBatch {
  int64_t count;
  int64_t pointsPerPrompt;
  /// (P, N, 2): x, y in pixels of the original image.
  const float* points;
  /// (P, N)
  const int32_t* labels;
  /// (P, maskSize, maskSize) logits, or null.
  const float* masks;
};

/// Where a decode writes, not owned; shapes as in binding.d.ts with M = `masksPerPrompt`, masks as bits
/// (ops/mask_bits.h). Without classes nothing is written from `semanticMasks` to `presence`.
struct DecodedViews {
  int64_t masksPerPrompt;
  /// (P, M, words)
  uint32_t* masks = nullptr;
  float* logits = nullptr;
  float* iou = nullptr;
  /// (P, words)
  uint32_t* semanticMasks = nullptr;
  float* semanticLogits = nullptr;
  float* agreement = nullptr;
  float* classProbabilities = nullptr;
  float* presence = nullptr;
  /// (P, M, H, W): the masks once more, as bytes of 0 and 1. Null: not wanted.
  uint8_t* maskBytes = nullptr;
};

/// One caller's prompts.
struct DecodeRequest {
  PromptBatch prompts;
  float threshold;
  DecodedViews out;
};

}  // namespace segsam
