#include "engine/model.h"

#include <ATen/Context.h>
#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <atomic>
#include <numeric>
#include <utility>

#include "cuda/input.h"
#include "cuda/masks.h"
#include "engine/counters.h"
#include "engine/device.h"
#include "engine/scene.h"
#include "engine/transfer.h"
#include "error.h"

namespace segsam {

std::shared_ptr<Model> Model::load(const ModelFiles& files, const ModelOptions& options) {
  // On a processor that it does not know, it writes a line to stderr for each convolution and computes none.
  at::globalContext().setUserEnabledNNPACK(false);
  // First, or a device that does not work would be taken for a damaged bundle.
  tryDevice(options.device);
  auto backend = loadTorchScript(files, options.device, options.precision);
  auto model = std::make_shared<Model>(std::move(backend), options);
  // Tasks of other streams use it, here and below.
  synchronise(options.device);
  return model;
}

Model::Model(std::unique_ptr<Backend> backend, const ModelOptions& options)
    : backend_(std::move(backend)), options_(options), scenes_(std::make_shared<SceneMeter>()) {
  ++counters().models;
  kernelFailure_ = backend_->kernelFailure();
  const at::Device device = options.device;
  if (!device.is_cuda()) return;
  if (kernelFailure_.empty()) kernelFailure_ = whyNoInput(device, scalarType(options.precision));
  if (kernelFailure_.empty()) kernelFailure_ = whyNoMaskBits(device);
}

Model::~Model() { --counters().models; }

void Model::embedText(const int64_t* ids, const int64_t* attention, int64_t rows, int64_t length, float* embeddings) {
  const c10::InferenceMode inference;
  const auto onDevice = [&](const int64_t* values) {
    return at::from_blob(const_cast<int64_t*>(values), {rows, length}, at::kLong).to(options_.device);
  };
  const at::Tensor result = backend_->embedText(onDevice(ids), onDevice(attention));
  expectShape(result, {rows, options_.textWidth}, "text_encoder.pt: forward");
  download(result, embeddings);
}

std::shared_ptr<const ClassSet> Model::prepareClasses(const float* sentences, const std::vector<int32_t>& counts) {
  static std::atomic<uint64_t> nextId{1};
  const c10::InferenceMode inference;
  const auto classes = static_cast<int64_t>(counts.size());
  const int64_t most = *std::max_element(counts.begin(), counts.end());
  at::Tensor padded = at::zeros({classes, most, options_.textWidth}, at::kFloat);
  at::Tensor valid = at::zeros({classes, most}, at::kBool);
  const float* source = sentences;
  for (int64_t i = 0; i < classes; ++i) {
    const int64_t values = counts[i] * options_.textWidth;
    std::copy_n(source, values, padded.data_ptr<float>() + i * most * options_.textWidth);
    std::fill_n(valid.data_ptr<bool>() + i * most, counts[i], true);
    source += values;
  }
  at::Tensor vectors = backend_->embedClasses(padded.to(options_.device), valid.to(options_.device));
  if (vectors.dim() != 2 || vectors.size(0) != classes) {
    throw Error(kBundleInvalid, "decoder.pt: embed_classes returned another shape than (classes, width)");
  }
  synchronise(options_.device);
  return std::make_shared<const ClassSet>(ClassSet{std::move(vectors), classes, nextId++});
}

std::vector<std::shared_ptr<Scene>> Model::encode(const std::vector<Image>& images) {
  const c10::InferenceMode inference;
  const at::ScalarType type = scalarType(options_.precision);
  const bool isOnCpu = options_.device.is_cpu();
  std::vector<Frame> frames;
  std::vector<at::Tensor> inputs;
  for (const Image& image : images) {
    frames.push_back(Frame::of(image.width, image.height, options_.imageSize, options_.resizeMode));
    inputs.push_back(isOnCpu ? toInput(image, frames.back(), options_.normalisation)
                             : toInputOn(options_.device, image, frames.back(), options_.normalisation, type));
  }
  const auto batch = static_cast<int64_t>(images.size());
  at::Tensor all = (batch == 1 ? inputs[0].unsqueeze(0) : at::stack(inputs)).to(type);
  // With the channels of a position side by side oneDNN's convolutions rearrange nothing, neither do those after them.
  if (isOnCpu) all = all.contiguous(at::MemoryFormat::ChannelsLast);
  const std::vector<at::Tensor> features = backend_->encode(all);
  for (const at::Tensor& feature : features) {
    if (feature.dim() == 0 || feature.size(0) != batch) {
      throw Error(kBundleInvalid, "encoder.pt: forward returned features of another batch size");
    }
  }
  std::vector<std::shared_ptr<Scene>> scenes;
  for (int64_t i = 0; i < batch; ++i) {
    Features ofImage;
    for (const at::Tensor& feature : features) {
      at::Tensor own = feature.narrow(0, i, 1).to(at::kFloat);
      // A slice of a batch would keep the features of the other images alive.
      if (batch > 1 && own.is_alias_of(feature)) own = own.clone();
      ofImage.push_back(std::move(own));
    }
    scenes.push_back(std::make_shared<Scene>(*this, std::move(ofImage), frames[i]));
  }
  // Who waits for a scene learns here of what failed on the device, and of how long it took.
  synchronise(options_.device);
  return scenes;
}

std::shared_ptr<Scene> Model::restore(int64_t width, int64_t height, const std::vector<std::vector<int64_t>>& shapes,
                                      const float* values) {
  const c10::InferenceMode inference;
  Features features;
  for (const std::vector<int64_t>& shape : shapes) {
    const at::Tensor borrowed = at::from_blob(const_cast<float*>(values), shape, at::kFloat);
    features.push_back(options_.device.is_cpu() ? borrowed.clone() : borrowed.to(options_.device));
    values += borrowed.numel();
  }
  synchronise(options_.device);
  const Frame frame = Frame::of(width, height, options_.imageSize, options_.resizeMode);
  return std::make_shared<Scene>(*this, std::move(features), frame);
}

void expectShape(const at::Tensor& tensor, at::IntArrayRef shape, const char* what) {
  if (tensor.sizes() == shape) return;
  std::ostringstream message;
  message << what << " returned a tensor of shape " << tensor.sizes() << ", expected " << shape;
  throw Error(kBundleInvalid, message.str());
}

}  // namespace segsam
