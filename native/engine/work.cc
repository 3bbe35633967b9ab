#include "engine/work.h"

#include <iterator>
#include <utility>

#include "engine/mask_tensor.h"

namespace segsam {

EncodeWork::EncodeWork(std::shared_ptr<Model> model, std::vector<Image> images, std::vector<c10::DataPtr> owned)
    : model_(std::move(model)), images_(std::move(images)), owned_(std::move(owned)) {}

void EncodeWork::run() { runWith({}); }

bool EncodeWork::joins(const Work& other, int64_t total) const {
  const auto* encode = dynamic_cast<const EncodeWork*>(&other);
  return encode != nullptr && encode->model_ == model_ && total <= model_->options().maxEncodeBatch;
}

void EncodeWork::runWith(const std::vector<Work*>& others) {
  std::vector<EncodeWork*> all = {this};
  for (Work* other : others) all.push_back(static_cast<EncodeWork*>(other));
  std::vector<Image> images;
  for (const EncodeWork* each : all) images.insert(images.end(), each->images_.begin(), each->images_.end());
  const std::vector<std::shared_ptr<Scene>> scenes = model_->encode(images);
  auto next = scenes.begin();
  for (EncodeWork* each : all) {
    const auto end = std::next(next, each->items());
    each->scenes_.assign(next, end);
    each->owned_.clear();
    next = end;
  }
}

DecodeWork::DecodeWork(std::shared_ptr<Model> model, std::shared_ptr<Scene> scene,
                       std::shared_ptr<const ClassSet> classes, Prompts prompts, float threshold,
                       const DecodedViews& out)
    : model_(std::move(model)),
      scene_(std::move(scene)),
      classes_(std::move(classes)),
      prompts_(std::move(prompts)),
      threshold_(threshold),
      out_(out) {}

void DecodeWork::run() { runWith({}); }

bool DecodeWork::joins(const Work& other, int64_t total) const {
  const auto* decode = dynamic_cast<const DecodeWork*>(&other);
  return decode != nullptr && decode->scene_ == scene_ && decode->classes_ == classes_ &&
         decode->prompts_.pointsPerPrompt == prompts_.pointsPerPrompt &&
         decode->prompts_.masks.empty() == prompts_.masks.empty() && total <= model_->options().maxDecodeBatch;
}

DecodeRequest DecodeWork::request() {
  // Most callers read few masks and logits: libtorch's memory is used again, that of JavaScript new in each call.
  const int64_t side = model_->options().maskSize;
  const int64_t pixels = scene_->frame().width * scene_->frame().height;
  const int64_t masks = prompts_.count * out_.masksPerPrompt;
  const int64_t semantic = classes_ ? prompts_.count : 0;
  const auto newLogits = [&](int64_t count) { return at::empty({count, side, side}, at::kFloat); };
  masks_ = newMaskTensor(masks, pixels);
  logits_ = newLogits(masks);
  semanticMasks_ = newMaskTensor(semantic, pixels);
  semanticLogits_ = newLogits(semantic);
  out_.masks = wordsOf(masks_);
  out_.logits = logits_.mutable_data_ptr<float>();
  out_.semanticMasks = wordsOf(semanticMasks_);
  out_.semanticLogits = semanticLogits_.mutable_data_ptr<float>();
  return {prompts_.batch(), threshold_, out_};
}

void DecodeWork::runWith(const std::vector<Work*>& others) {
  std::vector<DecodeRequest> requests = {request()};
  for (Work* other : others) requests.push_back(static_cast<DecodeWork*>(other)->request());
  scene_->decode(*model_, classes_.get(), requests);
}

}  // namespace segsam
