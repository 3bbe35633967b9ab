#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "error.h"
#include "napi/environment.h"
#include "napi/napi_setup.h"

namespace segsam {

// Reading what JavaScript passes. Every function throws Error with the given code where the value is not what it must
// be. Typed arrays are looked at without running any JavaScript, so what they point to holds until the next call of
// JavaScript.

/// Of images and masks, in pixels: what Frame::of allows.
inline constexpr int64_t kMaxSide = 0x7fffffff;
/// Of the model's input and of its logits; squared and multiplied they stay far from overflow.
inline constexpr int64_t kMaxImageSize = 16384;
inline constexpr int64_t kMaxMaskSize = 8192;

/// The elements of a typed array, not owned.
struct TypedArrayView {
  napi_typedarray_type type;
  const void* elements;
  size_t length;
};

Napi::Object readObject(const Napi::Value& value, const char* name, const char* code = kInvalidArgument);
std::string readString(const Napi::Value& value, const char* name);
bool readBoolean(const Napi::Value& value, const char* name, const char* code = kInvalidArgument);
double readNumber(const Napi::Value& value, const char* name, const char* code = kInvalidArgument);
int64_t readInteger(const Napi::Value& value, const char* name, int64_t least, int64_t most,
                    const char* code = kInvalidArgument);

TypedArrayView readTypedArray(const Napi::Value& value, const char* name, const char* code = kInvalidArgument);

/// Whether a typed array is one on shared memory, which can be neither transferred nor made smaller.
bool isShared(const Napi::Value& typedArray);

template <class T>
struct ElementType;
template <>
struct ElementType<uint8_t> {
  static constexpr napi_typedarray_type kType = napi_uint8_array;
  static constexpr const char* kName = "Uint8Array";
};
template <>
struct ElementType<int32_t> {
  static constexpr napi_typedarray_type kType = napi_int32_array;
  static constexpr const char* kName = "Int32Array";
};
template <>
struct ElementType<uint32_t> {
  static constexpr napi_typedarray_type kType = napi_uint32_array;
  static constexpr const char* kName = "Uint32Array";
};
template <>
struct ElementType<float> {
  static constexpr napi_typedarray_type kType = napi_float32_array;
  static constexpr const char* kName = "Float32Array";
};
template <>
struct ElementType<double> {
  static constexpr napi_typedarray_type kType = napi_float64_array;
  static constexpr const char* kName = "Float64Array";
};
template <>
struct ElementType<int64_t> {
  static constexpr napi_typedarray_type kType = napi_bigint64_array;
  static constexpr const char* kName = "BigInt64Array";
};

template <class T>
struct ArrayView {
  T* elements;
  int64_t length;
};

/// @throws Error also for another kind of typed array
template <class T>
ArrayView<T> readArray(const Napi::Value& value, const char* name, const char* code = kInvalidArgument) {
  const TypedArrayView view = readTypedArray(value, name, code);
  if (view.type != ElementType<T>::kType) {
    throw Error(code, std::string("Expected a ") + ElementType<T>::kName + " for " + name);
  }
  return {static_cast<T*>(const_cast<void*>(view.elements)), static_cast<int64_t>(view.length)};
}

/// @throws Error also for another length (0 where the buffer is detached)
template <class T>
ArrayView<T> readArray(const Napi::Value& value, const char* name, int64_t length,
                       const char* code = kInvalidArgument) {
  const ArrayView<T> view = readArray<T>(value, name, code);
  if (view.length != length) {
    throw Error(code, std::string("Expected ") + std::to_string(length) + " elements for " + name + ", got " +
                          std::to_string(view.length) + " (0 where its buffer was transferred)");
  }
  return view;
}

template <class T>
std::vector<T> copyOf(const ArrayView<T>& view) {
  return std::vector<T>(view.elements, view.elements + view.length);
}

/// a * b.
/// @throws Error OUT_OF_MEMORY beyond 2^53, which no buffer can hold
int64_t product(int64_t a, int64_t b);

/// A typed array that JavaScript allocated.
template <class T>
struct NewArray {
  Napi::Value value;
  T* elements;
};

/// @throws Error OUT_OF_MEMORY
NewArray<uint8_t> newBuffer(Napi::Env env, int64_t bytes);

template <class T>
NewArray<T> newArray(Napi::Env env, int64_t length) {
  const NewArray<uint8_t> buffer = newBuffer(env, product(length, sizeof(T)));
  napi_value array = nullptr;
  if (napi_create_typedarray(env, ElementType<T>::kType, length, buffer.value, 0, &array) != napi_ok) {
    throw Error(kOutOfMemory, "Cannot make an array of " + std::to_string(length) + " elements");
  }
  return {Napi::Value(env, array), reinterpret_cast<T*>(buffer.elements)};
}

}  // namespace segsam
