/// The kernels of native/cuda, run on the CPU, against libtorch.

#include <ATen/ATen.h>

#include <cmath>
#include <utility>
#include <vector>

#include "check.h"
#include "emulated_grid.h"
#include "ops/frame.h"
#include "ops/mask_bits.h"

#include "cuda/grid_attention.h"
#include "cuda/mask_bits.h"
#include "cuda/row_norm.h"

using namespace segsam::cuda;

namespace {

template <class T>
constexpr at::ScalarType kType = at::kBFloat16;
template <>
constexpr at::ScalarType kType<Float16> = at::kHalf;

/// Attention within windows as models/seg_sam/image_encoder.py has it, in float64.
at::Tensor attended(const at::Tensor& qkv, const at::Tensor& bias, const at::Tensor& tableH, const at::Tensor& tableW,
                    int64_t window, double scale) {
  const int64_t batch = qkv.size(0);
  const int64_t grid = qkv.size(1);
  const int64_t heads = qkv.size(4);
  const int64_t perRow = (grid + window - 1) / window;
  at::Tensor padded = bias.expand({batch, perRow * window, perRow * window, 3, heads, 64}).clone();
  padded.narrow(1, 0, grid).narrow(2, 0, grid).copy_(qkv);
  // (3, windows, heads, window, window, 64)
  const at::Tensor parts = padded.reshape({batch, perRow, window, perRow, window, 3, heads, 64})
                               .permute({5, 0, 1, 3, 6, 2, 4, 7})
                               .reshape({3, batch * perRow * perRow, heads, window, window, 64});
  const at::Tensor index = at::arange(window).unsqueeze(1) - at::arange(window).unsqueeze(0) + (window - 1);
  const at::Tensor ofRows = at::einsum("bnhwc,hkc->bnhwk", {parts[0], tableH.index({index})});
  const at::Tensor ofColumns = at::einsum("bnhwc,wkc->bnhwk", {parts[0], tableW.index({index})});
  const at::Tensor positions = (ofRows.unsqueeze(-1) + ofColumns.unsqueeze(-2)).flatten(4).flatten(2, 3);
  const auto flat = [&](int part) { return parts[part].flatten(2, 3); };
  const at::Tensor scores = flat(0).matmul(flat(1).transpose(2, 3)) * scale + positions;
  return scores.softmax(-1)
      .matmul(flat(2))
      .reshape({batch, perRow, perRow, heads, window, window, 64})
      .permute({0, 1, 4, 2, 5, 3, 6})
      .reshape({batch, perRow * window, perRow * window, heads, 64})
      .narrow(1, 0, grid)
      .narrow(2, 0, grid);
}

/// @param spread of the values; the scores' grows with its square
template <class T, int Slots, int Tiles = 2, int Step = 32>
double errorOfAttention(int64_t batch, int64_t grid, int64_t window, int64_t heads, double spread = 1.5) {
  at::manual_seed(1);
  const at::Tensor qkv = at::randn({batch, grid, grid, 3, heads, 64}).mul(spread).to(kType<T>);
  const at::Tensor bias = at::randn({3, heads, 64}).to(kType<T>);
  const at::Tensor tableH = at::randn({2 * window - 1, 64}).mul(0.2).to(kType<T>);
  const at::Tensor tableW = at::randn({2 * window - 1, 64}).mul(0.2).to(kType<T>);
  const at::Tensor out = at::full({batch, grid, grid, heads, 64}, NAN, kType<T>);
  const float scale = 0.125f;
  const GridAttention arguments = {
      halves(qkv), halves(bias),           halves(tableH),           halves(tableW),
      halves(out), static_cast<int>(grid), static_cast<int>(window), static_cast<int>(heads),
      scale};
  const int64_t perRow = (grid + window - 1) / window;
  const std::array<int, 3> blocks = {static_cast<int>((window * Slots + 127) / 128), static_cast<int>(heads),
                                     static_cast<int>(batch * perRow * perRow)};
  runGrid(blocks, 256 / Tiles, gridAttentionBytes(Slots),
          [&](uint16* shared) { attendGrid<T, Slots, Tiles, Step>(arguments, shared); });
  const auto wide = [](const at::Tensor& tensor) { return tensor.to(at::kDouble); };
  return relativeError(out, attended(wide(qkv), wide(bias), wide(tableH), wide(tableW), window, scale));
}

template <class T, int Lanes>
double errorOfNorm(int64_t rows, int64_t width, bool gelu) {
  at::manual_seed(2);
  const at::Tensor x = (at::randn({rows, width}) * 2 + 1).to(kType<T>);
  const at::Tensor weight = at::randn({width});
  const at::Tensor bias = at::randn({width});
  const at::Tensor out = at::full({rows, width}, NAN, kType<T>);
  const RowNorm arguments = {
      halves(x), weight.data_ptr<float>(), bias.data_ptr<float>(), halves(out), rows, static_cast<int>(width), 1e-6f,
      gelu};
  constexpr int kRows = 256 / Lanes;
  runGrid({static_cast<int>((rows + kRows - 1) / kRows), 1, 1}, 256, [&] { normRows<T, Lanes>(arguments); });
  const at::Tensor normed =
      at::layer_norm(x.to(at::kDouble), {width}, weight.to(at::kDouble), bias.to(at::kDouble), 1e-6);
  return relativeError(out, gelu ? at::gelu(normed) : normed);
}

MaskAxis maskAxis(int64_t size, int64_t covered, int64_t input, int64_t side) {
  return {static_cast<int>(size), static_cast<int>(covered), static_cast<float>(covered) / static_cast<float>(size),
          static_cast<float>(side) / static_cast<float>(input)};
}

/// (n, side, side) logits to (n, H, W), by libtorch.
at::Tensor upscaled(const at::Tensor& logits, const segsam::Frame& frame) {
  const at::Tensor covered = at::upsample_bilinear2d(logits.unsqueeze(1), {frame.side, frame.side}, false)
                                 .narrow(2, 0, frame.resizedHeight)
                                 .narrow(3, 0, frame.resizedWidth)
                                 .contiguous();
  return at::upsample_bilinear2d(covered, {frame.height, frame.width}, false).squeeze(1);
}

/// (n, H, W) masks of 0 and 1 of the kernel's bits; those beyond the last pixel must be 0.
at::Tensor masksOfBits(const at::Tensor& logits, const segsam::Frame& frame, float threshold) {
  const int64_t count = logits.size(0);
  const int64_t side = logits.size(1);
  const int64_t pixels = frame.width * frame.height;
  const int64_t words = (pixels + 31) / 32;
  std::vector<uint32_t> bits(count * words, 0xdeadbeefU);
  const MaskBits arguments = {logits.data_ptr<float>(),
                              bits.data(),
                              words,
                              maskAxis(frame.height, frame.resizedHeight, frame.side, side),
                              maskAxis(frame.width, frame.resizedWidth, frame.side, side),
                              static_cast<int>(side),
                              threshold};
  const int64_t blocksOfMask = (words + kMaskWordsOfBlock - 1) / kMaskWordsOfBlock;
  runGrid({static_cast<int>(count * blocksOfMask), 1, 1}, 256, [&] { writeMaskBits(arguments); });
  at::Tensor masks = at::full({count, frame.height, frame.width}, 9, at::kByte);
  for (int64_t i = 0; i < count; ++i) {
    segsam::expandBits(bits.data() + i * words, pixels, masks[i].data_ptr<uint8_t>());
    if (pixels % 32 != 0) EXPECT_EQUAL(bits[(i + 1) * words - 1] >> pixels % 32, 0U);
  }
  return masks;
}

}  // namespace

