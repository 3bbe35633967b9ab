#include "cuda/masks.h"

#include <ATen/Parallel.h>

#include "cuda/arguments.h"
#include "cuda/kernel.h"
#include "ops/mask_bits.h"

namespace segsam {

namespace {

const Kernel& maskBitsKernel() {
  static const Kernel kernel = {"cuda/mask_bits.h",       "writeMaskBits",  "MaskBits", /*threads=*/256,
                                /*blocksPerProcessor=*/4, /*sharedBytes=*/0};
  return kernel;
}

cuda::MaskAxis axisOf(int64_t size, int64_t covered, int64_t input, int64_t side) {
  return {static_cast<int>(size), static_cast<int>(covered), static_cast<float>(covered) / static_cast<float>(size),
          static_cast<float>(side) / static_cast<float>(input)};
}

}  // namespace

bool makesMaskBitsOnCuda(at::Device device) { return canRun(maskBitsKernel(), device); }

std::string whyNoMaskBits(at::Device device) { return whyNot(maskBitsKernel(), device); }

at::Tensor maskBitsOnCuda(const at::Tensor& logits, const Frame& frame, float threshold) {
  const int64_t count = logits.size(0);
  const int64_t side = logits.size(1);
  TORCH_CHECK(logits.dim() == 3 && logits.size(2) == side && logits.scalar_type() == at::kFloat,
              "Expected squares of logits in float32, got ", logits.sizes());
  const int64_t words = maskWords(frame.width * frame.height);
  const at::Tensor source = logits.contiguous();
  at::Tensor bits = at::empty({count, words}, logits.options().dtype(at::kInt));
  cuda::MaskBits arguments = {source.data_ptr<float>(),
                              static_cast<unsigned*>(bits.data_ptr()),
                              words,
                              axisOf(frame.height, frame.resizedHeight, frame.side, side),
                              axisOf(frame.width, frame.resizedWidth, frame.side, side),
                              static_cast<int>(side),
                              threshold};
  const int64_t blocksOfMask = at::divup(words, cuda::kMaskWordsOfBlock);
  launchKernel(maskBitsKernel(), logits.device(), {static_cast<unsigned>(count * blocksOfMask), 1, 1}, &arguments);
  return bits;
}

}  // namespace segsam
