// The engine without Node.js, to measure what the binding adds: answers requests of bench/child.ts, one a line.
//
//   engine_bench BUNDLE IMAGE SIDE MASK_SIDE CLASSES TEXT_WIDTH fp32|bf16|int8

#include <ATen/ATen.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <iterator>
#include <memory>
#include <string>
#include <vector>

#include "engine/device.h"
#include "engine/mask_tensor.h"
#include "engine/model.h"
#include "engine/scene.h"
#include "napi/large_pages.h"

using namespace segsam;

namespace {

/// New memory for masks, as Node.js gives it to the addon.
class Masks {
 public:
  explicit Masks(size_t bytes) : pixels_(static_cast<uint8_t*>(std::calloc(bytes, 1)), &std::free) {
    useLargePages(pixels_.get(), static_cast<int64_t>(bytes));
  }

  uint8_t* data() const { return pixels_.get(); }

 private:
  std::unique_ptr<uint8_t, decltype(&std::free)> pixels_;
};

struct Bench {
  std::shared_ptr<Model> model;
  /// Null: an untrained bundle.
  std::shared_ptr<const ClassSet> classes;
  std::shared_ptr<Scene> scene;
  std::vector<uint8_t> pixels;
  int64_t side;
  int64_t maskSize;

  void encode() { scene = model->encode({{pixels.data(), PixelType::kUint8, side, side, 3, std::nullopt}}).front(); }

  /// Clicks of bench/peers/inputs.ts with SAM's padding point, and all that a decode of the addon writes.
  void decode(int64_t prompts) {
    std::vector<float> points;
    std::vector<int32_t> labels;
    for (int64_t i = 0; i < prompts; ++i) {
      points.insert(points.end(),
                    {static_cast<float>((i * 37 + 11) % side), static_cast<float>((i * 59 + 23) % side), 0, 0});
      labels.insert(labels.end(), {1, -1});
    }
    const auto count = static_cast<size_t>(prompts);
    const auto image = static_cast<size_t>(side * side);
    const Masks maskBytes(count * image);
    const at::Tensor masks = newMaskTensor(prompts, side * side);
    const at::Tensor logits = at::empty({prompts, maskSize, maskSize}, at::kFloat);
    std::vector<float> iou(count);
    const PromptBatch batch{prompts, 2, points.data(), labels.data(), nullptr};
    DecodedViews out{.masksPerPrompt = 1,
                     .masks = wordsOf(masks),
                     .logits = logits.data_ptr<float>(),
                     .iou = iou.data(),
                     .maskBytes = maskBytes.data()};
    if (!classes) {
      scene->decode(*model, batch, nullptr, 0.0f, out);
      return;
    }
    const auto known = static_cast<size_t>(classes->size);
    const at::Tensor semanticMasks = newMaskTensor(prompts, side * side);
    const at::Tensor semanticLogits = at::empty({prompts, maskSize, maskSize}, at::kFloat);
    std::vector<float> agreement(count);
    std::vector<float> probabilities(count * (known + 1));
    std::vector<float> presence(count * known);
    out.semanticMasks = wordsOf(semanticMasks);
    out.semanticLogits = semanticLogits.data_ptr<float>();
    out.agreement = agreement.data();
    out.classProbabilities = probabilities.data();
    out.presence = presence.data();
    scene->decode(*model, batch, classes.get(), 0.0f, out);
  }
};

template <class Call>
void answer(const Call& call) {
  const auto started = std::chrono::steady_clock::now();
  call();
  const std::chrono::duration<double, std::milli> taken = std::chrono::steady_clock::now() - started;
  std::cout << "{\"ok\":true,\"ms\":" << taken.count() << "}" << std::endl;
}

}  // namespace

int main(int count, char** arguments) {
  if (count != 8) {
    std::cerr << "engine_bench BUNDLE IMAGE SIDE MASK_SIDE CLASSES TEXT_WIDTH fp32|bf16|int8\n";
    return 2;
  }
  const std::string bundle = arguments[1];
  Bench bench;
  bench.side = std::stoll(arguments[3]);
  bench.maskSize = std::stoll(arguments[4]);
  ModelOptions options;
  const std::string precision = arguments[7];
  options.precision = precision == "int8"   ? Precision::kInt8
                      : precision == "bf16" ? Precision::kBf16
                                            : Precision::kFp32;
  options.imageSize = bench.side;
  options.maskSize = bench.maskSize;
  options.textWidth = std::stoll(arguments[6]);
  options.normalisation = {{123.675f, 116.28f, 103.53f}, {58.395f, 57.12f, 57.375f}};
  options.namesObjects = std::stoll(arguments[5]) > 0;
  std::ifstream file(arguments[2], std::ios::binary);
  bench.pixels.assign(std::istreambuf_iterator<char>(file), {});
  bench.pixels.resize(static_cast<size_t>(bench.side * bench.side * 3));
  bench.model = Model::load({bundle + "/encoder.pt", bundle + "/decoder.pt", bundle + "/text_encoder.pt"}, options);
  const std::vector<int32_t> sentences(static_cast<size_t>(std::stoll(arguments[5])), 1);
  const std::vector<float> embeddings(sentences.size() * static_cast<size_t>(options.textWidth), 0.1f);
  if (!sentences.empty()) bench.classes = bench.model->prepareClasses(embeddings.data(), sentences);

  std::string line;
  while (std::getline(std::cin, line)) {
    int prompts = 0;
    if (line.find("\"op\":\"encode\"") != std::string::npos) {
      answer([&] { bench.encode(); });
    } else if (std::sscanf(line.c_str(), "{\"op\":\"decode\",\"prompts\":%d", &prompts) == 1) {
      answer([&] { bench.decode(prompts); });
    } else {
      std::cout << "{\"ok\":false,\"error\":\"unknown request\"}" << std::endl;
    }
  }
}
