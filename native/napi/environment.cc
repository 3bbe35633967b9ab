#include "napi/environment.h"

#include "engine/failure.h"
#include "error.h"
#include "napi/host_memory.h"
#include "napi/job.h"

namespace segsam {

namespace {

/// Who uses many scenes disposes of them. 75 of the default model, 36 of SAM's ViT-B at 1024² in bf16.
constexpr int64_t kUntoldOfScenes = int64_t{256} << 20;
/// Masks and logits. Those of 200 clicks of one mask at 256² on the default model, by when the collector has mostly
/// come by itself, without marking the whole heap. So many bytes may be held longer than V8 would hold them, in each
/// JavaScript thread.
constexpr int64_t kUntoldOfResults = int64_t{32} << 20;

}  // namespace

Environment& Environment::of(Napi::Env env) { return *env.GetInstanceData<Environment>(); }

Environment& Environment::create(Napi::Env env) {
  auto* environment = new Environment;
  env.SetInstanceData(environment);
  environment->arrayBuffer = Napi::Persistent(env.Global().Get("ArrayBuffer").As<Napi::Function>());
  environment->sceneMemory = std::make_shared<HostTally>(env, kUntoldOfScenes);
  environment->resultMemory = std::make_shared<HostTally>(env, kUntoldOfResults);
  environment->modelMemory = std::make_shared<HostTally>(env, 0);
  environment->completions = Completions::open(env);
  // Hooks run in the reverse order of their registration: this one before that of the thread-safe function just made.
  napi_add_env_cleanup_hook(env, &Environment::close, environment);
  return *environment;
}

void Environment::close(void* data) {
  auto* environment = static_cast<Environment*>(data);
  // From here on nothing is settled any more. Memory of this environment is written by its running jobs: wait for them.
  environment->completions->close();
  for (const auto& job : environment->pending) job->abandon();
  environment->pending.clear();
}

Napi::Value makeError(Napi::Env env, const std::string& code, const std::string& message) {
  try {
    const Environment& environment = Environment::of(env);
    if (!environment.errorClass.IsEmpty()) {
      return environment.errorClass.New({Napi::String::New(env, code), Napi::String::New(env, message)});
    }
  } catch (const Napi::Error&) {
    // A class that cannot be constructed must not hide the failure.
  }
  Napi::Error error = Napi::Error::New(env, message);
  error.Set("code", Napi::String::New(env, code));
  return error.Value();
}

Napi::Value currentExceptionAsError(Napi::Env env) {
  try {
    throw;
  } catch (const Napi::Error& error) {
    return error.Value();
  } catch (...) {
    const Failure failure = describeCurrentException();
    return makeError(env, failure.code, failure.message);
  }
}

}  // namespace segsam
