#pragma once

#include <ATen/ATen.h>

#include <cstdint>

#include "engine/attention.h"

namespace segsam {

// The two halves of a block of SAM's image encoder (Kirillov et al. 2023), each computed over blocks of rows that stay
// in a core's cache: nothing is written to memory but queries, keys and values, what was attended, and the result. On
// the CPU, in float32, or in bfloat16 where the processor multiplies it; the sums are float32. Linear layers may
// multiply in 8 bits.

/// A linear layer: its weight as `packLinear` has it, of x's type, or as `packQuantised` has it; its bias in float32.
struct PackedLinear {
  at::Tensor weight;
  at::Tensor bias;
};

/// Weight and bias of a layer norm, float32.
struct NormWeights {
  at::Tensor weight;
  at::Tensor bias;
  double epsilon;
};

/// x + proj(attention(qkv(norm(x)))), the attention within windows. Windows at the bottom and right are filled up with
/// positions whose normalised values are zeros.
///
/// @param x (B, H, W, C), in bfloat16 with even heads
/// @param window side of a window in positions; 0: all positions are one
/// @param tables of a window
/// @return like x
/// @throws c10::Error of operands that do not fit each other, or that the processor does not multiply
at::Tensor addAttention(const at::Tensor& x, const NormWeights& norm, const PackedLinear& qkv,
                        const PositionTables& tables, const PackedLinear& proj, int64_t heads, int64_t window);

/// x + lin2(GELU(lin1(norm(x)))).
///
/// @param x (..., C)
/// @return like x
/// @throws c10::Error as above
at::Tensor addMlp(const at::Tensor& x, const NormWeights& norm, const PackedLinear& lin1, const PackedLinear& lin2);

}  // namespace segsam
