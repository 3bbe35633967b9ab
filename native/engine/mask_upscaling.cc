#include "engine/mask_upscaling.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <vector>

#include "engine/brgemm_context.h"
#include "engine/host_float.h"
#include "engine/packed_matrix.h"
#include "engine/transposed_convolution.h"
#include "ops/tile_loops.h"

namespace segsam {

namespace {

/// Positions of the image in a tile.
constexpr int64_t kTile = 64;
/// Of these, those whose pixels are computed at a time: they stay in the first-level cache.
constexpr int64_t kBlock = 16;

void expect(bool holds, const char* what) { TORCH_CHECK(holds, "upscale_masks: expected ", what); }

template <class T>
struct Upscaling {
  PackedMatrix<T> first, second;
  /// Repeated for the four places.
  at::Tensor bias1, bias2;
  at::Tensor normWeight, normBias;
  float epsilon;
  int64_t width, middle, channels;
};

/// Memory of one thread.
template <class T>
struct Scratch {
  std::vector<T> rows;
  std::vector<float> first, second, logits;
};

/// `count` positions to logits (count, 2, 2, 2, 2, K) in the scratch.
template <class T, class Value>
void upscaleTile(const Value* image, int64_t count, const Upscaling<T>& upscaling, const PackedMatrix<float>& masks,
                 Scratch<T>& scratch) {
  const T* rows = operand<T>(image, count * upscaling.width, scratch.rows);
  float* first = scratch.first.data();
  fillRows(upscaling.bias1.template const_data_ptr<float>(), count, 4 * upscaling.middle, first, 4 * upscaling.middle);
  upscaling.first.multiply(rows, count, upscaling.width, first, true);
  const RowNorm norm{upscaling.normWeight.template const_data_ptr<float>(),
                     upscaling.normBias.template const_data_ptr<float>(), upscaling.epsilon};
  normaliseRows(first, count * 4, upscaling.middle, norm, first);
  geluValues(first, count * 4 * upscaling.middle);
  const T* middle = operand<T>(first, count * 4 * upscaling.middle, scratch.rows);
  float* second = scratch.second.data();
  for (int64_t position = 0; position < count; position += kBlock) {
    const int64_t inBlock = std::min(kBlock, count - position);
    fillRows(upscaling.bias2.template const_data_ptr<float>(), inBlock * 4, 4 * upscaling.channels, second,
             4 * upscaling.channels);
    upscaling.second.multiply(middle + position * 4 * upscaling.middle, inBlock * 4, upscaling.middle, second, true);
    geluValues(second, inBlock * 16 * upscaling.channels);
    masks.multiply(second, inBlock * 16, upscaling.channels, scratch.logits.data() + position * 16 * masks.columns(),
                   false);
  }
}

/// Logits of a tile to their places in the masks, K x (4 * side) x (4 * side).
void scatter(const float* logits, int64_t first, int64_t count, int64_t side, int64_t masks, float* target) {
  const int64_t width = 4 * side;
  for (int64_t i = 0; i < count; ++i) {
    float* const corner = target + ((first + i) / side * width + (first + i) % side) * 4;
    for (int64_t row = 0; row < 4; ++row) {
      // Bits of a place: row and column of the first convolution, row and column of the second.
      const float* const places = logits + (i * 16 + (row >> 1) * 8 + (row & 1) * 2) * masks;
      for (int64_t mask = 0; mask < masks; ++mask) {
        float* const pixels = corner + (mask * width + row) * width;
        pixels[0] = places[mask];
        pixels[1] = places[masks + mask];
        pixels[2] = places[4 * masks + mask];
        pixels[3] = places[5 * masks + mask];
      }
    }
  }
}

template <class T, class Value>
at::Tensor upscaleIn(const at::Tensor& image, int64_t side, const UpscalingWeights& weights, const at::Tensor& masks) {
  const Upscaling<T> upscaling{packPlaces<T>(weights.weight1),
                               packPlaces<T>(weights.weight2),
                               hostFloat(weights.bias1).repeat({4}),
                               hostFloat(weights.bias2).repeat({4}),
                               hostFloat(weights.normWeight),
                               hostFloat(weights.normBias),
                               static_cast<float>(weights.epsilon),
                               image.size(2),
                               weights.weight1.size(1),
                               weights.weight2.size(1)};
  const int64_t prompts = image.size(0);
  const int64_t positions = image.size(1);
  const int64_t count = masks.size(1);
  const at::Tensor vectors = hostFloat(masks.transpose(1, 2));
  std::vector<PackedMatrix<float>> packed;
  for (int64_t prompt = 0; prompt < prompts; ++prompt) {
    packed.emplace_back(vectors.const_data_ptr<float>() + prompt * vectors.stride(0), upscaling.channels, count);
  }
  at::Tensor result = at::empty({prompts, count, 4 * side, 4 * side}, masks.options());
  const int64_t tiles = at::divup(positions, kTile);
  at::parallel_for(0, prompts * tiles, 1, [&](int64_t begin, int64_t end) {
    const BrgemmContext context(kIsRounded<T>);
    Scratch<T> scratch{std::vector<T>(kIsRounded<T> ? kTile * std::max(upscaling.width, 4 * upscaling.middle) : 0),
                       std::vector<float>(kTile * 4 * upscaling.middle),
                       std::vector<float>(kBlock * 16 * upscaling.channels), std::vector<float>(kTile * 16 * count)};
    for (int64_t task = begin; task < end; ++task) {
      const int64_t prompt = task / tiles;
      const int64_t first = task % tiles * kTile;
      const int64_t inTile = std::min(kTile, positions - first);
      upscaleTile<T>(static_cast<const Value*>(image.const_data_ptr()) + (prompt * positions + first) * upscaling.width,
                     inTile, upscaling, packed[prompt], scratch);
      scatter(scratch.logits.data(), first, inTile, side, count, result.data_ptr<float>() + prompt * result.stride(0));
    }
  });
  return result;
}

}  // namespace

at::Tensor upscaleMasks(const at::Tensor& image, int64_t side, const UpscalingWeights& weights, const at::Tensor& masks,
                        bool rounded) {
  expect(image.dim() == 3 && image.numel() > 0 && image.size(1) == side * side, "an image (P, side * side, C)");
  const auto isConvolution = [](const at::Tensor& weight, const at::Tensor& bias, int64_t channels) {
    return weight.dim() == 4 && weight.size(0) == channels && weight.size(2) == 2 && weight.size(3) == 2 &&
           bias.dim() == 1 && bias.size(0) == weight.size(1);
  };
  expect(isConvolution(weights.weight1, weights.bias1, image.size(2)), "a first convolution of the image's channels");
  const int64_t middle = weights.weight1.size(1);
  expect(isConvolution(weights.weight2, weights.bias2, middle), "a second convolution of the first one's channels");
  expect(weights.normWeight.numel() == middle && weights.normBias.numel() == middle, "a norm between them");
  expect(masks.dim() == 3 && masks.size(0) == image.size(0) && masks.size(1) > 0 &&
             masks.size(2) == weights.weight2.size(1),
         "mask vectors (P, K, B)");
  const bool canRound = image.size(2) % 2 == 0 && middle % 2 == 0 && multipliesPackedBf16();
  if (isHostBfloat16(image)) {
    if (rounded && canRound) return upscaleIn<uint16_t, uint16_t>(image.contiguous(), side, weights, masks);
    return upscaleIn<float, float>(image.to(at::kFloat).contiguous(), side, weights, masks);
  }
  const auto upscale = rounded && canRound ? upscaleIn<uint16_t, float> : upscaleIn<float, float>;
  return upscale(hostFloat(image), side, weights, masks);
}

}  // namespace segsam
