#include "engine/mask_results.h"

#include <ATen/Parallel.h>

#include <algorithm>

#include "ops/mask_bits.h"

namespace segsam {

namespace {

/// What one thread writes or reads at a time. Of bytes of masks, whole words.
constexpr int64_t kBytesOfTask = int64_t{128} << 10;
static_assert(kBytesOfTask % kMaskPixelsOfWord == 0);

/// IoU of masks (P, M, words) with semantic masks (P, words): (P, M).
void writeAgreement(const DecodedViews& out, int64_t masks, int64_t pixels) {
  const int64_t words = maskWords(pixels);
  const int64_t masksOfTask = std::max<int64_t>(1, kBytesOfTask / (words * static_cast<int64_t>(sizeof(uint32_t))));
  at::parallel_for(0, masks, masksOfTask, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const uint32_t* semantic = out.semanticMasks + i / out.masksPerPrompt * words;
      out.agreement[i] = static_cast<float>(bitsIou(out.masks + i * words, semantic, words));
    }
  });
}

/// (n, words) to (n, pixels).
void expandMasks(const uint32_t* bits, int64_t count, int64_t pixels, uint8_t* target) {
  const int64_t tasksOfMask = at::divup(pixels, kBytesOfTask);
  at::parallel_for(0, count * tasksOfMask, 1, [&](int64_t begin, int64_t end) {
    for (int64_t task = begin; task < end; ++task) {
      const int64_t mask = task / tasksOfMask;
      const int64_t first = task % tasksOfMask * kBytesOfTask;
      expandBits(bits + mask * maskWords(pixels) + first / kMaskPixelsOfWord, std::min(kBytesOfTask, pixels - first),
                 target + mask * pixels + first);
    }
  });
}

}  // namespace

void writeMaskResults(const DecodeRequest& request, int64_t pixels, bool isNamed) {
  const DecodedViews& out = request.out;
  const int64_t masks = request.prompts.count * out.masksPerPrompt;
  if (isNamed) writeAgreement(out, masks, pixels);
  if (out.maskBytes != nullptr) expandMasks(out.masks, masks, pixels, out.maskBytes);
}

}  // namespace segsam
