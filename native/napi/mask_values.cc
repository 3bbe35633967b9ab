#include "napi/mask_values.h"

#include <algorithm>

#include "napi/arguments.h"

namespace segsam {

namespace {

template <class T>
Napi::Value arrayOf(Napi::Env env, const std::vector<T>& values) {
  const NewArray<T> array = newArray<T>(env, static_cast<int64_t>(values.size()));
  std::copy(values.begin(), values.end(), array.elements);
  return array.value;
}

}  // namespace

Napi::Value toJs(Napi::Env env, const Box& box) {
  const auto array = Napi::Array::New(env, 4);
  uint32_t i = 0;
  for (int64_t edge : {box.x0, box.y0, box.x1, box.y1}) {
    array.Set(i++, Napi::Number::New(env, static_cast<double>(edge)));
  }
  return array;
}

Napi::Value toJs(Napi::Env env, const MaskStats& stats) {
  const auto result = Napi::Object::New(env);
  result.Set("area", Napi::Number::New(env, static_cast<double>(stats.area)));
  result.Set("bbox", stats.box ? toJs(env, *stats.box) : env.Null());
  return result;
}

Napi::Value toJs(Napi::Env env, const std::vector<Polygon>& polygons) {
  const auto result = Napi::Array::New(env, polygons.size());
  for (uint32_t i = 0; i < polygons.size(); ++i) {
    const Napi::HandleScope scope(env);
    const auto polygon = Napi::Object::New(env);
    polygon.Set("ring", arrayOf(env, polygons[i].ring));
    polygon.Set("hole", Napi::Boolean::New(env, polygons[i].hole));
    result.Set(i, polygon);
  }
  return result;
}

Napi::Value toJs(Napi::Env env, const std::vector<uint32_t>& counts) { return arrayOf(env, counts); }

}  // namespace segsam
