#pragma once

#include <ATen/ATen.h>

#include "napi/napi_setup.h"
#include "ops/frame.h"

namespace segsam {

/// The class `MaskBits` of binding.d.ts.
Napi::Function maskBitsClass(Napi::Env env);

/// @param bits (n, words), int32 on the host (engine/mask_tensor.h)
/// @param frame whose width and height each mask has
Napi::Object makeMaskBits(Napi::Env env, const at::Tensor& bits, const Frame& frame);

}  // namespace segsam
