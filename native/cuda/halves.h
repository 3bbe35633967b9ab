#pragma once

#include <ATen/ATen.h>

#include <string>

namespace segsam {

/// A tensor's memory as kernels take values of 16 bits.
inline unsigned short* halvesOf(const at::Tensor& tensor) { return static_cast<unsigned short*>(tensor.data_ptr()); }

inline bool isHalf(at::ScalarType type) { return type == at::kBFloat16 || type == at::kHalf; }

/// The name in kernels of a type of 16 bits.
inline std::string halfName(at::ScalarType type) {
  TORCH_CHECK(isHalf(type), "Expected bfloat16 or float16, got ", type);
  return type == at::kHalf ? "Float16" : "BFloat16";
}

}  // namespace segsam
