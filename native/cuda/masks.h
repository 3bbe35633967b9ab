#pragma once

#include <ATen/ATen.h>

#include "ops/frame.h"

namespace segsam {

/// Masks of the original image on CUDA, as `MaskUpscaler` makes them, a bit per pixel.
///
/// @param logits (n, side, side) float32 on a device of `runsKernels`
/// @return (n, ceil(height * width / 32)) int32: words of 32 pixels in row-major order, the least significant bit
/// first, 0 beyond the last pixel
at::Tensor maskBitsOnCuda(const at::Tensor& logits, const Frame& frame, float threshold);

/// Compiles it.
void prepareMaskBits(at::Device device);

}  // namespace segsam
