#pragma once

#include <ATen/ATen.h>

namespace segsam {

/// Layer norm over the last dimension, and GELU of it where asked, on CUDA.
///
/// @param x (..., C) bfloat16 or float16, C a multiple of 8 up to 1536
/// @param weight (C) float32; bias likewise
/// @return like x, contiguous
at::Tensor normOnCuda(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias, double epsilon,
                      bool gelu = false);

/// Whether rows of `width` values can be computed.
bool normsOnCuda(int64_t width);

/// Compiles it for rows of `width`.
void prepareNorm(at::Device device, at::ScalarType type, int64_t width);

}  // namespace segsam
