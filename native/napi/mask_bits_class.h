#pragma once

#include <ATen/ATen.h>

#include "napi/napi_setup.h"

namespace segsam {

/// The class `MaskBits` of binding.d.ts.
Napi::Function maskBitsClass(Napi::Env env);

/// @param bits (n, words), int32 on the host, side by side (ops/mask_bits.h)
/// @param pixels of each mask
Napi::Object makeMaskBits(Napi::Env env, const at::Tensor& bits, int64_t pixels);

}  // namespace segsam