TEST("attention of a grid on CUDA is that of the formula") {
  const double window = errorOfAttention<BFloat16, 16>(1, 20, 14, 2);
  EXPECT_NEAR(window, 0, 0.01);
  EXPECT_NEAR((errorOfAttention<Float16, 16>(2, 16, 16, 1)), 0, 0.002);
  EXPECT_NEAR((errorOfAttention<Float16, 16>(1, 9, 5, 1)), 0, 0.002);
  EXPECT_NEAR((errorOfAttention<Float16, 32, 2, 64>(1, 32, 32, 1)), 0, 0.002);
  EXPECT_NEAR((errorOfAttention<BFloat16, 64>(1, 33, 33, 1)), 0, 0.01);
  // Scores of up to hundreds, in which the running maxima grow often.
  EXPECT_NEAR((errorOfAttention<Float16, 16>(1, 14, 14, 1, 8)), 0, 0.002);
  EXPECT_NEAR((errorOfAttention<BFloat16, 64>(1, 33, 33, 1, 4)), 0, 0.01);
  EXPECT_NEAR((errorOfAttention<Float16, 64, 2, 64>(1, 33, 33, 1, 4)), 0, 0.002);
  EXPECT_NEAR((errorOfAttention<Float16, 16, 2, 64>(1, 14, 14, 1, 5)), 0, 0.002);
  EXPECT_NEAR((errorOfAttention<Float16, 64, 1, 64>(1, 33, 33, 1, 4)), 0, 0.002);
  EXPECT_NEAR((errorOfAttention<Float16, 16, 1, 32>(1, 20, 14, 1, 5)), 0, 0.002);
}

TEST("layer norm of rows on CUDA is that of libtorch") {
  EXPECT_NEAR((errorOfNorm<BFloat16, 32>(19, 768, false)), 0, 0.004);
  EXPECT_NEAR((errorOfNorm<Float16, 32>(8, 1280, false)), 0, 0.0005);
  EXPECT_NEAR((errorOfNorm<Float16, 8>(35, 64, true)), 0, 0.0005);
  EXPECT_NEAR((errorOfNorm<Float16, 8>(3, 192, false)), 0, 0.0005);
}

TEST("bits of masks on CUDA are those of libtorch's resizes") {
  at::manual_seed(3);
  for (const auto& [width, height] :
       std::vector<std::pair<int64_t, int64_t>>{{64, 64}, {40, 30}, {33, 100}, {150, 97}, {1, 1}, {1, 300}, {500, 2}}) {
    for (const auto mode : {segsam::ResizeMode::kLongest, segsam::ResizeMode::kStretch}) {
      // Logits smaller than the input, and larger.
      for (const int64_t side : {16, 80}) {
        const segsam::Frame frame = segsam::Frame::of(width, height, 64, mode);
        const at::Tensor logits = at::randn({2, side, side});
        const at::Tensor expected = upscaled(logits, frame);
        for (const float threshold : {0.0f, -0.7f}) {
          const at::Tensor masks = masksOfBits(logits, frame, threshold);
          // In single precision a logit this close to the threshold may fall on either side.
          const at::Tensor isClear = (expected - threshold).abs().gt(1e-5);
          EXPECT(isClear.to(at::kFloat).mean().item<float>() > 0.99f);
          EXPECT(at::equal(masks * isClear, expected.gt(threshold) * isClear));
        }
      }
    }
  }
}
