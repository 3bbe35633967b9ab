#pragma once

#include <memory>

#include "engine/scene.h"
#include "napi/model_class.h"
#include "napi/napi_setup.h"
#include "ops/frame.h"

namespace segsam {

Napi::Function sceneClass(Napi::Env env);

/// A Scene of JavaScript.
Napi::Object makeScene(Napi::Env env, std::shared_ptr<ModelHandle> model, std::shared_ptr<Scene> scene);

/// @throws Error INVALID_ARGUMENT
ResizeMode readResizeMode(const Napi::Value& value);

}  // namespace segsam
