#include "engine/prompted_image.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <vector>

#include "engine/host_float.h"
#include "ops/tile_loops.h"

namespace segsam {

namespace {

/// Positions of a tile.
constexpr int64_t kTile = 64;

void expect(bool holds, const char* what) { TORCH_CHECK(holds, "prompted_image: expected ", what); }

}  // namespace

at::Tensor promptedImage(const at::Tensor& embedding, const at::Tensor& dense, int64_t prompts) {
  expect(embedding.dim() == 4 && dense.dim() == 4 && embedding.sizes().slice(1) == dense.sizes().slice(1) &&
             embedding.numel() > 0,
         "an embedding (B, C, H, W) and a dense one of its shape");
  expect(prompts % embedding.size(0) == 0 && (dense.size(0) == prompts || dense.size(0) == 1),
         "the prompts of B images");
  // One value a channel stays so.
  const bool isFlat = dense.stride(2) == 0 && dense.stride(3) == 0;
  const at::Tensor added = isFlat ? hostFloat(dense.select(3, 0).select(2, 0)) : hostFloat(dense);
  if (embedding.size(0) == 1 && embedding.scalar_type() == at::kFloat && embedding.device().is_cpu() &&
      embedding.is_contiguous(at::MemoryFormat::ChannelsLast)) {
    const at::Tensor ofPositions = isFlat ? added.unsqueeze(1) : added.flatten(2).transpose(1, 2);
    return (embedding.permute({0, 2, 3, 1}).flatten(1, 2) + ofPositions).contiguous();
  }
  const at::Tensor image = hostFloat(embedding);
  const int64_t channels = image.size(1);
  const int64_t positions = image.size(2) * image.size(3);
  const int64_t images = std::max(image.size(0) == 1 ? 1 : prompts, dense.size(0));
  const int64_t tiles = at::divup(positions, kTile);
  at::Tensor result = at::empty({images, positions, channels}, image.options());
  at::parallel_for(0, images * tiles, 1, [&](int64_t begin, int64_t end) {
    std::vector<float> sum(channels * kTile);
    for (int64_t task = begin; task < end; ++task) {
      const int64_t prompt = task / tiles;
      const int64_t first = task % tiles * kTile;
      const int64_t count = std::min(kTile, positions - first);
      const float* source =
          image.const_data_ptr<float>() + prompt * image.size(0) / images * channels * positions + first;
      const float* other = added.const_data_ptr<float>() +
                           (dense.size(0) == 1 ? 0 : prompt) * channels * (isFlat ? 1 : positions) +
                           (isFlat ? 0 : first);
      for (int64_t channel = 0; channel < channels; ++channel) {
        float* target = sum.data() + channel * count;
        if (isFlat) {
          addValue(source + channel * positions, other[channel], count, target);
        } else {
          addValues(source + channel * positions, other + channel * positions, count, target);
        }
      }
      transpose(sum.data(), channels, count, count, result.data_ptr<float>() + (prompt * positions + first) * channels);
    }
  });
  return result;
}

}  // namespace segsam
