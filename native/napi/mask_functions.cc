#include "napi/mask_functions.h"

#include <vector>

#include "napi/arguments.h"
#include "napi/environment.h"
#include "napi/large_pages.h"
#include "napi/mask_values.h"
#include "napi/scene_class.h"
#include "ops/bit_mask.h"
#include "ops/components.h"
#include "ops/mask.h"
#include "ops/polygons.h"
#include "ops/rle.h"
#include "ops/upscale.h"

namespace segsam {

namespace {

constexpr int64_t kMaxArea = int64_t{1} << 53;

struct Size {
  int64_t width;
  int64_t height;
};

Size readSize(const Napi::Value& width, const Napi::Value& height) {
  return {readInteger(width, "width", 1, kMaxSide), readInteger(height, "height", 1, kMaxSide)};
}

/// The first three arguments: pixels, width, height.
Mask readMask(const Napi::CallbackInfo& info) {
  const Size size = readSize(info[1], info[2]);
  const auto view = readArray<uint8_t>(info[0], "mask", product(size.width, size.height));
  return {view.elements, size.width, size.height};
}

Napi::Value maskStatsFunction(const Napi::CallbackInfo& info) {
  return toJs(info.Env(), maskStats(PackedMask(readMask(info)).view()));
}

Napi::Value connectedComponentsFunction(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const int64_t neighbours = readInteger(info[3], "connectivity", 4, 8);
  if (neighbours != 4 && neighbours != 8) throw Error(kInvalidArgument, "Expected connectivity 4 or 8");
  const Mask mask = readMask(info);
  const NewArray<int32_t> labels = newArray<int32_t>(env, mask.size());
  const std::vector<Component> found =
      connectedComponents(mask, neighbours == 4 ? Connectivity::kFour : Connectivity::kEight, labels.elements);
  const auto components = Napi::Array::New(env, found.size());
  for (uint32_t i = 0; i < found.size(); ++i) {
    const Napi::HandleScope scope(env);
    const auto component = Napi::Object::New(env);
    component.Set("area", Napi::Number::New(env, static_cast<double>(found[i].area)));
    component.Set("bbox", toJs(env, found[i].box));
    components.Set(i, component);
  }
  const auto result = Napi::Object::New(env);
  result.Set("labels", labels.value);
  result.Set("components", components);
  return result;
}

Napi::Value fillHolesFunction(const Napi::CallbackInfo& info) {
  const int64_t maxArea = readInteger(info[3], "maxArea", 0, kMaxArea);
  const Mask mask = readMask(info);
  const NewArray<uint8_t> filled = newArray<uint8_t>(info.Env(), mask.size());
  fillHoles(mask, maxArea, filled.elements);
  return filled.value;
}

Napi::Value newBytesFunction(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const int64_t length = readInteger(info[0], "length", 0, kMaxArea);
  // From two large pages on, what they need in front and behind is worth it.
  const bool isLarge = length >= 2 * kLargePage;
  const int64_t whole = isLarge ? (length + kLargePage - 1) / kLargePage * kLargePage + kLargePage : length;
  const NewArray<uint8_t> memory = newArray<uint8_t>(env, whole);
  const auto misaligned = static_cast<int64_t>(reinterpret_cast<uintptr_t>(memory.elements) % kLargePage);
  const int64_t offset = isLarge && misaligned > 0 ? kLargePage - misaligned : 0;
  const Napi::Value buffer = memory.value.As<Napi::Uint8Array>().ArrayBuffer();
  return Napi::Uint8Array::New(env, length, buffer.As<Napi::ArrayBuffer>(), offset);
}

Napi::Value encodeRleFunction(const Napi::CallbackInfo& info) {
  return toJs(info.Env(), encodeRle(PackedMask(readMask(info)).view()));
}

Napi::Value decodeRleFunction(const Napi::CallbackInfo& info) {
  const Size size = readSize(info[1], info[2]);
  const auto counts = copyOf(readArray<uint32_t>(info[0], "counts"));
  const NewArray<uint8_t> mask = newArray<uint8_t>(info.Env(), product(size.width, size.height));
  decodeRle(counts, size.width, size.height, mask.elements);
  return mask.value;
}

Napi::Value compressRleFunction(const Napi::CallbackInfo& info) {
  return Napi::String::New(info.Env(), compressRle(copyOf(readArray<uint32_t>(info[0], "counts"))));
}

Napi::Value decompressRleFunction(const Napi::CallbackInfo& info) {
  return toJs(info.Env(), decompressRle(readString(info[0], "text")));
}

Napi::Value maskPolygonsFunction(const Napi::CallbackInfo& info) {
  return toJs(info.Env(), maskPolygons(PackedMask(readMask(info)).view()));
}

Napi::Value maskIouFunction(const Napi::CallbackInfo& info) {
  const auto a = readArray<uint8_t>(info[0], "a");
  const auto b = readArray<uint8_t>(info[1], "b", a.length);
  return Napi::Number::New(info.Env(), maskIou(a.elements, b.elements, a.length));
}

/// The upscaler of the arguments `side, width, height, imageSize, resizeMode`, which begin at `first`.
MaskUpscaler readUpscaler(const Napi::CallbackInfo& info, size_t first) {
  const int64_t side = readInteger(info[first], "side", 1, kMaxMaskSize);
  const Size size = readSize(info[first + 1], info[first + 2]);
  const int64_t imageSize = readInteger(info[first + 3], "imageSize", 1, kMaxImageSize);
  return MaskUpscaler(side, Frame::of(size.width, size.height, imageSize, readResizeMode(info[first + 4])));
}

Napi::Value upscaledAreaFunction(const Napi::CallbackInfo& info) {
  const MaskUpscaler upscaler = readUpscaler(info, 1);
  const auto threshold = static_cast<float>(readNumber(info[6], "threshold"));
  const auto logits = readArray<float>(info[0], "logits", upscaler.logitsSide() * upscaler.logitsSide());
  return Napi::Number::New(info.Env(), static_cast<double>(upscaler.areaAbove(logits.elements, threshold)));
}

Napi::Value upscaleLogitsFunction(const Napi::CallbackInfo& info) {
  const MaskUpscaler upscaler = readUpscaler(info, 1);
  const Frame& frame = upscaler.frame();
  const NewArray<float> upscaled = newArray<float>(info.Env(), product(frame.width, frame.height));
  const auto logits = readArray<float>(info[0], "logits", upscaler.logitsSide() * upscaler.logitsSide());
  upscaler.writeLogits(logits.elements, upscaled.elements);
  return upscaled.value;
}

template <Napi::Value (*function)(const Napi::CallbackInfo&)>
void add(Napi::Env env, Napi::Object exports, const char* name) {
  exports.Set(
      name, Napi::Function::New(
                env, [](const Napi::CallbackInfo& info) { return guarded(info.Env(), [&] { return function(info); }); },
                name));
}

}  // namespace

void addMaskFunctions(Napi::Env env, Napi::Object exports) {
  add<maskStatsFunction>(env, exports, "maskStats");
  add<connectedComponentsFunction>(env, exports, "connectedComponents");
  add<fillHolesFunction>(env, exports, "fillHoles");
  add<newBytesFunction>(env, exports, "newBytes");
  add<encodeRleFunction>(env, exports, "encodeRle");
  add<decodeRleFunction>(env, exports, "decodeRle");
  add<compressRleFunction>(env, exports, "compressRle");
  add<decompressRleFunction>(env, exports, "decompressRle");
  add<maskPolygonsFunction>(env, exports, "maskPolygons");
  add<maskIouFunction>(env, exports, "maskIou");
  add<upscaledAreaFunction>(env, exports, "upscaledArea");
  add<upscaleLogitsFunction>(env, exports, "upscaleLogits");
}

}  // namespace segsam
