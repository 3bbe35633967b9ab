#include "cuda/norm.h"

#include <string>

#include "cuda/arguments.h"
#include "cuda/halves.h"
#include "cuda/kernel.h"

namespace segsam {

namespace {

constexpr int kThreads = 256;

/// Lanes that compute a row.
int lanesOf(int64_t width) { return width <= 256 ? 8 : 32; }

Kernel kernelOf(at::ScalarType type, int64_t width) {
  return {"cuda/row_norm.h",
          "normRows<" + halfName(type) + ", " + std::to_string(lanesOf(width)) + ">",
          "RowNorm",
          kThreads,
          /*blocksPerProcessor=*/2,
          /*sharedBytes=*/0};
}

}  // namespace

bool normsOnCuda(int64_t width) { return width % 8 == 0 && width <= 1536; }

void prepareNorm(at::Device device, at::ScalarType type, int64_t width) {
  prepareKernel(kernelOf(type, width), device);
}

at::Tensor normOnCuda(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias, double epsilon,
                      bool gelu) {
  const int64_t width = x.size(-1);
  TORCH_CHECK(normsOnCuda(width), "Expected rows of a multiple of 8 up to 1536 values, got ", width);
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
  const auto blocks = static_cast<unsigned>((rows + rowsOfBlock - 1) / rowsOfBlock);
  launchKernel(kernelOf(source.scalar_type(), width), x.device(), {blocks, 1, 1}, &arguments);
  return out;
}

}  // namespace segsam
