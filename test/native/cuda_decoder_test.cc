/// The decoder's kernels of native/cuda, run on the CPU, against libtorch.

#include <ATen/ATen.h>

#include <cmath>
#include <vector>

#include "check.h"
#include "emulated_grid.h"

#include "cuda/image_attention.h"
#include "cuda/mask_upscaling.h"
#include "cuda/token_attention.h"
#include "cuda/token_rows.h"
#include "engine/token_rows.h"

using namespace segsam::cuda;

namespace {

constexpr int64_t kWidth = 256;
constexpr int64_t kHeads = 8;

at::Tensor randomHalves(at::IntArrayRef sizes, double scale) { return at::randn(sizes).mul(scale).to(at::kHalf); }

at::Tensor wide(const at::Tensor& tensor) { return tensor.to(at::kDouble); }

double errorOfImageAttention(int64_t prompts, int64_t images, int64_t rows, int64_t length, int64_t parts) {
  at::manual_seed(3);
  const at::Tensor queries = randomHalves({prompts, rows, kWidth}, 0.2);
  const at::Tensor image = randomHalves({images, length, kWidth}, 1);
  const at::Tensor positions = randomHalves({length, kWidth}, 0.5);
  const at::Tensor sums = at::full({prompts, parts, rows, kWidth}, NAN);
  const at::Tensor scales = at::full({prompts, parts, rows, 2}, NAN);
  const at::Tensor out = at::full({prompts, rows, kWidth}, NAN, at::kHalf);
  const ImageAttention arguments = {halves(queries),
                                    halves(image),
                                    images == 1 ? 0 : length * kWidth,
                                    halves(positions),
                                    sums.data_ptr<float>(),
                                    scales.data_ptr<float>(),
                                    static_cast<int>(rows),
                                    static_cast<int>(length),
                                    static_cast<int>(parts)};
  runGrid({static_cast<int>(parts), static_cast<int>((rows + 63) / 64), static_cast<int>(prompts)}, 128,
          imageAttentionBytes(), [&](uint16* shared) { attendImage(arguments, shared); });
  const JoinedParts joined = {sums.data_ptr<float>(), scales.data_ptr<float>(), halves(out),
                              prompts * rows,         static_cast<int>(rows),   static_cast<int>(parts)};
  runGrid({static_cast<int>((prompts * rows + 3) / 4), 1, 1}, 128, [&] { joinParts(joined); });
  const at::Tensor scores = wide(queries).matmul((wide(image) + wide(positions)).transpose(1, 2));
  return relativeError(out, scores.softmax(-1).matmul(wide(image)));
}

template <int Tokens>
double errorOfTokenAttention(int64_t prompts, int64_t images, int64_t tokens, int64_t length, int64_t tiles) {
  at::manual_seed(4);
  const int64_t rows = tokens * kHeads;
  const at::Tensor image = randomHalves({images, length, kWidth}, 1);
  const at::Tensor positions = randomHalves({length, kWidth}, 0.5);
  const at::Tensor keys = randomHalves({prompts, rows, kWidth}, 0.1);
  const at::Tensor shifts = randomHalves({prompts, rows}, 1);
  const at::Tensor values = randomHalves({prompts, rows, kWidth}, 0.5);
  const at::Tensor bias = randomHalves({kWidth}, 1);
  const at::Tensor weight = randomHalves({kWidth}, 1);
  const at::Tensor shift = randomHalves({kWidth}, 1);
  const at::Tensor out = at::full({prompts, length, kWidth}, NAN, at::kHalf);
  at::Tensor order = at::empty({kWidth}, at::kLong);
  for (int i = 0; i < kWidth; ++i) order.data_ptr<int64_t>()[i] = channelOf(i);
  const at::Tensor ordered = values.index_select(2, order);
  const TokenAttention arguments = {halves(image),
                                    images == 1 ? 0 : length * kWidth,
                                    halves(positions),
                                    halves(keys),
                                    halves(shifts),
                                    halves(ordered),
                                    halves(bias),
                                    halves(weight),
                                    halves(shift),
                                    halves(out),
                                    static_cast<int>(tokens),
                                    static_cast<int>(length),
                                    static_cast<int>(tiles),
                                    1e-5f};
  const int64_t positionsOfBlock = tiles * 64;
  runGrid({static_cast<int>((length + positionsOfBlock - 1) / positionsOfBlock), static_cast<int>(prompts), 1}, 128,
          tokenAttentionBytes(), [&](uint16* shared) { attendTokens<Tokens>(arguments, shared); });
  const at::Tensor scores =
      (wide(image) + wide(positions)).matmul(wide(keys).transpose(1, 2)) + wide(shifts).unsqueeze(1);
  const at::Tensor weights = scores.reshape({prompts, length, tokens, kHeads}).softmax(2).flatten(2);
  const at::Tensor sums = wide(image) + wide(bias) + weights.matmul(wide(values));
  return relativeError(out, at::layer_norm(sums, {kWidth}, wide(weight), wide(shift), 1e-5));
}

double errorOfMaskUpscaling(int64_t prompts, int64_t side, int64_t masks, int64_t blocks) {
  at::manual_seed(5);
  const at::Tensor image = randomHalves({prompts, side * side, kWidth}, 1);
  const at::Tensor weight1 = randomHalves({kWidth, 64, 2, 2}, 0.06);
  const at::Tensor bias1 = randomHalves({64}, 0.5);
  const at::Tensor normWeight = randomHalves({64}, 1);
  const at::Tensor normBias = randomHalves({64}, 1);
  const at::Tensor weight2 = randomHalves({64, 32, 2, 2}, 0.12);
  const at::Tensor bias2 = randomHalves({32}, 0.5);
  const at::Tensor vectors = randomHalves({prompts, masks, 32}, 1);
  const at::Tensor out = at::full({prompts, masks, 4 * side, 4 * side}, NAN);
  const at::Tensor laid1 = weight1.permute({2, 3, 1, 0}).contiguous();
  const at::Tensor laid2 = weight2.permute({2, 3, 1, 0}).contiguous();
  const MaskUpscaling arguments = {halves(image),
                                   halves(laid1),
                                   halves(bias1),
                                   halves(normWeight),
                                   halves(normBias),
                                   halves(laid2),
                                   halves(bias2),
                                   halves(vectors),
                                   out.data_ptr<float>(),
                                   static_cast<int>(side),
                                   static_cast<int>(masks),
                                   static_cast<int>(prompts * side * side / 128),
                                   static_cast<int>(blocks),
                                   1e-6f};
  runGrid({static_cast<int>(blocks), 1, 1}, 256, maskUpscalingBytes(),
          [&](uint16* shared) { upscaleMasks(arguments, shared); });
  const at::Tensor grid = wide(image).transpose(1, 2).reshape({prompts, kWidth, side, side});
  const at::Tensor first = at::conv_transpose2d(grid, wide(weight1), wide(bias1), 2);
  const at::Tensor normed =
      at::layer_norm(first.permute({0, 2, 3, 1}), {64}, wide(normWeight), wide(normBias), 1e-6).permute({0, 3, 1, 2});
  const at::Tensor second = at::gelu(at::conv_transpose2d(at::gelu(normed), wide(weight2), wide(bias2), 2));
  return relativeError(out, wide(vectors).matmul(second.flatten(2)).reshape(out.sizes()));
}

double errorOfTokenNorm(bool isSum, bool isPositioned) {
  at::manual_seed(7);
  constexpr int64_t kRows = 6;
  const at::Tensor x = randomHalves({1, kRows, kWidth}, 2);
  const at::Tensor added = randomHalves({1, kRows, kWidth}, 1);
  const at::Tensor weight = randomHalves({kWidth}, 1);
  const at::Tensor bias = randomHalves({kWidth}, 1);
  const at::Tensor positions = randomHalves({1, kRows, kWidth}, 1);
  const at::Tensor out = at::full({1, kRows, kWidth}, NAN, at::kHalf);
  const at::Tensor positioned = at::full({1, kRows, kWidth}, isPositioned ? NAN : 0.0, at::kHalf);
  const TokenNorm arguments = {halves(x),
                               isSum ? halves(added) : nullptr,
                               halves(weight),
                               halves(bias),
                               isPositioned ? halves(positions) : nullptr,
                               halves(out),
                               halves(positioned),
                               kRows,
                               1e-5f};
  runGrid({(kRows + 3) / 4, 1, 1}, 128, [&] { normTokens(arguments); });
  const auto optional = [](bool isThere, const at::Tensor& tensor) {
    return isThere ? std::optional(wide(tensor)) : std::nullopt;
  };
  const auto [expected, sum] = segsam::normTokens(wide(x), optional(isSum, added), wide(weight), wide(bias), 1e-5,
                                                  optional(isPositioned, positions));
  return relativeError(out, expected) + (isPositioned ? relativeError(positioned, sum) : 0.0);
}

}  // namespace

