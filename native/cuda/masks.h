#pragma once

#include <ATen/ATen.h>

#include <string>

#include "ops/frame.h"

namespace segsam {

/// Masks of the original image on CUDA, as `MaskUpscaler` makes them, a bit per pixel.
///
/// @param logits (n, side, side) float32 on a device where `makesMaskBitsOnCuda`
/// @return (n, ceil(height * width / 32)) int32: words of 32 pixels in row-major order, the least significant bit
/// first, 0 beyond the last pixel
at::Tensor maskBitsOnCuda(const at::Tensor& logits, const Frame& frame, float threshold);

/// Whether `maskBitsOnCuda` can run on the device; compiles its kernel there.
bool makesMaskBitsOnCuda(at::Device device);

/// Why it cannot, on a CUDA device; empty where it can.
std::string whyNoMaskBits(at::Device device);

}  // namespace segsam
