#include "engine/scene.h"

#include <ATen/Parallel.h>
#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <utility>

#include "engine/counters.h"
#include "ops/mask.h"
#include "ops/upscale.h"

namespace segsam {

namespace {

constexpr int64_t kPadding = -1;
/// Memory that a chunk of prompts may take in the decoders, by the estimate below.
constexpr int64_t kChunkBytes = int64_t{512} << 20;
constexpr int64_t kRowsPerTask = 64;

/// An upper estimate from SAM's architecture: copies of the image tokens, attention between tokens and image, and the
/// upscaled features of two decoders.
int64_t bytesPerPrompt(int64_t featureBytes, int64_t maskSize, int64_t points) {
  constexpr int64_t kTokenCopies = 10;
  constexpr int64_t kBytesPerMaskPixel = 512;
  constexpr int64_t kBytesPerPointAndMaskPixel = 16;
  return kTokenCopies * featureBytes + maskSize * maskSize * (kBytesPerMaskPixel + kBytesPerPointAndMaskPixel * points);
}

/// Points in pixels of the input, (P, N, 2).
at::Tensor inputPoints(const PromptBatch& prompts, const Frame& frame) {
  at::Tensor points = at::empty({prompts.count, prompts.pointsPerPrompt, 2}, at::kFloat);
  auto* target = points.data_ptr<float>();
  for (int64_t i = 0; i < prompts.count * prompts.pointsPerPrompt; ++i) {
    const bool padding = prompts.labels[i] == kPadding;
    target[2 * i] = padding ? 0.0f : frame.inputX(prompts.points[2 * i]);
    target[2 * i + 1] = padding ? 0.0f : frame.inputY(prompts.points[2 * i + 1]);
  }
  return points;
}

at::Tensor toHost(const at::Tensor& tensor) { return tensor.to(at::kCPU, at::kFloat).contiguous(); }

void write(const at::Tensor& tensor, float* target) {
  const at::Tensor host = toHost(tensor);
  std::copy_n(host.const_data_ptr<float>(), host.numel(), target);
}

PromptBatch slice(const PromptBatch& prompts, int64_t begin, int64_t count, int64_t maskSize) {
  return {count, prompts.pointsPerPrompt, prompts.points + begin * prompts.pointsPerPrompt * 2,
          prompts.labels + begin * prompts.pointsPerPrompt,
          prompts.masks == nullptr ? nullptr : prompts.masks + begin * maskSize * maskSize};
}

DecodedViews slice(const DecodedViews& out, int64_t begin, int64_t maskSize, int64_t pixels, int64_t classes) {
  const int64_t masks = begin * out.masksPerPrompt;
  const int64_t logits = maskSize * maskSize;
  return {out.masksPerPrompt,
          out.masks + masks * pixels,
          out.logits + masks * logits,
          out.iou + masks,
          out.semanticMasks + begin * pixels,
          out.semanticLogits + begin * logits,
          out.agreement + masks,
          out.classProbabilities + begin * (classes + 1),
          out.presence + begin * classes};
}

}  // namespace

Scene::Scene(Features features, const Frame& frame) : features_(std::move(features)), frame_(frame), bytes_(0) {
  for (const at::Tensor& feature : features_) bytes_ += static_cast<int64_t>(feature.nbytes());
  ++counters().scenes;
  counters().sceneBytes += bytes_;
}

Scene::~Scene() {
  --counters().scenes;
  counters().sceneBytes -= bytes_;
}

void Scene::decode(Model& model, const PromptBatch& prompts, const ClassSet& classes, float threshold,
                   const DecodedViews& out) {
  const c10::InferenceMode inference;
  const int64_t maskSize = model.options().maskSize;
  const int64_t chunk = std::max<int64_t>(1, kChunkBytes / bytesPerPrompt(bytes_, maskSize, prompts.pointsPerPrompt));
  for (int64_t begin = 0; begin < prompts.count; begin += chunk) {
    const int64_t count = std::min(chunk, prompts.count - begin);
    decodeChunk(model, slice(prompts, begin, count, maskSize), classes, threshold,
                slice(out, begin, maskSize, frame_.width * frame_.height, classes.size));
  }
}

const Conditioning& Scene::conditionedOn(Model& model, const ClassSet& classes) {
  if (!conditioning_ || conditionedClasses_ != classes.id) {
    conditioning_ = model.backend().condition(features_, classes.vectors);
    conditionedClasses_ = classes.id;
  }
  return *conditioning_;
}

void Scene::decodeChunk(Model& model, const PromptBatch& prompts, const ClassSet& classes, float threshold,
                        const DecodedViews& out) {
  const at::Device device = model.options().device;
  const int64_t side = model.options().maskSize;
  const int64_t count = prompts.count;
  const at::Tensor labels =
      at::from_blob(const_cast<int32_t*>(prompts.labels), {count, prompts.pointsPerPrompt}, at::kInt)
          .to(device, at::kLong);
  std::optional<at::Tensor> mask;
  if (prompts.masks != nullptr) {
    mask = at::from_blob(const_cast<float*>(prompts.masks), {count, 1, side, side}, at::kFloat).to(device);
  }
  const DecoderOutput output = model.backend().decode(features_, conditionedOn(model, classes),
                                                      inputPoints(prompts, frame_).to(device), labels, mask);

  constexpr int64_t kMaskTokens = 4;
  expectShape(output.maskLogits, {count, kMaskTokens, side, side}, "decoder.pt: decode's mask logits");
  expectShape(output.iou, {count, kMaskTokens}, "decoder.pt: decode's predicted IoU");
  expectShape(output.semanticLogits, {count, 1, side, side}, "decoder.pt: decode's semantic logits");
  expectShape(output.promptedClassLogits, {count, classes.size + 1}, "decoder.pt: decode's SO class logits");
  const at::Tensor& others = output.otherClassLogits;
  expectShape(others, {count, others.dim() == 3 ? std::max<int64_t>(1, others.size(1)) : 1, classes.size + 1},
              "decoder.pt: decode's CO class logits");

  // Of SAM's mask tokens, the first is for a single mask and the others for three.
  const int64_t first = out.masksPerPrompt == 1 ? 0 : 1;
  write(output.maskLogits.narrow(1, first, out.masksPerPrompt), out.logits);
  write(output.iou.narrow(1, first, out.masksPerPrompt), out.iou);
  write(output.semanticLogits, out.semanticLogits);
  write(output.promptedClassLogits.to(at::kFloat).softmax(-1), out.classProbabilities);
  write(others.to(at::kFloat).softmax(-1).narrow(2, 0, classes.size).amax(1), out.presence);
  upscale(prompts, side, threshold, out);
}

void Scene::upscale(const PromptBatch& prompts, int64_t maskSize, float threshold, const DecodedViews& out) const {
  const MaskUpscaler upscaler(maskSize, frame_);
  const int64_t pixels = frame_.width * frame_.height;
  const auto writeMask = [&](const float* logits, uint8_t* mask) {
    const std::vector<float> input = upscaler.toInput(logits);
    at::parallel_for(0, frame_.height, kRowsPerTask,
                     [&](int64_t begin, int64_t end) { upscaler.writeRows(input, threshold, begin, end, mask); });
  };
  for (int64_t prompt = 0; prompt < prompts.count; ++prompt) {
    uint8_t* semantic = out.semanticMasks + prompt * pixels;
    writeMask(out.semanticLogits + prompt * maskSize * maskSize, semantic);
    for (int64_t i = prompt * out.masksPerPrompt; i < (prompt + 1) * out.masksPerPrompt; ++i) {
      uint8_t* mask = out.masks + i * pixels;
      writeMask(out.logits + i * maskSize * maskSize, mask);
      out.agreement[i] = static_cast<float>(maskIou(mask, semantic, pixels));
    }
  }
}

}  // namespace segsam
