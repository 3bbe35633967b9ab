#pragma once

#include <cstdint>
#include <vector>

#include "napi/napi_setup.h"
#include "ops/bit_mask.h"
#include "ops/polygons.h"

namespace segsam {

// What is measured of a mask, as binding.d.ts has it.

Napi::Value toJs(Napi::Env env, const Box& box);
Napi::Value toJs(Napi::Env env, const MaskStats& stats);
Napi::Value toJs(Napi::Env env, const std::vector<Polygon>& polygons);
/// Run lengths.
Napi::Value toJs(Napi::Env env, const std::vector<uint32_t>& counts);

}  // namespace segsam
