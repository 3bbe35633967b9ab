#include "napi/logits_class.h"

#include <algorithm>
#include <memory>

#include "napi/arguments.h"
#include "napi/environment.h"
#include "napi/host_memory.h"
#include "napi/wrapped.h"

namespace segsam {

namespace {

/// Behind a Logits of JavaScript.
struct LogitsObject {
  LogitsObject(Napi::Env env, const at::Tensor& itsValues)
      : values(itsValues), memory(Environment::of(env).resultMemory, static_cast<int64_t>(values.nbytes())) {}

  at::Tensor values;
  HostMemory memory;
};

Napi::Value slice(const Napi::CallbackInfo& info) {
  const at::Tensor& values = unwrap<LogitsObject>(info.This()).values;
  const int64_t begin = readInteger(info[0], "begin", 0, values.numel(), kInvalidArgument);
  const int64_t end = readInteger(info[1], "end", begin, values.numel(), kInvalidArgument);
  const NewArray<float> copy = newArray<float>(info.Env(), end - begin);
  if (begin < end) std::copy_n(values.const_data_ptr<float>() + begin, end - begin, copy.elements);
  return copy.value;
}

}  // namespace

template <>
struct WrappedType<LogitsObject> {
  static constexpr const char* kName = "Logits";
  static constexpr napi_type_tag kTag = {0x9d0f3b6a7c2e4158, 0x8e61b4d2f07a9c35};
};

Napi::Function logitsClass(Napi::Env env) { return defineClass<LogitsObject>(env, {method("slice", slice)}); }

Napi::Object makeLogits(Napi::Env env, const at::Tensor& values) {
  return wrap(Environment::of(env).logits, std::make_unique<LogitsObject>(env, values));
}

}  // namespace segsam
