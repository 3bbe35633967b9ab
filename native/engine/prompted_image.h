#pragma once

#include <ATen/ATen.h>

namespace segsam {

/// An image's embedding plus what a prompt's mask adds to it, position by position.
///
/// @param embedding (B, C, H, W) float32 on the CPU; fastest with the channels of a position side by side
/// @param dense (P or 1, C, H, W) float32; the P / B prompts of an image lie side by side
/// @return (P, H * W, C), or (1, H * W, C) where all prompts share it
at::Tensor promptedImage(const at::Tensor& embedding, const at::Tensor& dense, int64_t prompts);

}  // namespace segsam
