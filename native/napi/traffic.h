#pragma once

#include <memory>

#include "engine/executor.h"
#include "napi/napi_setup.h"

namespace segsam {

/// A Schedule of binding.d.ts.
/// @throws Error INVALID_ARGUMENT
Schedule readSchedule(const Napi::Value& value, WorkKind kind, std::shared_ptr<Traffic> traffic);

/// Traffic of binding.d.ts.
Napi::Object describe(Napi::Env env, const TrafficStats& stats);

}  // namespace segsam
