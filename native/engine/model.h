#pragma once

#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "engine/backend.h"
#include "engine/device.h"
#include "engine/image.h"
#include "ops/frame.h"

namespace segsam {

class Scene;
struct SceneMeter;

struct ModelOptions {
  at::Device device = at::kCPU;
  /// Resolved: not kAuto.
  Precision precision = Precision::kFp32;
  int64_t imageSize = 0;
  ResizeMode resizeMode = ResizeMode::kLongest;
  Normalisation normalisation{};
  int64_t maskSize = 0;
  int64_t textWidth = 0;
  /// Whether prompts will be decoded with classes, too: a scene then keeps what that takes, or it takes longer.
  bool namesObjects = true;
  /// Images, and prompts, of different callers that are computed together.
  int64_t maxEncodeBatch = 1;
  int64_t maxDecodeBatch = 1;
};

/// K class vectors of one model, immutable.
struct ClassSet {
  /// (K, C) on the model's device.
  at::Tensor vectors;
  int64_t size;
  /// Unlike that of any other class set of the process.
  uint64_t id;
};

/// A loaded bundle. All methods but the getters are for the threads of the device's executor.
class Model {
 public:
  /// @throws Error BUNDLE_INVALID, DEVICE_UNAVAILABLE, OUT_OF_MEMORY
  static std::shared_ptr<Model> load(const ModelFiles& files, const ModelOptions& options);

  Model(std::unique_ptr<Backend> backend, const ModelOptions& options);
  Model(const Model&) = delete;
  Model& operator=(const Model&) = delete;
  ~Model();

  /// Tokens (rows, length), row-major, to embeddings (rows, textWidth).
  void embedText(const int64_t* ids, const int64_t* attention, int64_t rows, int64_t length, float* embeddings);

  /// @param sentences (sum of counts, textWidth)
  /// @param counts sentences of each class, each at least 1
  std::shared_ptr<const ClassSet> prepareClasses(const float* sentences, const std::vector<int32_t>& counts);

  /// One forward pass for all images.
  std::vector<std::shared_ptr<Scene>> encode(const std::vector<Image>& images);

  /// A scene from what `Scene::copyFeatures` gave.
  /// @param shapes of the features, each with a leading batch dimension of 1
  std::shared_ptr<Scene> restore(int64_t width, int64_t height, const std::vector<std::vector<int64_t>>& shapes,
                                 const float* values);

  const ModelOptions& options() const { return options_; }
  bool hasTextEncoder() const { return backend_->hasTextEncoder(); }
  bool decodesBinary() const { return backend_->decodesBinary(); }
  int64_t bytes() const { return backend_->bytes(); }
  /// Why a GPU computes without kernels of this addon; empty where it has them, or needs none.
  const std::string& kernelFailure() const { return kernelFailure_; }
  Backend& backend() { return *backend_; }
  const std::shared_ptr<SceneMeter>& scenes() const { return scenes_; }

 private:
  std::unique_ptr<Backend> backend_;
  ModelOptions options_;
  std::shared_ptr<SceneMeter> scenes_;
  std::string kernelFailure_;
};

/// @throws Error BUNDLE_INVALID where a module returned another shape than docs/bundle.md says
void expectShape(const at::Tensor& tensor, at::IntArrayRef shape, const char* what);

}  // namespace segsam
