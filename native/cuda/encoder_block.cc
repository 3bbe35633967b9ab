#include "cuda/encoder_block.h"

#include <ATen/DeviceGuard.h>
#include <ATen/Parallel.h>

#include <array>
#include <cmath>
#include <string>

#include "cuda/arguments.h"
#include "cuda/halves.h"
#include "cuda/kernel.h"
#include "cuda/norm.h"

namespace segsam {

namespace {

constexpr int64_t kHeadWidth = 64;
constexpr int64_t kQueriesOfBlock = 128;
constexpr int64_t kMostSlots = 64;

/// How the attention's kernel computes.
struct Shape {
  /// Positions of a window's row with those that fill it up.
  int slots;
  /// As `attendGrid` has them.
  int tiles;
  int step;
  int blocksPerProcessor;
};

// The fastest of several on an H200.
constexpr std::array<Shape, 3> kShapes = {{{16, 2, 32, 2}, {32, 2, 64, 2}, {64, 2, 64, 2}}};

/// Index of the shape for windows of `side` positions a row.
int shapeOf(int64_t side) { return side <= 16 ? 0 : side <= 32 ? 1 : 2; }

Kernel kernelOf(at::ScalarType type, const Shape& shape) {
  const std::string sizes =
      std::to_string(shape.slots) + ", " + std::to_string(shape.tiles) + ", " + std::to_string(shape.step);
  return {"cuda/grid_attention.h",  "attendGrid<" + halfName(type) + ", " + sizes + ">",
          "GridAttention",          256 / shape.tiles,
          shape.blocksPerProcessor, cuda::gridAttentionBytes(shape.slots)};
}

const Kernel& attentionKernel(at::ScalarType type, int64_t side) {
  using Kernels = std::array<Kernel, kShapes.size()>;
  const auto all = [](at::ScalarType of) {
    return Kernels{kernelOf(of, kShapes[0]), kernelOf(of, kShapes[1]), kernelOf(of, kShapes[2])};
  };
  static const Kernels inBfloat16 = all(at::kBFloat16);
  static const Kernels inHalf = all(at::kHalf);
  return (type == at::kHalf ? inHalf : inBfloat16)[shapeOf(side)];
}

at::Tensor attend(const at::Tensor& qkv, const at::Tensor& bias, const at::Tensor& tableH, const at::Tensor& tableW,
                  int64_t heads, int64_t window) {
  const int64_t batch = qkv.size(0);
  const int64_t grid = qkv.size(1);
  const int64_t width = qkv.size(3) / 3;
  const int64_t side = window > 0 ? window : grid;
  TORCH_CHECK(qkv.size(2) == grid && width == heads * kHeadWidth && side <= kMostSlots && isHalf(qkv.scalar_type()),
              "Expected a square grid and heads of 64 values, got ", qkv.sizes());
  TORCH_CHECK(tableH.sizes() == at::IntArrayRef({2 * side - 1, kHeadWidth}) && tableW.sizes() == tableH.sizes(),
              "Expected tables of 2 * ", side, " - 1 positions, got ", tableH.sizes(), " and ", tableW.sizes());
  const int64_t perRow = at::divup(grid, side);
  at::Tensor out = at::empty({batch, grid, grid, width}, qkv.options());
  cuda::GridAttention arguments = {
      halvesOf(qkv),          halvesOf(bias),          halvesOf(tableH),
      halvesOf(tableW),       halvesOf(out),           static_cast<int>(grid),
      static_cast<int>(side), static_cast<int>(heads), 1.0f / std::sqrt(static_cast<float>(kHeadWidth))};
  const int64_t slots = side * kShapes[shapeOf(side)].slots;
  const std::array<unsigned, 3> blocks = {static_cast<unsigned>(at::divup(slots, kQueriesOfBlock)),
                                          static_cast<unsigned>(heads), static_cast<unsigned>(batch * perRow * perRow)};
  launchKernel(attentionKernel(qkv.scalar_type(), side), qkv.device(), blocks, &arguments);
  return out;
}

}  // namespace

bool attendsOnCuda(at::ScalarType type, int64_t width, int64_t heads, int64_t side) {
  return isHalf(type) && width == heads * kHeadWidth && normsOnCuda(width) && side <= kMostSlots;
}

void prepareBlock(at::Device device, at::ScalarType type, int64_t width, int64_t side) {
  prepareNorm(device, type, width);
  prepareKernel(attentionKernel(type, side), device);
}

at::Tensor addAttentionOnCuda(const at::Tensor& x, const at::Tensor& normWeight, const at::Tensor& normBias,
                              double epsilon, const at::Tensor& qkv, const at::Tensor& qkvBias,
                              const at::Tensor& tableH, const at::Tensor& tableW, const at::Tensor& proj,
                              const at::Tensor& projBias, int64_t heads, int64_t window) {
  const at::DeviceGuard guard(x.device());
  const at::Tensor projected = at::linear(normOnCuda(x, normWeight, normBias, epsilon), qkv, qkvBias);
  return at::linear(attend(projected, qkvBias, tableH, tableW, heads, window), proj, projBias).add_(x);
}

at::Tensor addMlpOnCuda(const at::Tensor& x, const at::Tensor& normWeight, const at::Tensor& normBias, double epsilon,
                        const at::Tensor& lin1, const at::Tensor& bias1, const at::Tensor& lin2,
                        const at::Tensor& bias2) {
  const at::DeviceGuard guard(x.device());
  const at::Tensor rows = normOnCuda(x, normWeight, normBias, epsilon).flatten(0, -2);
  const at::Tensor hidden = at::_addmm_activation(bias1, rows, lin1.t(), 1, 1, /*use_gelu=*/true);
  return at::linear(hidden, lin2, bias2).view(x.sizes()).add_(x);
}

}  // namespace segsam
