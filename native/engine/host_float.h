#pragma once

#include <ATen/ATen.h>

namespace segsam {

/// The values one after the other.
/// @throws c10::Error unless they are float32 on the CPU
inline at::Tensor hostFloat(const at::Tensor& tensor) {
  TORCH_CHECK(tensor.scalar_type() == at::kFloat && tensor.device().is_cpu(), "expected float32 on the CPU, got ",
              tensor.scalar_type(), " on ", tensor.device());
  return tensor.contiguous();
}

/// As decoders keep the image between their layers where products take it.
inline bool isHostBfloat16(const at::Tensor& tensor) {
  return tensor.scalar_type() == at::kBFloat16 && tensor.device().is_cpu();
}

}  // namespace segsam
