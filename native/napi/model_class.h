#pragma once

#include <memory>
#include <string>

#include "engine/executor.h"
#include "engine/model.h"
#include "napi/host_memory.h"
#include "napi/napi_setup.h"
#include "napi/wrapped.h"

namespace segsam {

/// A loaded model, shared by its JavaScript object and those of its scenes and class sets. JavaScript thread only; jobs
/// hold the engine's model itself.
class ModelHandle {
 public:
  ModelHandle(Napi::Env env, std::shared_ptr<Executor> executor, std::shared_ptr<Model> model, int64_t maxQueue);

  /// @throws Error DISPOSED
  const std::shared_ptr<Model>& model() const;
  const std::shared_ptr<Executor>& executor() const { return executor_; }
  const ModelOptions& options() const { return options_; }
  const std::shared_ptr<Traffic>& traffic() const { return traffic_; }
  const SceneMeter& scenes() const { return *scenes_; }
  bool disposed() const { return model_ == nullptr; }
  void dispose();

 private:
  std::shared_ptr<Executor> executor_;
  std::shared_ptr<Model> model_;
  ModelOptions options_;
  std::shared_ptr<Traffic> traffic_;
  std::shared_ptr<SceneMeter> scenes_;
  HostMemory memory_;
};

/// Behind a Model of JavaScript.
struct ModelObject {
  std::shared_ptr<ModelHandle> handle;
};

/// Behind a ClassSet of JavaScript.
struct ClassSetObject {
  std::shared_ptr<ModelHandle> model;
  /// Null once disposed.
  std::shared_ptr<const ClassSet> classes;
  int64_t size;
};

template <>
struct WrappedType<ModelObject> {
  static constexpr const char* kName = "Model";
  static constexpr napi_type_tag kTag = {0x5e65a40c8d6b4f11, 0x0c8e5f3b6a714d92};
};

template <>
struct WrappedType<ClassSetObject> {
  static constexpr const char* kName = "ClassSet";
  static constexpr napi_type_tag kTag = {0x5e65a40c8d6b4f12, 0xb1d24c7790fa4e83};
};

Napi::Function modelClass(Napi::Env env);
Napi::Function classSetClass(Napi::Env env);

}  // namespace segsam
