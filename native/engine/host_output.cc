#include <ATen/Parallel.h>

#include <algorithm>

#include "engine/decode_output.h"
#include "engine/mask_results.h"
#include "engine/transfer.h"
#include "ops/mask_bits.h"
#include "ops/upscale.h"

namespace segsam {

namespace {

/// Bits of so many rows are whole words.
constexpr int64_t kRowsOfBlock = kMaskPixelsOfWord;
constexpr int64_t kBlocksOfTask = 2;

/// (n, side, side) logits to masks of the original size (n, words).
void upscale(const float* logits, int64_t count, int64_t side, const Frame& frame, float threshold, uint32_t* masks) {
  const MaskUpscaler upscaler(side, frame);
  const int64_t words = maskWords(frame.width * frame.height);
  std::vector<MaskUpscaler::Part> parts(count);
  at::parallel_for(0, count, 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) parts[i] = upscaler.partOf(logits + i * side * side, threshold);
  });
  const int64_t blocks = at::divup(frame.height, kRowsOfBlock);
  // The blocks of all masks are counted, those of one mask after those of the other.
  at::parallel_for(0, count * blocks, kBlocksOfTask, [&](int64_t first, int64_t last) {
    for (int64_t i = first / blocks; i * blocks < last; ++i) {
      const int64_t begin = std::max(first - i * blocks, int64_t{0}) * kRowsOfBlock;
      const int64_t end = std::min(std::min(last - i * blocks, blocks) * kRowsOfBlock, frame.height);
      upscaler.writeBits(logits + i * side * side, parts[i], threshold, begin, end, masks + i * words);
    }
  });
}

}  // namespace

void writeOnHost(const ChunkOutput& output, const std::vector<DecodeRequest>& requests, const Frame& frame) {
  const int64_t side = output.logits.size(-1);
  int64_t begin = 0;
  for (const DecodeRequest& request : requests) {
    const DecodedViews& out = request.out;
    const int64_t count = request.prompts.count;
    download(ChunkOutput::wanted(output.logits, begin, request), out.logits);
    download(ChunkOutput::wanted(output.iou, begin, request), out.iou);
    upscale(out.logits, count * out.masksPerPrompt, side, frame, request.threshold, out.masks);
    if (output.isNamed()) {
      download(output.semanticLogits.narrow(0, begin, count), out.semanticLogits);
      download(output.classProbabilities.narrow(0, begin, count), out.classProbabilities);
      download(output.presence.narrow(0, begin, count), out.presence);
      upscale(out.semanticLogits, count, side, frame, request.threshold, out.semanticMasks);
    }
    writeMaskResults(request, frame.width * frame.height, output.isNamed());
    begin += count;
  }
}

}  // namespace segsam
