#pragma once

#include <ATen/ATen.h>

namespace segsam {

/// What tokens of each of P prompts attend to in an image that all prompts share, with keys and values that were made
/// of it once, whatever the prompts: the first cross attention of SAM's two-way transformer (Kirillov et al. 2023). On
/// the CPU. A prompt's result does not depend on the others.
///
/// @param queries (P, M, H * D) float32, scaled; the D channels of a head side by side, as below
/// @param keys (1, L, H * D), and values alike: float32, or both bfloat16, and products take that where the CPU
/// multiplies it
/// @param heads H
/// @return (P, M, H * D) float32
at::Tensor attendShared(const at::Tensor& queries, const at::Tensor& keys, const at::Tensor& values, int64_t heads);

}  // namespace segsam
