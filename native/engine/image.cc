#include "engine/image.h"

#include <ATen/Parallel.h>

#include "ops/input_rows.h"

namespace segsam {

namespace {

constexpr int64_t kRowsPerTask = 16;

}  // namespace

at::Tensor resize(const at::Tensor& planes, const Frame& frame) {
  if (frame.resizedHeight == frame.height && frame.resizedWidth == frame.width) return planes;
  const std::array<int64_t, 2> size = {frame.resizedHeight, frame.resizedWidth};
  if (frame.resizedWidth > 1) return at::_upsample_bilinear2d_aa(planes, size, false);
  // ATen takes planes of one column for channels-last memory and resizes them wrongly (2.13). One row it does right.
  const std::array<int64_t, 2> transposed = {frame.resizedWidth, frame.resizedHeight};
  return at::_upsample_bilinear2d_aa(planes.transpose(2, 3).contiguous(), transposed, false).transpose(2, 3);
}

at::Tensor toInput(const Image& image, const Frame& frame, const Normalisation& normalisation) {
  const InputRows rows(image, frame, normalisation);
  at::Tensor input = at::empty({3, frame.side, frame.side}, at::kFloat);
  auto* values = input.data_ptr<float>();
  at::parallel_for(0, frame.side, kRowsPerTask, [&](int64_t begin, int64_t end) { rows.write(begin, end, values); });
  return input;
}

}  // namespace segsam
