#pragma once

#include <ATen/ATen.h>

namespace segsam {

/// The two transposed convolutions of the image (2 x 2, stride 2), the layer norm and GELU between and after them.
struct UpscalingWeights {
  /// (C, A, 2, 2) and (A)
  at::Tensor weight1, bias1;
  /// (A)
  at::Tensor normWeight, normBias;
  double epsilon;
  /// (A, B, 2, 2) and (B)
  at::Tensor weight2, bias2;
};

/// The logits of SAM's masks: the image's positions upscaled to 4 x 4 vectors each, which the mask vectors multiply
/// (Kirillov et al. 2023). Every position is its own, so that nothing but logits leaves a tile. On the CPU, float32.
///
/// @param image (P, side * side, C) float32 or bfloat16
/// @param masks (P, K, B)
/// @param rounded whether the convolutions' products take bfloat16, where the CPU multiplies it
/// @return (P, K, 4 * side, 4 * side)
at::Tensor upscaleMasks(const at::Tensor& image, int64_t side, const UpscalingWeights& weights, const at::Tensor& masks,
                        bool rounded);

}  // namespace segsam
