#pragma once

#include "napi/napi_setup.h"

namespace segsam {

/// Adds the synchronous mask functions of binding.d.ts.
void addMaskFunctions(Napi::Env env, Napi::Object exports);

}  // namespace segsam
