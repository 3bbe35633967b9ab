#pragma once

#include <ATen/ATen.h>

namespace segsam {

// The two halves of a block of SAM's image encoder on CUDA, in bfloat16 or float16, with the sums in float32. Linear
// layers are libtorch's; attention and layer norm are kernels of this folder.

/// Whether both can compute a block of `width` channels whose attention is over windows of `side` positions, on a
/// device that runs kernels.
bool attendsOnCuda(at::ScalarType type, int64_t width, int64_t heads, int64_t side);

/// Compiles what a block of `width` channels takes whose attention is over windows of `side` positions.
void prepareBlock(at::Device device, at::ScalarType type, int64_t width, int64_t side);

/// As `addAttention`, with plain weights of x's type.
///
/// @param x (B, H, W, C), of a square grid
/// @param tableH (2 * side - 1, C / heads), of x's type; tableW likewise
at::Tensor addAttentionOnCuda(const at::Tensor& x, const at::Tensor& normWeight, const at::Tensor& normBias,
                              double epsilon, const at::Tensor& qkv, const at::Tensor& qkvBias,
                              const at::Tensor& tableH, const at::Tensor& tableW, const at::Tensor& proj,
                              const at::Tensor& projBias, int64_t heads, int64_t window);

/// As `addMlp`, with plain weights of x's type and GELU by its approximation with tanh, whose difference is less than
/// the type's rounding.
at::Tensor addMlpOnCuda(const at::Tensor& x, const at::Tensor& normWeight, const at::Tensor& normBias, double epsilon,
                        const at::Tensor& lin1, const at::Tensor& bias1, const at::Tensor& lin2,
                        const at::Tensor& bias2);

}  // namespace segsam
