#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "engine/decode_output.h"
#include "engine/decode_request.h"
#include "engine/model.h"

namespace segsam {

/// The live scenes of one model.
struct SceneMeter {
  std::atomic<int64_t> scenes{0};
  std::atomic<int64_t> bytes{0};
};

/// One encoded image. Constructor and `decode` are for the threads of the device's executor.
class Scene {
 public:
  /// @param features float32, on the model's device
  Scene(Model& model, Features features, const Frame& frame);
  Scene(const Scene&) = delete;
  Scene& operator=(const Scene&) = delete;
  ~Scene();

  /// Decodes in chunks that bound the memory, on the CPU as many of them at once as there are cores; no prompt's result
  /// depends on the others.
  ///
  /// @param classes null: by the semantic-agnostic decoder alone, where the model `decodesBinary`
  void decode(Model& model, const PromptBatch& prompts, const ClassSet* classes, float threshold,
              const DecodedViews& out);

  /// The same for several callers at once. Their prompts have the same number of points, all of them with a mask or
  /// none.
  void decode(Model& model, const ClassSet* classes, const std::vector<DecodeRequest>& requests);

  const Frame& frame() const { return frame_; }
  /// float32, on the model's device.
  const Features& features() const { return features_; }
  /// Of all features.
  int64_t featureValues() const;
  /// Copies the values of all features, one after the other, to the host: `featureValues()`.
  void copyFeatures(float* target) const;
  /// Of the features and what decoders share of them, on the model's device.
  int64_t bytes() const { return bytes_; }

 private:
  Conditioning conditionedOn(Model& model, const ClassSet& classes);
  void decodeChunk(Model& model, const ClassSet* classes, const Conditioning& conditioning,
                   const std::vector<DecodeRequest>& parts);
  ChunkOutput decodeBinary(Model& model, const std::vector<DecodeRequest>& parts);
  ChunkOutput decodeNamed(Model& model, const ClassSet& classes, const Conditioning& conditioning,
                          const std::vector<DecodeRequest>& parts);

  Features features_;
  /// What decoders are given: the features, and what they share of them.
  Features decoded_;
  Frame frame_;
  std::shared_ptr<SceneMeter> meter_;
  int64_t bytes_ = 0;
  std::mutex conditioningMutex_;
  /// That of the class set decoded with last: interactive use repeats it.
  std::optional<Conditioning> conditioning_;
  uint64_t conditionedClasses_ = 0;
};

}  // namespace segsam
