#include "engine/scene.h"

#include <ATen/Parallel.h>
#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <numeric>
#include <utility>

#include "cuda/kernel.h"
#include "engine/counters.h"
#include "engine/device.h"
#include "engine/transfer.h"
#include "ops/mask_bits.h"

namespace segsam {

namespace {

int64_t countOf(const std::vector<DecodeRequest>& requests) {
  return std::accumulate(requests.begin(), requests.end(), int64_t{0},
                         [](int64_t sum, const DecodeRequest& request) { return sum + request.prompts.count; });
}

int64_t bytesOf(const Features& features) {
  return std::accumulate(features.begin(), features.end(), int64_t{0}, [](int64_t sum, const at::Tensor& feature) {
    return sum + static_cast<int64_t>(feature.nbytes());
  });
}

constexpr int64_t kPadding = -1;
/// Prompts of a chunk, of `count` in all, by the memory that they take in the decoders. On the CPU each core may
/// compute one. Larger ones take longer, as what one layer writes has left the cache when the next one reads it, and so
/// do smaller ones, whose operations on tokens are many (docs/performance.md): between the two, every core gets as
/// many. On a GPU the host waits for each chunk: it may take a sixteenth of the memory.
int64_t chunkSize(at::Device device, int64_t count, int64_t bytesPerPrompt) {
  const auto promptsIn = [&](int64_t bytes) { return std::max<int64_t>(1, bytes / bytesPerPrompt); };
  if (!device.is_cpu()) return promptsIn(std::max(int64_t{512} << 20, memoryOf(device) / 16));
  return std::clamp(at::divup(count, at::get_num_threads()), promptsIn(int64_t{160} << 20),
                    promptsIn(int64_t{320} << 20));
}

/// An upper estimate from SAM's architecture: copies of the image tokens, attention between tokens and image, and the
/// upscaled features of two decoders.
int64_t bytesPerPrompt(int64_t featureBytes, int64_t maskSize, int64_t points) {
  constexpr int64_t kTokenCopies = 10;
  constexpr int64_t kBytesPerMaskPixel = 512;
  constexpr int64_t kBytesPerPointAndMaskPixel = 16;
  return kTokenCopies * featureBytes + maskSize * maskSize * (kBytesPerMaskPixel + kBytesPerPointAndMaskPixel * points);
}

/// Points in pixels of the input, (P, N, 2).
at::Tensor inputPoints(const std::vector<DecodeRequest>& requests, const Frame& frame) {
  at::Tensor points = at::empty({countOf(requests), requests[0].prompts.pointsPerPrompt, 2}, at::kFloat);
  auto* target = points.data_ptr<float>();
  for (const auto& [prompts, threshold, out] : requests) {
    for (int64_t i = 0; i < prompts.count * prompts.pointsPerPrompt; ++i) {
      const bool padding = prompts.labels[i] == kPadding;
      *target++ = padding ? 0.0f : frame.inputX(prompts.points[2 * i]);
      *target++ = padding ? 0.0f : frame.inputY(prompts.points[2 * i + 1]);
    }
  }
  return points;
}

/// (P, N)
at::Tensor inputLabels(const std::vector<DecodeRequest>& requests) {
  std::vector<at::Tensor> labels;
  for (const auto& [prompts, threshold, out] : requests) {
    labels.push_back(
        at::from_blob(const_cast<int32_t*>(prompts.labels), {prompts.count, prompts.pointsPerPrompt}, at::kInt));
  }
  return at::cat(labels).to(at::kLong);
}

/// (P, 1, side, side), or none.
std::optional<at::Tensor> inputMasks(const std::vector<DecodeRequest>& requests, int64_t side) {
  if (requests[0].prompts.masks == nullptr) return std::nullopt;
  std::vector<at::Tensor> masks;
  for (const auto& [prompts, threshold, out] : requests) {
    masks.push_back(at::from_blob(const_cast<float*>(prompts.masks), {prompts.count, 1, side, side}, at::kFloat));
  }
  return at::cat(masks);
}

PromptBatch slice(const PromptBatch& prompts, int64_t begin, int64_t count, int64_t maskSize) {
  return {count, prompts.pointsPerPrompt, prompts.points + begin * prompts.pointsPerPrompt * 2,
          prompts.labels + begin * prompts.pointsPerPrompt,
          prompts.masks == nullptr ? nullptr : prompts.masks + begin * maskSize * maskSize};
}

/// @param classes none where nothing is written of them
DecodedViews slice(const DecodedViews& out, int64_t begin, int64_t maskSize, int64_t pixels, const ClassSet* classes) {
  const int64_t masks = begin * out.masksPerPrompt;
  const int64_t logits = maskSize * maskSize;
  const int64_t words = maskWords(pixels);
  DecodedViews part{out.masksPerPrompt, out.masks + masks * words, out.logits + masks * logits, out.iou + masks};
  if (out.maskBytes != nullptr) part.maskBytes = out.maskBytes + masks * pixels;
  if (classes == nullptr) return part;
  part.semanticMasks = out.semanticMasks + begin * words;
  part.semanticLogits = out.semanticLogits + begin * logits;
  part.agreement = out.agreement + masks;
  part.classProbabilities = out.classProbabilities + begin * (classes->size + 1);
  part.presence = out.presence + begin * classes->size;
  return part;
}

struct DecoderInput {
  at::Tensor points;
  at::Tensor labels;
  std::optional<at::Tensor> mask;
};

/// On the model's device.
DecoderInput inputOf(const std::vector<DecodeRequest>& requests, const Frame& frame, const ModelOptions& options) {
  std::optional<at::Tensor> mask = inputMasks(requests, options.maskSize);
  if (mask) mask = upload(*mask, options.device);
  return {upload(inputPoints(requests, frame), options.device), upload(inputLabels(requests), options.device),
          std::move(mask)};
}

/// Checks what a bundle returned.
ChunkOutput binaryOutput(const BinaryOutput& output, int64_t count, int64_t side) {
  constexpr int64_t kMaskTokens = 4;
  expectShape(output.maskLogits, {count, kMaskTokens, side, side}, "decoder.pt: decode's mask logits");
  expectShape(output.iou, {count, kMaskTokens}, "decoder.pt: decode's predicted IoU");
  return {output.maskLogits.to(at::kFloat), output.iou.to(at::kFloat), {}, {}, {}};
}

}  // namespace

Scene::Scene(Model& model, Features features, const Frame& frame)
    : features_(std::move(features)), frame_(frame), meter_(model.scenes()) {
  // As the decoders read them: on the CPU with the channels of a position side by side, as the encoder writes them
  // there, on a device one plane after the other.
  for (at::Tensor& feature : features_) {
    const bool channelsLast = feature.device().is_cpu() && feature.dim() == 4;
    feature = feature.contiguous(channelsLast ? at::MemoryFormat::ChannelsLast : at::MemoryFormat::Contiguous);
  }
  decoded_ = model.backend().share(features_, model.options().namesObjects);
  bytes_ = bytesOf(decoded_);
  ++counters().scenes;
  counters().sceneBytes += bytes_;
  ++meter_->scenes;
  meter_->bytes += bytes_;
}

Scene::~Scene() {
  --counters().scenes;
  counters().sceneBytes -= bytes_;
  --meter_->scenes;
  meter_->bytes -= bytes_;
}

int64_t Scene::featureValues() const { return bytesOf(features_) / static_cast<int64_t>(sizeof(float)); }

void Scene::copyFeatures(float* target) const {
  for (const at::Tensor& feature : features_) {
    download(feature, target);
    target += feature.numel();
  }
}

void Scene::decode(Model& model, const PromptBatch& prompts, const ClassSet* classes, float threshold,
                   const DecodedViews& out) {
  decode(model, classes, {{prompts, threshold, out}});
}

void Scene::decode(Model& model, const ClassSet* classes, const std::vector<DecodeRequest>& requests) {
  const c10::InferenceMode inference;
  const int64_t maskSize = model.options().maskSize;
  const int64_t pixels = frame_.width * frame_.height;
  // On a device the masks are held twice, a bit per pixel, before they are copied to the host.
  const int64_t heldMasks = model.options().device.is_cpu() ? 0 : 2 * pixels * (requests[0].out.masksPerPrompt + 1) / 8;
  const int64_t bytes = bytesPerPrompt(bytesOf(features_), maskSize, requests[0].prompts.pointsPerPrompt) + heldMasks;
  const int64_t chunk = chunkSize(model.options().device, countOf(requests), bytes);
  std::vector<std::vector<DecodeRequest>> chunks(1);
  int64_t room = chunk;
  for (const auto& [prompts, threshold, out] : requests) {
    for (int64_t begin = 0; begin < prompts.count;) {
      if (room == 0) {
        chunks.emplace_back();
        room = chunk;
      }
      const int64_t count = std::min(room, prompts.count - begin);
      chunks.back().push_back(
          {slice(prompts, begin, count, maskSize), threshold, slice(out, begin, maskSize, pixels, classes)});
      begin += count;
      room -= count;
    }
  }
  const Conditioning conditioning = classes == nullptr ? Conditioning{} : conditionedOn(model, *classes);
  // On the CPU each core computes chunks of its own, which wait for nothing, where there are enough of them.
  const auto count = static_cast<int64_t>(chunks.size());
  if (!model.options().device.is_cpu() || 2 * count < at::get_num_threads()) {
    for (const auto& parts : chunks) decodeChunk(model, classes, conditioning, parts);
    return;
  }
  at::parallel_for(0, static_cast<int64_t>(chunks.size()), 1, [&](int64_t begin, int64_t end) {
    const c10::InferenceMode inferenceOfThread;
    for (int64_t i = begin; i < end; ++i) decodeChunk(model, classes, conditioning, chunks[i]);
  });
}

Conditioning Scene::conditionedOn(Model& model, const ClassSet& classes) {
  // Who comes while it is computed waits for it.
  const std::lock_guard lock(conditioningMutex_);
  if (!conditioning_ || conditionedClasses_ != classes.id) {
    conditioning_ = model.backend().condition(features_, classes.vectors);
    synchronise(model.options().device);
    conditionedClasses_ = classes.id;
  }
  return *conditioning_;
}

void Scene::decodeChunk(Model& model, const ClassSet* classes, const Conditioning& conditioning,
                        const std::vector<DecodeRequest>& parts) {
  const ChunkOutput output =
      classes == nullptr ? decodeBinary(model, parts) : decodeNamed(model, *classes, conditioning, parts);
  if (model.options().device.is_cpu()) {
    writeOnHost(output, parts, frame_);
  } else {
    writeOnDevice(output, parts, frame_);
  }
}

ChunkOutput Scene::decodeBinary(Model& model, const std::vector<DecodeRequest>& parts) {
  const DecoderInput input = inputOf(parts, frame_, model.options());
  const BinaryOutput output = model.backend().decodeBinary(decoded_, input.points, input.labels, input.mask);
  return binaryOutput(output, countOf(parts), model.options().maskSize);
}

ChunkOutput Scene::decodeNamed(Model& model, const ClassSet& classes, const Conditioning& conditioning,
                               const std::vector<DecodeRequest>& parts) {
  const int64_t side = model.options().maskSize;
  const int64_t count = countOf(parts);
  const DecoderInput input = inputOf(parts, frame_, model.options());
  const DecoderOutput output = model.backend().decode(decoded_, conditioning, input.points, input.labels, input.mask);

  expectShape(output.semanticLogits, {count, 1, side, side}, "decoder.pt: decode's semantic logits");
  expectShape(output.promptedClassLogits, {count, classes.size + 1}, "decoder.pt: decode's SO class logits");
  const at::Tensor& others = output.otherClassLogits;
  expectShape(others, {count, others.dim() == 3 ? std::max<int64_t>(1, others.size(1)) : 1, classes.size + 1},
              "decoder.pt: decode's CO class logits");
  ChunkOutput result = binaryOutput({output.maskLogits, output.iou}, count, side);
  result.semanticLogits = output.semanticLogits.squeeze(1).to(at::kFloat);
  result.classProbabilities = output.promptedClassLogits.to(at::kFloat).softmax(-1);
  result.presence = others.to(at::kFloat).softmax(-1).narrow(2, 0, classes.size).amax(1);
  return result;
}

}  // namespace segsam
