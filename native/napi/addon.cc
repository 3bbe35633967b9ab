#include "engine/counters.h"
#include "engine/device.h"
#include "engine/executor.h"
#include "error.h"
#include "napi/cancellation.h"
#include "napi/environment.h"
#include "napi/logits_class.h"
#include "napi/mask_bits_class.h"
#include "napi/mask_functions.h"
#include "napi/model_class.h"
#include "napi/napi_setup.h"
#include "napi/scene_class.h"

namespace segsam {

namespace {

constexpr int kAbiVersion = 6;

Napi::Value setErrorClass(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&]() -> Napi::Value {
    if (!info[0].IsFunction()) throw Error(kInvalidArgument, "Expected a class of errors");
    Environment::of(info.Env()).errorClass = Napi::Persistent(info[0].As<Napi::Function>());
    return info.Env().Undefined();
  });
}

Napi::Value runtimeInfoFunction(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  return guarded(env, [&]() -> Napi::Value {
    const RuntimeInfo runtime = runtimeInfo();
    const auto devices = Napi::Array::New(env, runtime.cudaDevices.size());
    for (uint32_t i = 0; i < runtime.cudaDevices.size(); ++i) {
      const auto device = Napi::Object::New(env);
      device.Set("name", runtime.cudaDevices[i].name);
      device.Set("index", runtime.cudaDevices[i].index);
      device.Set("kernelError", runtime.cudaDevices[i].kernelError);
      devices.Set(i, device);
    }
    const auto result = Napi::Object::New(env);
    result.Set("libtorch", runtime.libtorch);
    result.Set("libtorchPath", runtime.libtorchPath);
    result.Set("cudaBuilt", runtime.cudaBuilt);
    result.Set("cudaDevices", devices);
    result.Set("cudaError", runtime.cudaError);
    result.Set("threads", runtime.threads);
    result.Set("cpuCapability", runtime.cpuCapability);
    result.Set("bf16", runtime.bf16);
    return result;
  });
}

Napi::Value countersFunction(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  return guarded(env, [&]() -> Napi::Value {
    const auto result = Napi::Object::New(env);
    const auto set = [&](const char* name, int64_t value) {
      result.Set(name, Napi::Number::New(env, static_cast<double>(value)));
    };
    set("models", counters().models);
    set("scenes", counters().scenes);
    set("queued", counters().queued);
    set("sceneBytes", counters().sceneBytes);
    return result;
  });
}

Napi::Value stop(const Napi::CallbackInfo& info) {
  Executor::stopAll();
  return info.Env().Undefined();
}

Napi::Object initialise(Napi::Env env, Napi::Object exports) {
  Environment& environment = Environment::create(env);
  const auto define = [&](const char* name, const Napi::Function& value) {
    exports.Set(name, value);
    return Napi::Persistent(value);
  };
  environment.model = define("Model", modelClass(env));
  environment.classSet = define("ClassSet", classSetClass(env));
  environment.scene = define("Scene", sceneClass(env));
  environment.logits = define("Logits", logitsClass(env));
  environment.maskBits = define("MaskBits", maskBitsClass(env));
  exports.Set("Cancellation", cancellationClass(env));
  exports.Set("abiVersion", Napi::Number::New(env, kAbiVersion));
  exports.Set("setErrorClass", Napi::Function::New(env, setErrorClass, "setErrorClass"));
  exports.Set("runtimeInfo", Napi::Function::New(env, runtimeInfoFunction, "runtimeInfo"));
  exports.Set("counters", Napi::Function::New(env, countersFunction, "counters"));
  exports.Set("stop", Napi::Function::New(env, stop, "stop"));
  addMaskFunctions(env, exports);
  return exports;
}

}  // namespace

}  // namespace segsam

static Napi::Object initialiseAddon(Napi::Env env, Napi::Object exports) { return segsam::initialise(env, exports); }

NODE_API_MODULE(seg_sam, initialiseAddon)
