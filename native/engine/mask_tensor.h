#pragma once

#include <ATen/ATen.h>

#include <cstdint>

#include "ops/mask_bits.h"

namespace segsam {

// Masks of a bit per pixel (ops/mask_bits.h) in libtorch's memory: (n, words), int32, as it knows no unsigned words.

inline at::Tensor newMaskTensor(int64_t masks, int64_t pixels) {
  return at::empty({masks, maskWords(pixels)}, at::kInt);
}

inline uint32_t* wordsOf(const at::Tensor& masks) {
  return reinterpret_cast<uint32_t*>(masks.mutable_data_ptr<int32_t>());
}

/// Of one of them.
inline const uint32_t* wordsOf(const at::Tensor& masks, int64_t index) {
  return reinterpret_cast<const uint32_t*>(masks.const_data_ptr<int32_t>()) + index * masks.size(1);
}

}  // namespace segsam
