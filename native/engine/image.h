#pragma once

#include <ATen/ATen.h>

#include "ops/frame.h"
#include "ops/image.h"

namespace segsam {

/// The model's input (ops/input_rows.h).
/// @return (3, side, side) float32 on the CPU
at::Tensor toInput(const Image& image, const Frame& frame, const Normalisation& normalisation);

/// The same on `device`, by a kernel of CUDA or by ATen, to which the pixels are copied from page-locked memory while
/// it computes.
/// @return (3, side, side) of `type` on `device`
at::Tensor toInputOn(at::Device device, const Image& image, const Frame& frame, const Normalisation& normalisation,
                     at::ScalarType type = at::kFloat);

/// (1, C, height, width) to (1, C, resizedHeight, resizedWidth), bilinear with antialiasing.
at::Tensor resize(const at::Tensor& planes, const Frame& frame);

}  // namespace segsam