TEST("tokens are normed on CUDA as by libtorch") {
  EXPECT_NEAR(errorOfTokenNorm(true, true), 0, 0.001);
  EXPECT_NEAR(errorOfTokenNorm(false, true), 0, 0.001);
  EXPECT_NEAR(errorOfTokenNorm(true, false), 0, 0.0005);
}

TEST("points become tokens on CUDA as by libtorch") {
  at::manual_seed(8);
  const at::Tensor points = at::rand({2, 3, 2}) * 1024;
  const at::Tensor labels = at::tensor({0, 1, -1, 2, 3, -1}, at::kLong).view({2, 3});
  const at::Tensor matrix = at::randn({2, 64});
  const at::Tensor table = at::randn({5, 128});
  const at::Tensor out = at::full({2, 3, 128}, NAN);
  const PointTokens arguments = {points.data_ptr<float>(),
                                 reinterpret_cast<const int64*>(labels.data_ptr<int64_t>()),
                                 matrix.data_ptr<float>(),
                                 table.data_ptr<float>(),
                                 out.data_ptr<float>(),
                                 1024.0f,
                                 64};
  runGrid({6, 1, 1}, 128, [&] { embedPoints(arguments); });
  EXPECT_NEAR(relativeError(out, segsam::embedPoints(points, labels, matrix, table, 1024).to(at::kDouble)), 0, 1e-5);
}

