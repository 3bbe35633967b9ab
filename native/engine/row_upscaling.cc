#include "engine/row_upscaling.h"

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

void expect(bool holds, const char* what) { TORCH_CHECK(holds, "upscale_rows: expected ", what); }

const float* valuesOf(const std::optional<at::Tensor>& tensor) {
  return tensor ? tensor->const_data_ptr<float>() : nullptr;
}

/// (B, F, H, W) to (B, H * W, F), one value after the other.
at::Tensor rowsOf(const at::Tensor& image) { return hostFloat(image.flatten(2).transpose(1, 2)); }

template <class T>
struct Step {
  int64_t side, depth, channels, featureCount;
  PackedMatrix<T> places;
  PackedMatrix<T> skip;
  /// That of the places, and of the skip, too.
  std::vector<float> bias;
  std::optional<at::Tensor> normWeight, normBias;
  float epsilon;
  /// (B, 4 * side * side, F)
  at::Tensor features;
  std::optional<at::Tensor> added;
  bool relu;

  Step(const RowUpscaling& step, int64_t side)
      : side(side),
        depth(step.weight.size(0)),
        channels(step.weight.size(1)),
        featureCount(step.features.size(1)),
        places(packPlaces<T>(step.weight)),
        epsilon(static_cast<float>(step.epsilon)),
        features(rowsOf(step.features)),
        relu(step.relu) {
    const at::Tensor ofFeatures = hostFloat(step.skipWeight.flatten(1).t());
    skip.pack(ofFeatures.const_data_ptr<float>(), featureCount, channels);
    const at::Tensor sum = hostFloat(step.bias + step.skipBias);
    bias.assign(sum.const_data_ptr<float>(), sum.const_data_ptr<float>() + channels);
    if (step.normWeight) normWeight = hostFloat(*step.normWeight);
    if (step.normBias) normBias = hostFloat(*step.normBias);
    if (step.added) added = hostFloat(*step.added);
  }
};

/// Memory of one thread, for one row of positions.
template <class T>
struct Scratch {
  std::vector<T> operands;
  std::vector<float> normed, product, skip;

  explicit Scratch(const Step<T>& step)
      : operands(step.side * std::max(step.depth, 4 * step.featureCount)),
        normed(step.side * step.depth),
        product(step.side * 4 * step.channels),
        skip(4 * step.side * step.channels) {}
};

/// What the image adds to two rows of the result, biases included: (4 * side, A).
template <class T>
void skipOf(const Step<T>& step, int64_t image, int64_t row, Scratch<T>& scratch) {
  const int64_t positions = 4 * step.side;
  const float* features =
      step.features.template const_data_ptr<float>() + (image * step.side + row) * positions * step.featureCount;
  const T* rows = operand<T>(features, positions * step.featureCount, scratch.operands);
  fillRows(step.bias.data(), positions, step.channels, scratch.skip.data(), step.channels);
  step.skip.multiply(rows, positions, step.featureCount, scratch.skip.data(), true);
}

/// @param x (side, C)
/// @param added to two rows of the result, or null
/// @param result two rows
template <class T>
void upscaleRow(const Step<T>& step, const float* x, const float* added, Scratch<T>& scratch, float* result) {
  const int64_t side = step.side;
  if (step.normWeight) {
    const RowNorm norm{valuesOf(step.normWeight), valuesOf(step.normBias), step.epsilon};
    normaliseRows(x, side, step.depth, norm, scratch.normed.data());
    geluValues(scratch.normed.data(), side * step.depth);
    x = scratch.normed.data();
  }
  const T* rows = operand<T>(x, side * step.depth, scratch.operands);
  float* product = scratch.product.data();
  step.places.multiply(rows, side, step.depth, product, false);
  const int64_t pair = 2 * step.channels;
  for (int64_t half = 0; half < 2; ++half) {
    const int64_t first = half * side * pair;
    for (int64_t i = 0; i < side; ++i) {
      addValues(product + (2 * i + half) * pair, scratch.skip.data() + first + i * pair, pair,
                result + first + i * pair);
    }
  }
  const int64_t count = 2 * side * pair;
  if (added != nullptr) addValues(result, added, count, result);
  if (step.relu) reluValues(result, count);
}

template <class T>
at::Tensor upscaleIn(const at::Tensor& x, int64_t side, const RowUpscaling& weights) {
  const Step<T> step(weights, side);
  const int64_t images = step.features.size(0);
  const int64_t perImage = x.size(0) / images;
  at::Tensor result = at::empty({x.size(0), 4 * side * side, step.channels}, x.options());
  at::parallel_for(0, images * side, 1, [&](int64_t begin, int64_t end) {
    const BrgemmContext context(kIsRounded<T>);
    Scratch<T> scratch(step);
    for (int64_t task = begin; task < end; ++task) {
      const int64_t image = task / side;
      const int64_t row = task % side;
      skipOf(step, image, row, scratch);
      for (int64_t prompt = image * perImage; prompt < (image + 1) * perImage; ++prompt) {
        const int64_t place = (prompt * side + row) * 4 * side * step.channels;
        upscaleRow(step, x.const_data_ptr<float>() + (prompt * side + row) * side * step.depth,
                   step.added ? valuesOf(step.added) + place : nullptr, scratch, result.data_ptr<float>() + place);
      }
    }
  });
  return result;
}

}  // namespace

at::Tensor upscaleRows(const at::Tensor& x, int64_t side, const RowUpscaling& step, bool rounded) {
  expect(x.dim() == 3 && x.numel() > 0 && x.size(1) == side * side, "an image (P, side * side, C)");
  const int64_t depth = x.size(2);
  expect(step.weight.dim() == 4 && step.weight.size(0) == depth && step.weight.size(2) == 2 && step.weight.size(3) == 2,
         "a convolution of the image's channels");
  const int64_t channels = step.weight.size(1);
  expect(step.bias.numel() == channels && step.skipBias.numel() == channels, "biases of its channels");
  expect(step.features.dim() == 4 && step.features.size(0) > 0 && x.size(0) % step.features.size(0) == 0 &&
             step.features.size(2) == 2 * side && step.features.size(3) == 2 * side,
         "features of the images at twice the side");
  expect(step.skipWeight.sizes() == at::IntArrayRef({channels, step.features.size(1), 1, 1}),
         "a convolution of the features");
  expect(step.normWeight.has_value() == step.normBias.has_value() &&
             (!step.normWeight || (step.normWeight->numel() == depth && step.normBias->numel() == depth)),
         "a norm of the image's channels, or none");
  expect(!step.added || step.added->sizes() == at::IntArrayRef({x.size(0), 4 * side * side, channels}),
         "what is added to have the result's shape");
  const bool canRound = depth % 2 == 0 && step.features.size(1) % 2 == 0 && multipliesPackedBf16();
  return rounded && canRound ? upscaleIn<uint16_t>(hostFloat(x), side, step)
                             : upscaleIn<float>(hostFloat(x), side, step);
}

}  // namespace segsam
