#pragma once

#include <ATen/ATen.h>
#include <torch/csrc/jit/api/module.h>

namespace segsam {

/// Attention over a grid of H x W positions with SAM's decomposed position bias (Kirillov et al. 2023):
/// softmax(q k^T * scale + biasH + biasW) v, where the bias is added in the tiles of the product, so that neither the
/// product nor the bias is ever in memory as a whole. On the CPU.
///
/// @param q (B, heads, N, D) with N = H * W; k and v likewise; the last dimension contiguous
/// @param biasH (B, heads, N, H)
/// @param biasW (B, heads, N, W)
/// @return (B, heads, N, D) of q's type, in memory as (B, N, heads, D)
at::Tensor attendGrid(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const at::Tensor& biasH,
                      const at::Tensor& biasW, double scale);

/// Relative positions of a grid's rows and columns, in the order in which keys follow each other: (D, 2H - 1) and
/// (D, 2W - 1) float32. Column H - 1 + d belongs to a key that lies d rows below its query.
struct PositionTables {
  at::Tensor rows;
  at::Tensor columns;
};

/// The same, where a query's biases are its products with the relative positions. Of float32, or of bfloat16 where the
/// processor multiplies it.
at::Tensor attendRelative(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const PositionTables& tables,
                          double scale);

/// Lets a module's functions `attend_masked` and `attend_folded` (models/seg_sam/image_encoder.py) be `attendGrid`,
/// before it is frozen.
///
/// @return how many functions were replaced; none where a module has no such functions, or others of that name
int64_t fuseAttention(const torch::jit::Module& module);

}  // namespace segsam
