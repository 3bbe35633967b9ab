#pragma once

#include <c10/core/Allocator.h>

#include <cstdint>
#include <memory>
#include <vector>

#include "engine/scene.h"

namespace segsam {

/// What a task computes, on a thread of the executor. Throws where it fails.
class Work {
 public:
  virtual ~Work() = default;
  virtual void run() = 0;

  /// Images or prompts that it computes.
  virtual int64_t items() const { return 1; }
  /// Whether `other` can be computed in one pass with this one and others that joined before, `total` items in all.
  virtual bool joins(const Work& /*other*/, int64_t /*total*/) const { return false; }
  /// Computes this one and those that join it. Each of them may run alone afterwards if that throws.
  virtual void runWith(const std::vector<Work*>& others) = 0;
};

/// Work that never joins another.
class SingleWork : public Work {
 public:
  void runWith(const std::vector<Work*>& /*others*/) final { run(); }
};

/// Images of one caller. Those of several are one batch of the encoder, up to the model's `maxEncodeBatch`.
class EncodeWork : public Work {
 public:
  /// @param owned pixels that live as long as the work; others are borrowed
  EncodeWork(std::shared_ptr<Model> model, std::vector<Image> images, std::vector<c10::DataPtr> owned);

  void run() override;
  int64_t items() const override { return static_cast<int64_t>(images_.size()); }
  bool joins(const Work& other, int64_t total) const override;
  void runWith(const std::vector<Work*>& others) override;

  /// In the order of the images; empty until it has run.
  std::vector<std::shared_ptr<Scene>>& scenes() { return scenes_; }

 private:
  std::shared_ptr<Model> model_;
  std::vector<Image> images_;
  std::vector<c10::DataPtr> owned_;
  std::vector<std::shared_ptr<Scene>> scenes_;
};

/// Prompts, copied.
struct Prompts {
  int64_t count;
  int64_t pointsPerPrompt;
  std::vector<float> points;
  std::vector<int32_t> labels;
  std::vector<float> masks;

  PromptBatch batch() const {
    return {count, pointsPerPrompt, points.data(), labels.data(), masks.empty() ? nullptr : masks.data()};
  }
};

/// Prompts of one caller. Those of several on one scene, of one shape and with one class set, are decoded together, up
/// to the model's `maxDecodeBatch`.
class DecodeWork : public Work {
 public:
  /// @param classes null: masks alone
  /// @param out written to when it runs, not owned; masks and logits are memory of this work instead
  DecodeWork(std::shared_ptr<Model> model, std::shared_ptr<Scene> scene, std::shared_ptr<const ClassSet> classes,
             Prompts prompts, float threshold, const DecodedViews& out);

  void run() override;
  int64_t items() const override { return prompts_.count; }
  bool joins(const Work& other, int64_t total) const override;
  void runWith(const std::vector<Work*>& others) override;

  // Undefined until it has run. Without classes there are 0 semantic ones.

  /// (P * M, words), bits
  const at::Tensor& masks() const { return masks_; }
  /// (P * M, side, side)
  const at::Tensor& logits() const { return logits_; }
  /// (P, words), bits
  const at::Tensor& semanticMasks() const { return semanticMasks_; }
  /// (P, side, side)
  const at::Tensor& semanticLogits() const { return semanticLogits_; }

 private:
  DecodeRequest request();

  std::shared_ptr<Model> model_;
  std::shared_ptr<Scene> scene_;
  std::shared_ptr<const ClassSet> classes_;
  Prompts prompts_;
  float threshold_;
  DecodedViews out_;
  at::Tensor masks_;
  at::Tensor logits_;
  at::Tensor semanticMasks_;
  at::Tensor semanticLogits_;
};

}  // namespace segsam
