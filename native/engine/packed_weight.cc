#include "engine/packed_weight.h"

namespace segsam {

at::Tensor packLinear(const at::Tensor& weight) {
  const int64_t features = weight.size(0);
  const int64_t depth = weight.size(1);
  const bool isRounded = weight.scalar_type() == at::kBFloat16;
  TORCH_CHECK(!isRounded || depth % 2 == 0, "packLinear: expected an even depth of bfloat16, got ", depth);
  const int64_t panels = at::divup(features, kPanel);
  at::Tensor padded = at::zeros({panels * kPanel, depth}, weight.options());
  padded.narrow(0, 0, features).copy_(weight);
  const int64_t together = isRounded ? 2 : 1;
  return padded.reshape({panels, kPanel, depth / together, together})
      .transpose(1, 2)
      .contiguous()
      .view({panels, depth, kPanel});
}

}  // namespace segsam
