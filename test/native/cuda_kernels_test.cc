/// The kernels of native/cuda, run on the CPU, against libtorch.

#include <ATen/ATen.h>

#include <cmath>
#include <vector>

#include "check.h"

#define SEG_SAM_EMULATED_WARP "emulated_warp.h"
#include "cuda/grid_attention.h"
#include "cuda/row_norm.h"

using namespace segsam::cuda;

namespace {

template <class T>
constexpr at::ScalarType kType = at::kBFloat16;
template <>
constexpr at::ScalarType kType<Float16> = at::kHalf;

uint16* halves(const at::Tensor& tensor) { return static_cast<uint16*>(tensor.data_ptr()); }

double relativeError(const at::Tensor& actual, const at::Tensor& expected) {
  return ((actual.to(at::kDouble) - expected).norm() / expected.norm()).item<double>();
}

template <class Body>
void runGrid(std::array<int, 3> grid, int threads, const Body& kernel) {
  for (int z = 0; z < grid[2]; ++z) {
    for (int y = 0; y < grid[1]; ++y) {
      for (int x = 0; x < grid[0]; ++x) EmulatedBlock::run(threads, {x, y, z}, kernel);
    }
  }
}

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
  std::vector<Vector> shared(gridAttentionBytes(Slots) / sizeof(Vector));
  const std::array<int, 3> blocks = {static_cast<int>((window * Slots + 127) / 128), static_cast<int>(heads),
                                     static_cast<int>(batch * perRow * perRow)};
  runGrid(blocks, 256 / Tiles,
          [&] { attendGrid<T, Slots, Tiles, Step>(arguments, reinterpret_cast<uint16*>(shared.data())); });
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
