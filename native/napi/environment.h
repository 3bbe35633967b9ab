#pragma once

#include <memory>
#include <string>
#include <unordered_set>

#include "napi/napi_setup.h"

namespace segsam {

class Completions;
class HostTally;
class Job;

/// What the addon keeps for one JavaScript environment (the main thread or a worker). Used on its thread only.
struct Environment {
  static Environment& of(Napi::Env env);
  /// Called once an environment, when the addon is loaded there.
  static Environment& create(Napi::Env env);

  /// Given to setErrorClass; empty until then.
  Napi::FunctionReference errorClass;
  /// The intrinsic, taken at load time: it throws where there is no memory, while Node-API's own function aborts.
  Napi::FunctionReference arrayBuffer;

  Napi::FunctionReference model;
  Napi::FunctionReference classSet;
  Napi::FunctionReference scene;
  Napi::FunctionReference logits;
  Napi::FunctionReference maskBits;

  /// Native memory by kind, as V8 is told of it. Objects hold these, too, as some are finalised after the environment.
  std::shared_ptr<HostTally> sceneMemory;
  std::shared_ptr<HostTally> resultMemory;
  std::shared_ptr<HostTally> modelMemory;

  std::shared_ptr<Completions> completions;
  /// Started and not settled.
  std::unordered_set<std::shared_ptr<Job>> pending;

 private:
  static void close(void* environment);
};

/// An error of the class given to setErrorClass.
Napi::Value makeError(Napi::Env env, const std::string& code, const std::string& message);

/// The exception being handled, as a JavaScript error. To be called within a catch block.
Napi::Value currentExceptionAsError(Napi::Env env);

/// Runs the body of a synchronous function: what it throws in C++ is thrown in JavaScript.
template <class Body>
Napi::Value guarded(Napi::Env env, const Body& body) {
  try {
    return body();
  } catch (...) {
    try {
      napi_throw(env, currentExceptionAsError(env));
    } catch (...) {
      // A worker that is being terminated can no longer make the error, and an exception that left here would end the
      // whole process.
    }
    return {};
  }
}

/// Runs the body of a method that returns a promise: what it throws rejects the promise.
template <class Body>
Napi::Value rejecting(Napi::Env env, const Body& body) {
  try {
    return body();
  } catch (...) {
    const Napi::Value error = currentExceptionAsError(env);
    const auto deferred = Napi::Promise::Deferred::New(env);
    deferred.Reject(error);
    return deferred.Promise();
  }
}

}  // namespace segsam
