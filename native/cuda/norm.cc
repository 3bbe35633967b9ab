#include "cuda/norm.h"

#include <ATen/Parallel.h>

#include <array>
#include <string>

#include "cuda/arguments.h"
#include "cuda/halves.h"
#include "cuda/kernel.h"

namespace segsam {

namespace {

constexpr int kThreads = 256;

/// Lanes that compute a row.
int lanesOf(int64_t width) { return width <= 256 ? 8 : 32; }

Kernel kernelOf(at::ScalarType type, int lanes) {
  return {
      "cuda/row_norm.h",        "normRows<" + halfName(type) + ", " + std::to_string(lanes) + ">", "RowNorm", kThreads,
      /*blocksPerProcessor=*/2,
      /*sharedBytes=*/0};
}

const Kernel& normKernel(at::ScalarType type, int64_t width) {
  static const std::array<Kernel, 2> inBfloat16 = {kernelOf(at::kBFloat16, 8), kernelOf(at::kBFloat16, 32)};
  static const std::array<Kernel, 2> inHalf = {kernelOf(at::kHalf, 8), kernelOf(at::kHalf, 32)};
  return (type == at::kHalf ? inHalf : inBfloat16)[lanesOf(width) == 8 ? 0 : 1];
}

}  // namespace

bool normsOnCuda(int64_t width) { return width % 8 == 0 && width <= 1536; }

void prepareNorm(at::Device device, at::ScalarType type, int64_t width) {
  prepareKernel(normKernel(type, width), device);
}

at::Tensor normOnCuda(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias, double epsilon,
                      bool gelu) {
  const int64_t width = x.size(-1);
  TORCH_CHECK(normsOnCuda(width) && isHalf(x.scalar_type()),
              "Expected rows of a multiple of 8 up to 1536 values of 16 bits, got ", x.sizes(), " ", x.scalar_type());
  TORCH_CHECK(weight.scalar_type() == at::kFloat && bias.scalar_type() == at::kFloat && weight.numel() == width &&
                  bias.numel() == width,
              "Expected weight and bias of ", width, " values in float32");
  const at::Tensor source = x.contiguous();
  at::Tensor out = at::empty_like(source);
  const int64_t rows = source.numel() / width;
  const int64_t rowsOfBlock = kThreads / lanesOf(width);
  cuda::RowNorm arguments = {halvesOf(source),
                             weight.data_ptr<float>(),
                             bias.data_ptr<float>(),
                             halvesOf(out),
                             rows,
                             static_cast<int>(width),
                             static_cast<float>(epsilon),
                             gelu};
  const auto blocks = static_cast<unsigned>(at::divup(rows, rowsOfBlock));
  launchKernel(normKernel(source.scalar_type(), width), x.device(), {blocks, 1, 1}, &arguments);
  return out;
}

}  // namespace segsam
