#pragma once

#include <ATen/ATen.h>

#include <optional>

namespace segsam {

/// One step from a grid to one of twice its side: a transposed convolution (2 x 2, stride 2), and what is added to it.
struct RowUpscaling {
  /// (C, A, 2, 2) and (A)
  at::Tensor weight, bias;
  /// (C): a layer norm and GELU before it, or none.
  std::optional<at::Tensor> normWeight, normBias;
  double epsilon;
  /// (B, F, 2 * side, 2 * side): features of the images, which a convolution (A, F, 1, 1) with a bias (A) brings to A
  /// channels. Those of an image are added to all of its prompts.
  at::Tensor features, skipWeight, skipBias;
  /// (P, 4 * side * side, A), or none.
  std::optional<at::Tensor> added;
  /// Whether ReLU follows.
  bool relu;
};

/// One row of an image after the other: what comes between x and the result stays in a core's cache. On the CPU,
/// float32.
///
/// @param x (P, side * side, C), the prompts of an image side by side
/// @param side of x, in positions
/// @param rounded whether the products take bfloat16, where the CPU multiplies it
/// @return (P, 4 * side * side, A)
/// @throws c10::Error for other shapes
at::Tensor upscaleRows(const at::Tensor& x, int64_t side, const RowUpscaling& step, bool rounded);

}  // namespace segsam
