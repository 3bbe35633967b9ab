#pragma once

#include <ATen/ATen.h>

#include <optional>
#include <tuple>

namespace segsam {

/// Tokens of points: random Fourier features of scale 1 (Tancik et al. 2020, arXiv 2006.10739), and what their label
/// adds; a point that is none has a token of its own (models/seg_sam/prompt_encoder.py). By libtorch's operators.
///
/// @param points (P, N, 2) in pixels of the input, float32; labels (P, N) int64: -1 for none, or 0 to 3
/// @param matrix (2, C / 2)
/// @param table (5, C): of labels 0 to 3, and of none
/// @param side of the input, in pixels
/// @return (P, N, C)
at::Tensor embedPoints(const at::Tensor& points, const at::Tensor& labels, const at::Tensor& matrix,
                       const at::Tensor& table, double side);

/// The layer norm of x, or of x + added, and the same with `positions` added; by libtorch's operators.
///
/// @param x (P, N, C); added and positions likewise
/// @return (P, N, C) twice; the second is empty without positions
std::tuple<at::Tensor, at::Tensor> normTokens(const at::Tensor& x, const std::optional<at::Tensor>& added,
                                              const at::Tensor& weight, const at::Tensor& bias, double epsilon,
                                              const std::optional<at::Tensor>& positions);

}  // namespace segsam
