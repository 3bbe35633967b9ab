#include "engine/token_rows.h"

#include <cmath>

namespace segsam {

at::Tensor embedPoints(const at::Tensor& points, const at::Tensor& labels, const at::Tensor& matrix,
                       const at::Tensor& table, double side) {
  constexpr int64_t kNone = 4;
  const at::Tensor angle = points.add(0.5).mul(2).div(side).sub(1).matmul(matrix).mul(2 * M_PI);
  const at::Tensor features = at::cat({angle.sin(), angle.cos()}, -1);
  const at::Tensor isNone = labels.eq(-1);
  const at::Tensor own = table.index_select(0, labels.masked_fill(isNone, kNone).flatten()).view(features.sizes());
  return features.masked_fill(isNone.unsqueeze(-1), 0).add_(own);
}

std::tuple<at::Tensor, at::Tensor> normTokens(const at::Tensor& x, const std::optional<at::Tensor>& added,
                                              const at::Tensor& weight, const at::Tensor& bias, double epsilon,
                                              const std::optional<at::Tensor>& positions) {
  const at::Tensor normed = at::layer_norm(added ? x + *added : x, {x.size(-1)}, weight, bias, epsilon);
  return {normed, positions ? normed + *positions : at::empty({0}, x.options())};
}

}  // namespace segsam
