#include "napi/mask_bits_class.h"

#include <memory>

#include "engine/mask_tensor.h"
#include "napi/arguments.h"
#include "napi/environment.h"
#include "napi/host_memory.h"
#include "napi/mask_values.h"
#include "napi/wrapped.h"
#include "ops/bit_mask.h"
#include "ops/mask_bits.h"
#include "ops/polygons.h"
#include "ops/rle.h"

namespace segsam {

namespace {

/// Behind a MaskBits of JavaScript.
struct MaskBitsObject {
  MaskBitsObject(Napi::Env env, const at::Tensor& itsBits, const Frame& frame)
      : bits(itsBits),
        width(frame.width),
        height(frame.height),
        memory(Environment::of(env).resultMemory, static_cast<int64_t>(bits.nbytes())) {}

  at::Tensor bits;
  int64_t width;
  int64_t height;
  HostMemory memory;
};

/// The mask of the first argument.
BitMask readMask(const Napi::CallbackInfo& info) {
  const MaskBitsObject& masks = unwrap<MaskBitsObject>(info.This());
  const int64_t index = readInteger(info[0], "index", 0, masks.bits.size(0) - 1, kInvalidArgument);
  return {wordsOf(masks.bits, index), masks.width, masks.height};
}

Napi::Value expand(const Napi::CallbackInfo& info) {
  const BitMask mask = readMask(info);
  const auto target = readArray<uint8_t>(info[1], "target", mask.size());
  expandBits(mask.words, mask.size(), target.elements);
  return info.Env().Undefined();
}

Napi::Value stats(const Napi::CallbackInfo& info) { return toJs(info.Env(), maskStats(readMask(info))); }

Napi::Value rle(const Napi::CallbackInfo& info) { return toJs(info.Env(), encodeRle(readMask(info))); }

Napi::Value polygons(const Napi::CallbackInfo& info) { return toJs(info.Env(), maskPolygons(readMask(info))); }

}  // namespace

template <>
struct WrappedType<MaskBitsObject> {
  static constexpr const char* kName = "MaskBits";
  static constexpr napi_type_tag kTag = {0x3c81e5d09ab74f26, 0xa47d20f18e6b3c59};
};

Napi::Function maskBitsClass(Napi::Env env) {
  return defineClass<MaskBitsObject>(
      env, {method("expand", expand), method("stats", stats), method("rle", rle), method("polygons", polygons)});
}

Napi::Object makeMaskBits(Napi::Env env, const at::Tensor& bits, const Frame& frame) {
  return wrap(Environment::of(env).maskBits, std::make_unique<MaskBitsObject>(env, bits, frame));
}

}  // namespace segsam
