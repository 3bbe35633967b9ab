#pragma once

#include <ATen/ATen.h>

namespace segsam {

/// A group norm, GELU and a convolution (3 x 3, one pixel of zeros around).
struct NormedConvolution {
  /// (C)
  at::Tensor normWeight, normBias;
  /// (C, C, 3, 3) and (C)
  at::Tensor weight, bias;
};

/// x + second(first(x)), as residual networks with the activation first have it (He et al. 2016, arXiv 1603.05027).
/// One prompt's image after the other, whose padded copy stays in a core's cache. On the CPU, float32.
///
/// @param x (P, H * W, C)
/// @param width W, in pixels of the image
/// @param groups of the norms
/// @param rounded whether the convolutions' products take bfloat16, where the CPU multiplies it
/// @return as x
/// @throws c10::Error for other shapes
at::Tensor addConvolutions(const at::Tensor& x, int64_t width, const NormedConvolution& first,
                           const NormedConvolution& second, int64_t groups, double epsilon, bool rounded);

}  // namespace segsam
