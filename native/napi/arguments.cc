#include "napi/arguments.h"

#include <cmath>

#include "napi/large_pages.h"

namespace segsam {

namespace {

constexpr int64_t kMaxSafeInteger = (int64_t{1} << 53) - 1;
/// V8 ends the process where a typed array is made longer than it allows.
constexpr int64_t kMaxBufferBytes = (int64_t{1} << 32) - 1;

[[noreturn]] void refuse(const char* code, const std::string& expected, const char* name) {
  throw Error(code, "Expected " + expected + " for " + name);
}

}  // namespace

Napi::Object readObject(const Napi::Value& value, const char* name, const char* code) {
  if (!value.IsObject()) refuse(code, "an object", name);
  return value.As<Napi::Object>();
}

std::string readString(const Napi::Value& value, const char* name) {
  if (!value.IsString()) refuse(kInvalidArgument, "a string", name);
  return value.As<Napi::String>().Utf8Value();
}

bool readBoolean(const Napi::Value& value, const char* name, const char* code) {
  if (!value.IsBoolean()) refuse(code, "a boolean", name);
  return value.As<Napi::Boolean>().Value();
}

double readNumber(const Napi::Value& value, const char* name, const char* code) {
  if (value.IsNumber()) {
    const double number = value.As<Napi::Number>().DoubleValue();
    if (std::isfinite(number)) return number;
  }
  refuse(code, "a finite number", name);
}

int64_t readInteger(const Napi::Value& value, const char* name, int64_t least, int64_t most, const char* code) {
  if (value.IsNumber()) {
    const double number = value.As<Napi::Number>().DoubleValue();
    if (number >= static_cast<double>(least) && number <= static_cast<double>(most) && number == std::floor(number)) {
      return static_cast<int64_t>(number);
    }
  }
  refuse(code, "an integer from " + std::to_string(least) + " to " + std::to_string(most), name);
}

TypedArrayView readTypedArray(const Napi::Value& value, const char* name, const char* code) {
  if (!value.IsTypedArray()) refuse(code, "a typed array", name);
  TypedArrayView view{};
  void* elements = nullptr;
  if (napi_get_typedarray_info(value.Env(), value, &view.type, &view.length, &elements, nullptr, nullptr) != napi_ok) {
    refuse(code, "a typed array", name);
  }
  view.elements = elements;
  return view;
}

bool isShared(const Napi::Value& typedArray) {
  napi_value buffer = nullptr;
  bool isArrayBuffer = true;
  return napi_get_typedarray_info(typedArray.Env(), typedArray, nullptr, nullptr, nullptr, &buffer, nullptr) ==
             napi_ok &&
         napi_is_arraybuffer(typedArray.Env(), buffer, &isArrayBuffer) == napi_ok && !isArrayBuffer;
}

int64_t product(int64_t a, int64_t b) {
  int64_t result = 0;
  if (__builtin_mul_overflow(a, b, &result) || result > kMaxSafeInteger) {
    throw Error(kOutOfMemory, "The result would take more than 9 PB of memory");
  }
  return result;
}

NewArray<uint8_t> newBuffer(Napi::Env env, int64_t bytes) {
  if (bytes > kMaxBufferBytes) {
    throw Error(kOutOfMemory, "The result would take " + std::to_string(bytes) +
                                  " bytes; a typed array holds at most " + std::to_string(kMaxBufferBytes));
  }
  Napi::Value buffer;
  try {
    buffer = Environment::of(env).arrayBuffer.New({Napi::Number::New(env, static_cast<double>(bytes))});
  } catch (const Napi::Error&) {
    throw Error(kOutOfMemory, "Cannot allocate " + std::to_string(bytes) + " bytes for the result");
  }
  void* elements = nullptr;
  napi_get_arraybuffer_info(env, buffer, &elements, nullptr);
  useLargePages(elements, bytes);
  return {buffer, static_cast<uint8_t*>(elements)};
}

}  // namespace segsam
