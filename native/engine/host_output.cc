#include <ATen/Parallel.h>

#include <algorithm>

#include "engine/decode_output.h"
#include "engine/transfer.h"
#include "ops/mask.h"
#include "ops/upscale.h"

namespace segsam {

namespace {

constexpr int64_t kRowsPerTask = 64;

/// (n, side, side) logits to (n, H, W) masks.
/// @returns the rows of each outside of which it is 0
std::vector<Range> upscale(const float* logits, int64_t count, int64_t side, const Frame& frame, float threshold,
                           uint8_t* masks) {
  const MaskUpscaler upscaler(side, frame);
  std::vector<MaskUpscaler::Part> parts(count);
  std::vector<Range> rows(count);
  at::parallel_for(0, count, 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      parts[i] = upscaler.partOf(logits + i * side * side, threshold);
      rows[i] = parts[i].rows;
    }
  });
  // The rows of all masks are counted, one mask below the other.
  at::parallel_for(0, count * frame.height, kRowsPerTask, [&](int64_t first, int64_t last) {
    for (int64_t i = first / frame.height; i * frame.height < last; ++i) {
      const int64_t above = i * frame.height;
      upscaler.writeRows(logits + i * side * side, parts[i], threshold, std::max(first - above, int64_t{0}),
                         std::min(last - above, frame.height), masks + above * frame.width);
    }
  });
  return rows;
}

/// The rows of both.
Range hull(Range a, Range b) {
  if (a.size() == 0) return b;
  if (b.size() == 0) return a;
  return {std::min(a.begin, b.begin), std::max(a.end, b.end)};
}

/// How far the masks agree with the semantic mask of their prompt.
/// @param maskRows outside of which each mask is 0, as with `semanticRows`
void writeAgreement(const DecodeRequest& request, const Frame& frame, const std::vector<Range>& maskRows,
                    const std::vector<Range>& semanticRows) {
  const DecodedViews& out = request.out;
  const int64_t pixels = frame.width * frame.height;
  for (int64_t i = 0; i < request.prompts.count * out.masksPerPrompt; ++i) {
    const int64_t prompt = i / out.masksPerPrompt;
    const Range rows = hull(maskRows[i], semanticRows[prompt]);
    const int64_t first = rows.begin * frame.width;
    out.agreement[i] = static_cast<float>(maskIou(
        out.masks + i * pixels + first, out.semanticMasks + prompt * pixels + first, rows.size() * frame.width));
  }
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
    const std::vector<Range> maskRows =
        upscale(out.logits, count * out.masksPerPrompt, side, frame, request.threshold, out.masks);
    if (output.isNamed()) {
      download(output.semanticLogits.narrow(0, begin, count), out.semanticLogits);
      download(output.classProbabilities.narrow(0, begin, count), out.classProbabilities);
      download(output.presence.narrow(0, begin, count), out.presence);
      const std::vector<Range> semanticRows =
          upscale(out.semanticLogits, count, side, frame, request.threshold, out.semanticMasks);
      writeAgreement(request, frame, maskRows, semanticRows);
    }
    begin += count;
  }
}

}  // namespace segsam
