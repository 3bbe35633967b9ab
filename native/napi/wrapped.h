#pragma once

#include <initializer_list>
#include <memory>
#include <string>
#include <vector>

#include "error.h"
#include "napi/environment.h"
#include "napi/napi_setup.h"

namespace segsam {

/// Specialised for each C++ type that is behind a JavaScript class: `kName`, and `kTag`, which makes a wrong receiver
/// an error instead of a crash.
template <class T>
struct WrappedType;

using Callback = Napi::Value (*)(const Napi::CallbackInfo&);

/// A member of a class. The callbacks throw Error or Napi::Error; asynchronous ones reject instead.
struct Member {
  const char* name;
  Callback call = nullptr;
  Callback get = nullptr;
  bool isStatic = false;
};

inline Member method(const char* name, Callback call) { return {name, call, nullptr, false}; }
inline Member staticMethod(const char* name, Callback call) { return {name, call, nullptr, true}; }
inline Member getter(const char* name, Callback get) { return {name, nullptr, get, false}; }

/// @throws Error INVALID_ARGUMENT where the value is not an object of that class
template <class T>
T& unwrap(Napi::Value value) {
  bool matches = false;
  void* native = nullptr;
  if (value.IsObject() && napi_check_object_type_tag(value.Env(), value, &WrappedType<T>::kTag, &matches) == napi_ok &&
      matches && napi_unwrap(value.Env(), value, &native) == napi_ok) {
    return *static_cast<T*>(native);
  }
  throw Error(kInvalidArgument, std::string("Expected a ") + WrappedType<T>::kName + " of seg-sam");
}

template <class T>
void attach(const Napi::Object& object, std::unique_ptr<T> native) {
  const Napi::Env env = object.Env();
  const auto finalize = [](napi_env, void* data, void*) { delete static_cast<T*>(data); };
  T* raw = native.release();
  if (napi_wrap(env, object, raw, finalize, nullptr, nullptr) != napi_ok) {
    delete raw;
    throw Napi::Error::New(env, std::string("Cannot make a ") + WrappedType<T>::kName);
  }
  if (napi_type_tag_object(env, object, &WrappedType<T>::kTag) != napi_ok) {
    throw Napi::Error::New(env, std::string("Cannot make a ") + WrappedType<T>::kName);
  }
}

namespace wrapped_detail {

/// Handed to constructors that JavaScript must not call.
inline char privateKey;

inline napi_value invoke(napi_env rawEnv, napi_callback_info rawInfo) {
  const Napi::CallbackInfo info(rawEnv, rawInfo);
  return guarded(info.Env(), [&] { return reinterpret_cast<Callback>(info.Data())(info); });
}

inline Napi::Function define(Napi::Env env, const char* name, napi_callback constructor,
                             std::initializer_list<Member> members) {
  std::vector<napi_property_descriptor> properties;
  for (const Member& member : members) {
    const int attributes = member.get != nullptr ? napi_default : napi_default_method;
    properties.push_back(
        {member.name, nullptr, member.call != nullptr ? &invoke : nullptr, member.get != nullptr ? &invoke : nullptr,
         nullptr, nullptr,
         static_cast<napi_property_attributes>(member.isStatic ? attributes | napi_static : attributes),
         reinterpret_cast<void*>(member.call != nullptr ? member.call : member.get)});
  }
  napi_value result = nullptr;
  if (napi_define_class(env, name, NAPI_AUTO_LENGTH, constructor, nullptr, properties.size(), properties.data(),
                        &result) != napi_ok) {
    throw Napi::Error::New(env, std::string("Cannot define the class ") + name);
  }
  return {env, result};
}

}  // namespace wrapped_detail

/// A class whose objects only the addon makes, with `wrap`.
template <class T>
Napi::Function defineClass(Napi::Env env, std::initializer_list<Member> members) {
  const auto constructor = [](napi_env rawEnv, napi_callback_info rawInfo) -> napi_value {
    const Napi::CallbackInfo info(rawEnv, rawInfo);
    return guarded(info.Env(), [&]() -> Napi::Value {
      if (!info[0].IsExternal() || info[0].As<Napi::External<char>>().Data() != &wrapped_detail::privateKey) {
        throw Error(kInvalidArgument, std::string("A ") + WrappedType<T>::kName + " cannot be made with new");
      }
      return info.This();
    });
  };
  return wrapped_detail::define(env, WrappedType<T>::kName, constructor, members);
}

/// A class that JavaScript constructs without arguments.
template <class T>
Napi::Function defineOpenClass(Napi::Env env, std::initializer_list<Member> members) {
  const auto constructor = [](napi_env rawEnv, napi_callback_info rawInfo) -> napi_value {
    const Napi::CallbackInfo info(rawEnv, rawInfo);
    return guarded(info.Env(), [&]() -> Napi::Value {
      if (!info.IsConstructCall()) {
        throw Error(kInvalidArgument, std::string(WrappedType<T>::kName) + " must be called with new");
      }
      attach(info.This().As<Napi::Object>(), std::make_unique<T>());
      return info.This();
    });
  };
  return wrapped_detail::define(env, WrappedType<T>::kName, constructor, members);
}

/// A new object of a class of `defineClass`.
template <class T>
Napi::Object wrap(const Napi::FunctionReference& constructor, std::unique_ptr<T> native) {
  const Napi::Env env = constructor.Env();
  const Napi::Object object = constructor.New({Napi::External<char>::New(env, &wrapped_detail::privateKey)});
  attach(object, std::move(native));
  return object;
}

}  // namespace segsam
