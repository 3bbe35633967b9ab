#include "napi/mask_bits_class.h"

#include <memory>

#include "napi/arguments.h"
#include "napi/environment.h"
#include "napi/host_memory.h"
#include "napi/wrapped.h"
#include "ops/mask_bits.h"

namespace segsam {

namespace {

/// Behind a MaskBits of JavaScript.
struct MaskBitsObject {
  MaskBitsObject(Napi::Env env, const at::Tensor& itsBits, int64_t itsPixels)
      : bits(itsBits),
        pixels(itsPixels),
        memory(Environment::of(env).resultMemory, static_cast<int64_t>(bits.nbytes())) {}

  at::Tensor bits;
  int64_t pixels;
  HostMemory memory;
};

Napi::Value expand(const Napi::CallbackInfo& info) {
  const MaskBitsObject& masks = unwrap<MaskBitsObject>(info.This());
  const int64_t index = readInteger(info[0], "index", 0, masks.bits.size(0) - 1, kInvalidArgument);
  const auto target = readArray<uint8_t>(info[1], "target", masks.pixels);
  const auto* words = reinterpret_cast<const uint32_t*>(masks.bits.const_data_ptr<int32_t>());
  expandBits(words + index * masks.bits.size(1), masks.pixels, target.elements);
  return info.Env().Undefined();
}

}  // namespace

template <>
struct WrappedType<MaskBitsObject> {
  static constexpr const char* kName = "MaskBits";
  static constexpr napi_type_tag kTag = {0x3c81e5d09ab74f26, 0xa47d20f18e6b3c59};
};

Napi::Function maskBitsClass(Napi::Env env) { return defineClass<MaskBitsObject>(env, {method("expand", expand)}); }

Napi::Object makeMaskBits(Napi::Env env, const at::Tensor& bits, int64_t pixels) {
  return wrap(Environment::of(env).maskBits, std::make_unique<MaskBitsObject>(env, bits, pixels));
}

}  // namespace segsam
