#pragma once

#include <ATen/ATen.h>

#include <vector>

#include "engine/decode_request.h"
#include "ops/frame.h"

namespace segsam {

/// What the decoders say of P prompts: float32 on the model's device.
struct ChunkOutput {
  /// (P, 4, side, side): of SAM's mask tokens, the first is for a single mask and the others for three.
  at::Tensor logits;
  /// (P, 4)
  at::Tensor iou;
  /// (P, side, side). Undefined, as what follows, where the prompts were decoded without classes.
  at::Tensor semanticLogits;
  /// (P, K + 1)
  at::Tensor classProbabilities;
  /// (P, K)
  at::Tensor presence;

  bool isNamed() const { return semanticLogits.defined(); }
  /// Of `values` (P, 4, ...) those that a request wants whose first prompt is `begin`: (count, masksPerPrompt, ...).
  static at::Tensor wanted(const at::Tensor& values, int64_t begin, const DecodeRequest& request) {
    const int64_t masks = request.out.masksPerPrompt;
    return values.narrow(0, begin, request.prompts.count).narrow(1, masks == 1 ? 0 : 1, masks);
  }
};

/// Writes the output of the requests' prompts, which follow each other, to their arrays: the masks are upscaled to the
/// original size on the host's threads.
void writeOnHost(const ChunkOutput& output, const std::vector<DecodeRequest>& requests, const Frame& frame);

/// The same on the device of the output: the masks are upscaled there, and copied to the host as bits with all else.
void writeOnDevice(const ChunkOutput& output, const std::vector<DecodeRequest>& requests, const Frame& frame);

}  // namespace segsam
