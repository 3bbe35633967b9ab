#pragma once

#include <ATen/ATen.h>

#include "napi/napi_setup.h"

namespace segsam {

/// The class `Logits` of binding.d.ts.
Napi::Function logitsClass(Napi::Env env);

/// @param values float32 on the host, side by side
Napi::Object makeLogits(Napi::Env env, const at::Tensor& values);

}  // namespace segsam