TEST("the tokens' attention to the image on CUDA is that of the formula") {
  EXPECT_NEAR(errorOfImageAttention(2, 1, 56, 256, 3), 0, 0.001);
  EXPECT_NEAR(errorOfImageAttention(2, 2, 72, 96, 1), 0, 0.001);
  EXPECT_NEAR(errorOfImageAttention(1, 1, 8, 64, 2), 0, 0.001);
}

TEST("the image's attention to the tokens on CUDA is that of the formula") {
  EXPECT_NEAR((errorOfTokenAttention<8>(2, 1, 7, 192, 2)), 0, 0.001);
  EXPECT_NEAR((errorOfTokenAttention<8>(2, 2, 8, 64, 1)), 0, 0.001);
  EXPECT_NEAR((errorOfTokenAttention<16>(1, 1, 9, 64, 1)), 0, 0.001);
  EXPECT_NEAR((errorOfTokenAttention<24>(1, 1, 20, 192, 2)), 0, 0.001);
  EXPECT_NEAR((errorOfTokenAttention<32>(1, 1, 32, 64, 1)), 0, 0.001);
}

TEST("the logits of upscaled masks on CUDA are those of libtorch") {
  EXPECT_NEAR(errorOfMaskUpscaling(2, 16, 4, 3), 0, 0.001);
  EXPECT_NEAR(errorOfMaskUpscaling(1, 32, 1, 8), 0, 0.001);
}
