#include <ATen/ATen.h>
#include <torch/csrc/jit/api/module.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <limits>
#include <memory>
#include <mutex>
#include <numeric>
#include <random>
#include <thread>
#include <utility>
#include <vector>

#include "check.h"
#include "engine/counters.h"
#include "engine/decode_output.h"
#include "engine/device.h"
#include "engine/failure.h"
#include "engine/image.h"
#include "engine/linear.h"
#include "engine/model.h"
#include "engine/scene.h"
#include "engine/work.h"
#include "ops/input_rows.h"
#include "ops/mask_bits.h"
#include "tiny_bundle.h"

using namespace segsam;

namespace {

template <class Pixel>
Image imageOf(const std::vector<Pixel>& pixels, PixelType type, int64_t width, int64_t height, int channels) {
  return {pixels.data(), type, width, height, channels, std::nullopt};
}

std::vector<uint8_t> noise(size_t count) {
  std::mt19937 random(3);
  std::vector<uint8_t> pixels(count);
  for (auto& pixel : pixels) pixel = static_cast<uint8_t>(random());
  return pixels;
}

/// Outputs of a decoder that can be told from the prompt: every logit of mask token i is x + i.
class FakeBackend : public Backend {
 public:
  std::vector<at::Tensor> encode(const at::Tensor& images) override {
    return {images.mean({1, 2, 3}).reshape({-1, 1})};
  }
  at::Tensor embedText(const at::Tensor& ids, const at::Tensor&) override { return ids.to(at::kFloat); }
  at::Tensor embedClasses(const at::Tensor& sentences, const at::Tensor&) override { return sentences.select(1, 0); }
  Conditioning condition(const Features&, const at::Tensor& classes) override {
    ++conditioned;
    return {classes.unsqueeze(0), classes.mean(0, true).unsqueeze(0)};
  }
  DecoderOutput decode(const Features&, const Conditioning& conditioning, const at::Tensor& points,
                       const at::Tensor& labels, const std::optional<at::Tensor>&) override {
    const std::lock_guard lock(mutex);
    lastPoints = points;
    lastLabels = labels;
    const int64_t count = points.size(0);
    chunks.push_back(count);
    const int64_t classes = conditioning.classTokens.size(1);
    const at::Tensor values = points.select(1, 0).select(1, 0).reshape({count, 1}) + at::arange(4, at::kFloat);
    const at::Tensor masks = values.reshape({count, 4, 1, 1}).expand({count, 4, side, side});
    return {masks, values, -masks.narrow(1, 0, 1), at::arange(classes + 1, at::kFloat).expand({count, classes + 1}),
            at::stack({at::zeros({classes + 1}), at::arange(classes + 1, at::kFloat)}).expand({count, 2, classes + 1})};
  }
  BinaryOutput decodeBinary(const Features& features, const at::Tensor& points, const at::Tensor& labels,
                            const std::optional<at::Tensor>& mask) override {
    const Conditioning any{at::zeros({1, 1, 1}), at::zeros({1, 1, 1})};
    const DecoderOutput output = decode(features, any, points, labels, mask);
    return {output.maskLogits, output.iou};
  }
  bool decodesBinary() const override { return true; }
  bool hasTextEncoder() const override { return true; }
  int64_t bytes() const override { return 0; }

  int64_t side = 8;
  int conditioned = 0;
  /// Chunks are decoded at the same time.
  std::mutex mutex;
  std::vector<int64_t> chunks;
  at::Tensor lastPoints;
  at::Tensor lastLabels;
};

struct FakeModel {
  explicit FakeModel(int64_t maskSize = 8) {
    auto owned = std::make_unique<FakeBackend>();
    owned->side = maskSize;
    backend = owned.get();
    ModelOptions options = TinyBundle::options();
    options.maskSize = maskSize;
    model = std::make_unique<Model>(std::move(owned), options);
  }

  std::shared_ptr<Scene> scene(int64_t width, int64_t height) {
    const auto pixels = noise(width * height);
    return model->encode({imageOf(pixels, PixelType::kUint8, width, height, 1)})[0];
  }

  FakeBackend* backend;
  std::unique_ptr<Model> model;
};

/// The arrays of a decode.
struct Decoded {
  Decoded(const Scene& scene, int64_t count, int64_t masksPerPrompt, int64_t side, int64_t classes)
      : words(maskWords(scene.frame().width * scene.frame().height)),
        maskBits(count * masksPerPrompt * words, kUnwritten),
        masks(count * masksPerPrompt * scene.frame().width * scene.frame().height, 9),
        logits(count * masksPerPrompt * side * side, NAN),
        iou(count * masksPerPrompt, NAN),
        semanticMasks(count * words, kUnwritten),
        semanticLogits(count * side * side, NAN),
        agreement(count * masksPerPrompt, NAN),
        classProbabilities(count * (classes + 1), NAN),
        presence(count * classes, NAN),
        views{masksPerPrompt,       maskBits.data(),       logits.data(),    iou.data(),
              semanticMasks.data(), semanticLogits.data(), agreement.data(), classProbabilities.data(),
              presence.data(),      masks.data()} {}

  static constexpr uint32_t kUnwritten = 0x9a5c3e71;
  int64_t words;
  std::vector<uint32_t> maskBits;
  std::vector<uint8_t> masks;
  std::vector<float> logits;
  std::vector<float> iou;
  std::vector<uint32_t> semanticMasks;
  std::vector<float> semanticLogits;
  std::vector<float> agreement;
  std::vector<float> classProbabilities;
  std::vector<float> presence;
  DecodedViews views;
};

std::shared_ptr<const ClassSet> twoClasses(Model& model) {
  const std::vector<float> sentences{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12};
  return model.prepareClasses(sentences.data(), {2, 1});
}

void spoil(const std::string& path, size_t keep) {
  std::ifstream in(path, std::ios::binary);
  std::string content((std::istreambuf_iterator<char>(in)), {});
  in.close();
  std::ofstream(path, std::ios::binary) << content.substr(0, keep);
}

}  // namespace

TEST("on a device images become the same input as on the host") {
  const auto check = [](const Image& image, ResizeMode mode) {
    const Frame frame = Frame::of(image.width, image.height, 16, mode);
    const Normalisation normalisation{{10, 20, 30}, {2, 4, 8}};
    const at::Tensor expected = toInput(image, frame, normalisation);
    const at::Tensor input = toInputOn(at::kCPU, image, frame, normalisation);
    EXPECT_EQUAL(input.sizes(), expected.sizes());
    EXPECT((input - expected).abs().max().item<float>() < 1e-4);
  };
  const auto bytes = noise(40 * 25 * 4);
  std::vector<uint16_t> shorts(bytes.begin(), bytes.end());
  std::vector<int16_t> signedShorts;
  std::vector<float> floats;
  for (size_t i = 0; i < bytes.size(); ++i) {
    shorts[i] = static_cast<uint16_t>(257 * bytes[i]);
    signedShorts.push_back(static_cast<int16_t>(shorts[i] - 32768));
    floats.push_back(i % 7 == 0 ? std::numeric_limits<float>::quiet_NaN() : bytes[i] * 1e6f);
  }
  floats[1] = std::numeric_limits<float>::infinity();
  floats[2] = -std::numeric_limits<float>::infinity();
  for (const auto mode : {ResizeMode::kLongest, ResizeMode::kStretch}) {
    for (const int channels : {1, 3, 4}) {
      check(imageOf(bytes, PixelType::kUint8, 40, 25, channels), mode);
      check(imageOf(bytes, PixelType::kUint8, 16, 16, channels), mode);
      check(imageOf(bytes, PixelType::kUint8, 1, 40, channels), mode);
      check(imageOf(shorts, PixelType::kUint16, 40, 25, channels), mode);
      check(imageOf(signedShorts, PixelType::kInt16, 25, 40, channels), mode);
      check(imageOf(floats, PixelType::kFloat32, 25, 40, channels), mode);
    }
    Image ct = imageOf(signedShorts, PixelType::kInt16, 25, 40, 1);
    ct.window = {{-160, 240}};
    check(ct, mode);
  }
}

TEST("on a device masks and numbers are the same as on the host") {
  FakeModel fake;
  constexpr int64_t kSide = 8;
  for (const auto& [width, height] : std::vector<std::pair<int64_t, int64_t>>{{40, 24}, {9, 100}, {1, 1}}) {
    const auto scene = fake.scene(width, height);
    for (const int64_t masks : {1, 3}) {
      constexpr int64_t kPrompts = 5;
      ChunkOutput output;
      output.logits = at::randn({kPrompts, 4, kSide, kSide});
      output.logits[1].fill_(-3);
      output.iou = at::rand({kPrompts, 4});
      for (const bool named : {false, true}) {
        if (named) {
          output.semanticLogits = at::randn({kPrompts, kSide, kSide});
          output.semanticLogits[1].fill_(-3);
          output.classProbabilities = at::rand({kPrompts, 3});
          output.presence = at::rand({kPrompts, 2});
        }
        const auto run = [&](const auto& write) {
          std::vector<Decoded> results;
          std::vector<DecodeRequest> requests;
          for (const int64_t count : {2, 3}) results.emplace_back(*scene, count, masks, kSide, 2);
          for (size_t i = 0; i < results.size(); ++i) {
            const auto count = static_cast<int64_t>(2 + i);
            requests.push_back({{count, 1, nullptr, nullptr, nullptr}, 0.3f * static_cast<float>(i), results[i].views});
          }
          write(output, requests, scene->frame());
          return results;
        };
        const std::vector<Decoded> expected = run(writeOnHost);
        const std::vector<Decoded> found = run(writeOnDevice);
        for (size_t i = 0; i < expected.size(); ++i) {
          EXPECT_EQUAL(found[i].masks, expected[i].masks);
          EXPECT_EQUAL(found[i].maskBits, expected[i].maskBits);
          EXPECT_EQUAL(found[i].logits, expected[i].logits);
          EXPECT_EQUAL(found[i].iou, expected[i].iou);
          EXPECT_EQUAL(found[i].semanticMasks, expected[i].semanticMasks);
          if (!named) continue;
          EXPECT_EQUAL(found[i].semanticLogits, expected[i].semanticLogits);
          EXPECT_EQUAL(found[i].agreement, expected[i].agreement);
          EXPECT_EQUAL(found[i].classProbabilities, expected[i].classProbabilities);
          EXPECT_EQUAL(found[i].presence, expected[i].presence);
        }
      }
    }
  }
}

TEST("a strip of 20000 x 10 and a single pixel can be encoded") {
  FakeModel fake;
  EXPECT_EQUAL(fake.scene(20000, 10)->frame().resizedHeight, 1);
  EXPECT_EQUAL(fake.scene(1, 1)->frame().resizedHeight, 32);
}

TEST("points reach the decoder in pixels of the input, labels as they are, padding as zeros") {
  FakeModel fake;
  const auto scene = fake.scene(64, 16);
  const auto classes = twoClasses(*fake.model);
  const std::vector<float> points{63, 8, 10, 4};
  const std::vector<int32_t> labels{1, -1};
  Decoded decoded(*scene, 1, 1, 8, 2);
  scene->decode(*fake.model, {1, 2, points.data(), labels.data(), nullptr}, classes.get(), 0, decoded.views);
  EXPECT(at::equal(fake.backend->lastPoints, at::tensor({31.5f, 4.0f, 0.0f, 0.0f}).reshape({1, 2, 2})));
  EXPECT(at::equal(fake.backend->lastLabels, at::tensor({1, -1}, at::kLong).reshape({1, 2})));
}

TEST("one mask is SAM's first token, three are the others") {
  FakeModel fake;
  const auto scene = fake.scene(32, 32);
  const auto classes = twoClasses(*fake.model);
  const std::vector<float> point{5, 5};
  const int32_t label = 1;
  const PromptBatch prompt{1, 1, point.data(), &label, nullptr};
  Decoded single(*scene, 1, 1, 8, 2);
  scene->decode(*fake.model, prompt, classes.get(), 0, single.views);
  EXPECT_EQUAL(single.iou, std::vector<float>{5});
  Decoded three(*scene, 1, 3, 8, 2);
  scene->decode(*fake.model, prompt, classes.get(), 0, three.views);
  EXPECT_EQUAL(three.iou, (std::vector<float>{6, 7, 8}));
  EXPECT_EQUAL(three.logits[2 * 64], 8.0f);
}

TEST("class logits become probabilities, and presence the best of the tokens without nothing") {
  FakeModel fake;
  const auto scene = fake.scene(32, 32);
  const auto classes = twoClasses(*fake.model);
  const std::vector<float> point{5, 5};
  const int32_t label = 1;
  Decoded decoded(*scene, 1, 1, 8, 2);
  scene->decode(*fake.model, {1, 1, point.data(), &label, nullptr}, classes.get(), 0, decoded.views);
  const double sum = 1 + std::exp(1.0) + std::exp(2.0);
  for (int i = 0; i < 3; ++i) EXPECT_NEAR(decoded.classProbabilities[i], std::exp(i) / sum, 1e-6);
  EXPECT_NEAR(decoded.presence[0], 1.0 / 3, 1e-6);
  EXPECT_NEAR(decoded.presence[1], 1.0 / 3, 1e-6);
}

TEST("without classes masks alone are decoded, the same") {
  FakeModel fake;
  const auto scene = fake.scene(40, 24);
  const auto classes = twoClasses(*fake.model);
  constexpr int64_t kCount = 3;
  const std::vector<float> points{5, 5, 10, 4, 30, 20};
  const std::vector<int32_t> labels{1, 1, 1};
  const PromptBatch prompts{kCount, 1, points.data(), labels.data(), nullptr};
  Decoded named(*scene, kCount, 3, 8, 2);
  scene->decode(*fake.model, prompts, classes.get(), 8.5f, named.views);
  Decoded binary(*scene, kCount, 3, 8, 2);
  const int conditioned = fake.backend->conditioned;
  const DecodedViews& all = binary.views;
  scene->decode(*fake.model, prompts, nullptr, 8.5f, {3, all.masks, all.logits, all.iou});
  EXPECT_EQUAL(binary.maskBits, named.maskBits);
  EXPECT_EQUAL(std::count(binary.masks.begin(), binary.masks.end(), 9), static_cast<int64_t>(binary.masks.size()));
  EXPECT_EQUAL(binary.logits, named.logits);
  EXPECT_EQUAL(binary.iou, named.iou);
  EXPECT_EQUAL(fake.backend->conditioned, conditioned);
}

TEST("agreement is the IoU of the two decoders' masks") {
  FakeModel fake;
  // Tall enough for rows to be shared among threads.
  const auto scene = fake.scene(40, 200);
  const auto classes = twoClasses(*fake.model);
  const std::vector<float> point{5, 5};
  const int32_t label = 1;
  const PromptBatch prompt{1, 1, point.data(), &label, nullptr};
  Decoded decoded(*scene, 1, 1, 8, 2);
  scene->decode(*fake.model, prompt, classes.get(), 0, decoded.views);
  EXPECT_EQUAL(decoded.agreement[0], 0.0f);
  EXPECT(std::count(decoded.masks.begin(), decoded.masks.end(), 1) == 8000);
  EXPECT_EQUAL(decoded.semanticMasks, std::vector<uint32_t>(8000 / 32));
  scene->decode(*fake.model, prompt, classes.get(), 100, decoded.views);
  EXPECT_EQUAL(decoded.agreement[0], 1.0f);
}

TEST("conditioning is computed once for a scene and class set") {
  FakeModel fake;
  const auto scene = fake.scene(32, 32);
  const auto classes = twoClasses(*fake.model);
  const auto others = twoClasses(*fake.model);
  const std::vector<float> point{5, 5};
  const int32_t label = 1;
  Decoded decoded(*scene, 1, 1, 8, 2);
  for (const auto& set : {classes, classes, others, others, classes}) {
    scene->decode(*fake.model, {1, 1, point.data(), &label, nullptr}, set.get(), 0, decoded.views);
  }
  EXPECT_EQUAL(fake.backend->conditioned, 3);
}

TEST("many prompts are split, and each gets its own result") {
  constexpr int64_t kSide = 512;
  constexpr int64_t kCount = 20;
  FakeModel fake(kSide);
  const auto scene = fake.scene(6, 4);
  const auto classes = twoClasses(*fake.model);
  std::vector<float> points;
  for (int64_t i = 0; i < kCount; ++i) points.insert(points.end(), {i * 0.25f, 1.0f});
  const std::vector<int32_t> labels(kCount, 1);
  Decoded decoded(*scene, kCount, 3, kSide, 2);
  scene->decode(*fake.model, {kCount, 1, points.data(), labels.data(), nullptr}, classes.get(), 0, decoded.views);
  EXPECT(fake.backend->chunks.size() > 1);
  EXPECT_EQUAL(std::accumulate(fake.backend->chunks.begin(), fake.backend->chunks.end(), int64_t{0}), kCount);
  for (int64_t i = 0; i < kCount; ++i) {
    const float x = scene->frame().inputX(points[2 * i]);
    for (int64_t m = 0; m < 3; ++m) {
      EXPECT_EQUAL(decoded.iou[i * 3 + m], x + static_cast<float>(m + 1));
      EXPECT_EQUAL(decoded.logits[(i * 3 + m) * kSide * kSide], x + static_cast<float>(m + 1));
    }
    EXPECT_EQUAL(decoded.semanticLogits[i * kSide * kSide], -x);
    EXPECT(std::isfinite(decoded.classProbabilities[i * 3 + 2]) && std::isfinite(decoded.presence[i * 2 + 1]));
  }
  EXPECT_EQUAL(std::count(decoded.masks.begin(), decoded.masks.end(), 9), 0);
}

TEST("prompts of several callers in one pass give what each gives alone, across chunks") {
  constexpr int64_t kSide = 256;
  FakeModel fake(kSide);
  const auto scene = fake.scene(8, 8);
  const auto classes = twoClasses(*fake.model);
  struct Caller {
    int64_t count;
    int64_t masksPerPrompt;
    float threshold;
  };
  const std::vector<Caller> callers = {{3, 1, 2}, {40, 3, 0}, {1, 1, 5}, {20, 3, 3.5}};
  std::vector<std::vector<float>> points;
  const std::vector<int32_t> labels(40, 1);
  std::vector<Decoded> alone;
  std::vector<Decoded> together;
  for (const Caller& caller : callers) {
    points.emplace_back(2 * caller.count);
    for (int64_t i = 0; i < 2 * caller.count; ++i) points.back()[i] = static_cast<float>((i + points.size()) % 8);
    alone.emplace_back(*scene, caller.count, caller.masksPerPrompt, kSide, 2);
    together.emplace_back(*scene, caller.count, caller.masksPerPrompt, kSide, 2);
  }
  std::vector<DecodeRequest> requests;
  for (size_t i = 0; i < callers.size(); ++i) {
    const PromptBatch prompts{callers[i].count, 1, points[i].data(), labels.data(), nullptr};
    scene->decode(*fake.model, prompts, classes.get(), callers[i].threshold, alone[i].views);
    requests.push_back({prompts, callers[i].threshold, together[i].views});
  }
  const size_t chunksAlone = fake.backend->chunks.size();
  fake.backend->chunks.clear();
  scene->decode(*fake.model, classes.get(), requests);
  EXPECT(fake.backend->chunks.size() > 1 && fake.backend->chunks.size() < chunksAlone);
  EXPECT_EQUAL(std::accumulate(fake.backend->chunks.begin(), fake.backend->chunks.end(), int64_t{0}), 64);
  for (size_t i = 0; i < callers.size(); ++i) {
    EXPECT(together[i].masks == alone[i].masks && together[i].maskBits == alone[i].maskBits &&
           together[i].logits == alone[i].logits);
    EXPECT(together[i].iou == alone[i].iou && together[i].agreement == alone[i].agreement);
    EXPECT(together[i].semanticMasks == alone[i].semanticMasks);
    EXPECT(together[i].semanticLogits == alone[i].semanticLogits);
    EXPECT(together[i].classProbabilities == alone[i].classProbabilities && together[i].presence == alone[i].presence);
  }
}

TEST("decodes join on one scene, with prompts of one shape and one class set, up to the limit") {
  ModelOptions options = TinyBundle::options();
  options.maxDecodeBatch = 3;
  const auto model = std::make_shared<Model>(std::make_unique<FakeBackend>(), options);
  const auto pixels = noise(64);
  const auto scenes =
      model->encode({imageOf(pixels, PixelType::kUint8, 8, 8, 1), imageOf(pixels, PixelType::kUint8, 8, 8, 1)});
  const auto classes = twoClasses(*model);
  const auto otherClasses = twoClasses(*model);
  const Prompts one{1, 1, {1, 1}, {1}, {}};
  const Prompts longer{1, 2, {1, 1, 2, 2}, {1, 1}, {}};
  const Prompts masked{1, 1, {1, 1}, {1}, std::vector<float>(64)};
  const auto work = [&](const std::shared_ptr<Scene>& scene, const auto& set, const Prompts& prompts) {
    return DecodeWork(model, scene, set, prompts, 0, {});
  };
  const DecodeWork first = work(scenes[0], classes, one);
  EXPECT(first.joins(work(scenes[0], classes, one), 3));
  EXPECT(!first.joins(work(scenes[0], classes, one), 4));
  EXPECT(!first.joins(work(scenes[1], classes, one), 2));
  EXPECT(!first.joins(work(scenes[0], otherClasses, one), 2));
  EXPECT(!first.joins(work(scenes[0], classes, longer), 2));
  EXPECT(!first.joins(work(scenes[0], classes, masked), 2));
  EXPECT(!first.joins(EncodeWork(model, {}, {}), 2));
}

TEST("encodes of several callers in one pass give each its own scenes") {
  ModelOptions options = TinyBundle::options();
  options.maxEncodeBatch = 3;
  const auto model = std::make_shared<Model>(std::make_unique<FakeBackend>(), options);
  const std::vector<uint8_t> dark(64, 10);
  const std::vector<uint8_t> bright(200, 250);
  const Image first = imageOf(dark, PixelType::kUint8, 8, 8, 1);
  const Image second = imageOf(bright, PixelType::kUint8, 20, 10, 1);
  EncodeWork one(model, {first}, {});
  EncodeWork two(model, {second, first}, {});
  EXPECT(one.joins(two, 3) && !one.joins(two, 4));
  one.runWith({&two});
  EXPECT(one.scenes().size() == 1 && two.scenes().size() == 2);
  const auto alone = model->encode({first})[0];
  EXPECT_EQUAL(one.scenes()[0]->features()[0].item<float>(), alone->features()[0].item<float>());
  EXPECT_EQUAL(two.scenes()[1]->features()[0].item<float>(), alone->features()[0].item<float>());
  EXPECT(two.scenes()[0]->frame().width == 20);
}

TEST("a scene is restored from its features") {
  FakeModel fake;
  const auto scene = fake.scene(30, 20);
  const std::vector<int64_t> shape(scene->features()[0].sizes().begin(), scene->features()[0].sizes().end());
  std::vector<float> values(scene->bytes() / sizeof(float));
  scene->copyFeatures(values.data());
  EXPECT_EQUAL(fake.model->scenes()->scenes.load(), 1);
  const auto restored = fake.model->restore(30, 20, {shape}, values.data());
  EXPECT(at::equal(restored->features()[0], scene->features()[0]));
  EXPECT(restored->frame().width == 30 && restored->frame().height == 20);
  EXPECT_EQUAL(fake.model->scenes()->bytes.load(), 2 * scene->bytes());
}

TEST("on the CPU images and features have the channels of a position side by side, and are saved plane after plane") {
  class Planes : public FakeBackend {
   public:
    std::vector<at::Tensor> encode(const at::Tensor& images) override {
      areChannelsLast = images.is_contiguous(at::MemoryFormat::ChannelsLast) && !images.is_contiguous();
      const at::Tensor first = images.narrow(2, 0, 5).narrow(3, 0, 7);
      return {first, images.narrow(1, 0, 2).contiguous(at::MemoryFormat::ChannelsLast),
              images.flatten(1).narrow(1, 0, 3)};
    }
    bool areChannelsLast = false;
  };
  auto owned = std::make_unique<Planes>();
  Planes* const backend = owned.get();
  Model model(std::move(owned), TinyBundle::options());
  const auto pixels = noise(40 * 30 * 3);
  const Image image = imageOf(pixels, PixelType::kUint8, 40, 30, 3);
  const int64_t side = model.options().imageSize;
  const at::Tensor input =
      toInput(image, Frame::of(40, 30, side, model.options().resizeMode), model.options().normalisation);
  std::vector<float> byRows(input.numel());
  InputRows(image, Frame::of(40, 30, side, model.options().resizeMode), model.options().normalisation)
      .write(0, side, byRows.data());
  EXPECT(std::equal(byRows.begin(), byRows.end(), input.const_data_ptr<float>()));
  for (const auto& scene : model.encode({image, image})) {
    EXPECT(backend->areChannelsLast);
    const Features& features = scene->features();
    EXPECT(features[0].is_contiguous(at::MemoryFormat::ChannelsLast));
    EXPECT(features[1].is_contiguous(at::MemoryFormat::ChannelsLast));
    std::vector<float> values(scene->featureValues());
    scene->copyFeatures(values.data());
    const at::Tensor expected = at::cat({input.narrow(1, 0, 5).narrow(2, 0, 7).flatten(),
                                         input.narrow(0, 0, 2).flatten(), input.flatten().narrow(0, 0, 3)});
    EXPECT(std::equal(values.begin(), values.end(), expected.const_data_ptr<float>()) &&
           expected.numel() == std::ssize(values));
    const auto restored = model.restore(
        40, 30, {features[0].sizes().vec(), features[1].sizes().vec(), features[2].sizes().vec()}, values.data());
    for (size_t i = 0; i < features.size(); ++i) {
      EXPECT(at::equal(restored->features()[i], features[i]));
      EXPECT(i == 2 || restored->features()[i].is_contiguous(at::MemoryFormat::ChannelsLast));
    }
  }
}

TEST("a batch gives the scenes that single images give, each with memory of its own") {
  FakeModel fake;
  const auto small = noise(10 * 20);
  const auto large = noise(300 * 100);
  const Image first = imageOf(small, PixelType::kUint8, 10, 20, 1);
  const Image second = imageOf(large, PixelType::kUint8, 300, 100, 1);
  const auto both = fake.model->encode({first, second});
  EXPECT_EQUAL(both.size(), size_t{2});
  EXPECT(both[0]->frame().height == 20 && both[1]->frame().width == 300);
  EXPECT_EQUAL(both[0]->bytes(), 4);
}

TEST("scenes and models are counted while they live") {
  const int64_t scenes = counters().scenes;
  const int64_t bytes = counters().sceneBytes;
  {
    FakeModel fake;
    EXPECT_EQUAL(counters().models.load(), 1);
    const auto scene = fake.scene(8, 8);
    EXPECT_EQUAL(counters().scenes.load(), scenes + 1);
    EXPECT_EQUAL(counters().sceneBytes.load(), bytes + scene->bytes());
  }
  EXPECT_EQUAL(counters().scenes.load(), scenes);
  EXPECT_EQUAL(counters().sceneBytes.load(), bytes);
  EXPECT_EQUAL(counters().models.load(), 0);
}

TEST("a decoder that answers in another shape is an invalid bundle") {
  FakeModel fake;
  fake.backend->side = 4;
  const auto scene = fake.scene(8, 8);
  const auto classes = twoClasses(*fake.model);
  const std::vector<float> point{1, 1};
  const int32_t label = 1;
  Decoded decoded(*scene, 1, 1, 8, 2);
  EXPECT_ERROR("BUNDLE_INVALID",
               scene->decode(*fake.model, {1, 1, point.data(), &label, nullptr}, classes.get(), 0, decoded.views));
}

TEST("a TorchScript bundle is loaded, converted and run through") {
  const TinyBundle bundle;
  for (const Precision precision : {Precision::kFp32, Precision::kBf16}) {
    ModelOptions options = TinyBundle::options();
    options.precision = precision;
    const auto model = Model::load(bundle.files(), options);
    EXPECT(model->hasTextEncoder());
    // Weights and buffers in their final types: encoder, 4 + 8 text floats, 4 decoder floats.
    EXPECT_EQUAL(model->bytes(), (precision == Precision::kFp32 ? 4 : 2) + 8 + 16 + 16);

    const std::vector<int64_t> ids{2, 4, 99, 6, 6, 6};
    const std::vector<int64_t> attention{1, 1, 0, 1, 1, 1};
    std::vector<float> sentences(8);
    model->embedText(ids.data(), attention.data(), 2, 3, sentences.data());
    EXPECT_EQUAL(sentences, (std::vector<float>{3, 30, 300, 3000, 6, 60, 600, 6000}));
    const auto classes = model->prepareClasses(sentences.data(), {1, 1});

    const std::vector<uint8_t> pixels(32 * 16, 100);
    const auto scene = model->encode({imageOf(pixels, PixelType::kUint8, 32, 16, 1)})[0];
    EXPECT_EQUAL(scene->bytes(), 3 * 4 * 4 * 4);
    const std::vector<float> points{20, 3, 7, 3};
    const std::vector<int32_t> labels{1, 0};
    const std::vector<float> masks(2 * 64, 0.5f);
    Decoded decoded(*scene, 2, 1, 8, 2);
    scene->decode(*model, {2, 1, points.data(), labels.data(), masks.data()}, classes.get(), 0, decoded.views);
    EXPECT_EQUAL(decoded.iou, (std::vector<float>{20.5f, -2.5f}));
    EXPECT_EQUAL(decoded.semanticLogits[0], 20.5f);
    EXPECT(decoded.masks[0] == 1 && decoded.masks[32 * 16] == 0);
    // The mean of the features is 25, half of which is padding: class logits 3 + 25, 6 + 25 and 0.
    EXPECT_NEAR(decoded.classProbabilities[1], 1 / (1 + std::exp(-3.0)), 1e-5);
  }
}

TEST("what is computed at the same time is what is computed alone, on one scene with several class sets, too") {
  constexpr int kThreads = 3;
  constexpr int kRounds = 3;
  ModelOptions options = TinyBundle::options();
  options.imageSize = 256;
  options.maskSize = 128;
  options.textWidth = 256;
  const auto model = Model::load({SEG_SAM_TINY "/encoder.pt", SEG_SAM_TINY "/decoder.pt", std::nullopt}, options);
  const auto pixels = noise(300 * 200);
  const Image image = imageOf(pixels, PixelType::kUint8, 300, 200, 1);
  const std::vector<float> points{80, 90, 200, 60};
  const std::vector<int32_t> labels{1, 1};

  struct Results {
    std::vector<at::Tensor> features;
    std::vector<Decoded> decoded;
  };
  std::shared_ptr<Scene> scene;
  std::array<std::shared_ptr<const ClassSet>, kThreads> sets;
  const auto compute = [&](int thread) {
    computeOn(1);
    Results results;
    for (int round = 0; round < kRounds; ++round) {
      results.features.push_back(model->encode({image})[0]->features()[0]);
      const ClassSet& set = *sets[(thread + round) % kThreads];
      Decoded decoded(*scene, 2, 3, options.maskSize, set.size);
      scene->decode(*model, {2, 1, points.data(), labels.data(), nullptr}, &set, 0, decoded.views);
      results.decoded.push_back(std::move(decoded));
    }
    return results;
  };
  std::thread([&] {
    computeOn(1);
    scene = model->encode({image})[0];
    const auto values = noise(kThreads * options.textWidth);
    const std::vector<float> sentences(values.begin(), values.end());
    for (int i = 0; i < kThreads; ++i)
      sets[i] = model->prepareClasses(sentences.data(), std::vector<int32_t>(i + 1, 1));
  }).join();
  std::array<Results, kThreads> together;
  std::vector<std::thread> threads;
  for (int i = 0; i < kThreads; ++i) threads.emplace_back([&, i] { together[i] = compute(i); });
  for (auto& thread : threads) thread.join();
  for (int i = 0; i < kThreads; ++i) {
    Results alone;
    std::thread([&] { alone = compute(i); }).join();
    for (int round = 0; round < kRounds; ++round) {
      EXPECT(at::equal(together[i].features[round], alone.features[round]));
      const Decoded& found = together[i].decoded[round];
      const Decoded& expected = alone.decoded[round];
      EXPECT(found.masks == expected.masks && found.logits == expected.logits && found.iou == expected.iou);
      EXPECT(found.semanticLogits == expected.semanticLogits && found.presence == expected.presence);
      EXPECT(found.classProbabilities == expected.classProbabilities);
    }
  }
}

TEST("files that are no such modules are an invalid bundle") {
  const TinyBundle bundle;
  const ModelOptions options = TinyBundle::options();
  ModelFiles files = bundle.files();
  files.encoder = bundle.folder() + "/absent.pt";
  EXPECT_ERROR("BUNDLE_INVALID", Model::load(files, options));
  files.encoder = bundle.folder();
  EXPECT_ERROR("BUNDLE_INVALID", Model::load(files, options));
  files = bundle.files();
  std::swap(files.encoder, files.decoder);
  EXPECT_ERROR("BUNDLE_INVALID", Model::load(files, options));

  torch::jit::Module fewerArguments("Encoder");
  fewerArguments.define("def forward(self):\n    return 1\n");
  fewerArguments.save(bundle.folder() + "/foreign.pt");
  files = bundle.files();
  files.encoder = bundle.folder() + "/foreign.pt";
  EXPECT_ERROR("BUNDLE_INVALID", Model::load(files, options));

  std::ofstream(bundle.folder() + "/text.pt") << "not a module";
  files.encoder = bundle.folder() + "/text.pt";
  EXPECT_ERROR("BUNDLE_INVALID", Model::load(files, options));

  const auto size = std::filesystem::file_size(bundle.files().encoder);
  for (const size_t keep : {size - 1, size / 2, size_t{0}}) {
    spoil(bundle.files().encoder, keep);
    EXPECT_ERROR("BUNDLE_INVALID", Model::load(bundle.files(), options));
  }
}

TEST("what libtorch throws is told in one line") {
  Failure failure{};
  try {
    at::ones({2}).add_(at::ones({3}));
  } catch (...) {
    failure = describeCurrentException();
  }
  EXPECT_EQUAL(std::string(failure.code), "RUNTIME");
  EXPECT(failure.message.find("size of tensor a (2)") != std::string::npos);
  EXPECT(failure.message.find('\n') == std::string::npos);
  try {
    at::empty({int64_t{1} << 50});
  } catch (...) {
    failure = describeCurrentException();
  }
  EXPECT_EQUAL(std::string(failure.code), "OUT_OF_MEMORY");
}

TEST("a device that works passes the trial") { tryDevice(at::kCPU); }

TEST("a device that libtorch cannot compute on is unavailable, not a damaged bundle") {
  const TinyBundle bundle;
  ModelOptions options = TinyBundle::options();
  // No libtorch for this package has code for it, on any machine.
  options.device = at::Device(at::kXLA, 0);
  EXPECT_ERROR("DEVICE_UNAVAILABLE", Model::load(bundle.files(), options));
}

TEST("only devices that are there can be had") {
  EXPECT(resolveDevice("cpu").is_cpu());
  EXPECT_ERROR("DEVICE_UNAVAILABLE", resolveDevice("cuda:99"));
  EXPECT_ERROR("INVALID_ARGUMENT", resolveDevice("tpu"));
  EXPECT_ERROR("INVALID_ARGUMENT", resolveDevice("cuda:-1"));
  EXPECT_ERROR("INVALID_ARGUMENT", resolveDevice("cuda:99999999999"));
}

TEST("a scene keeps what its prompts share, counts it, and has it again when it is restored") {
  ModelOptions options = TinyBundle::options();
  options.imageSize = 96;
  options.maskSize = 24;
  options.textWidth = 16;
  options.resizeMode = ResizeMode::kStretch;
  const auto pixels = noise(60 * 50);
  const Image image = imageOf(pixels, PixelType::kUint8, 60, 50, 1);
  const std::vector<float> points{10, 12, 40, 20, 30, 44};
  const std::vector<int32_t> labels{1, 1, 0};
  const std::vector<float> masks(3 * 24 * 24, 0.25f);
  const std::vector<float> sentences(2 * 16, 0.5f);
  for (const Precision precision : {Precision::kFp32, Precision::kBf16}) {
    options.precision = precision;
    const auto load = [&](bool namesObjects) {
      options.namesObjects = namesObjects;
      return Model::load({SEG_SAM_CONVERTED "/encoder.pt", SEG_SAM_CONVERTED "/decoder.pt", std::nullopt}, options);
    };
    const auto model = load(true);
    const auto other = load(false);
    const auto scene = model->encode({image})[0];
    const auto unnamed = other->encode({image})[0];
    const int64_t features = scene->featureValues() * static_cast<int64_t>(sizeof(float));
    EXPECT_EQUAL(scene->bytes() > features, packsLinears());
    EXPECT_EQUAL(scene->bytes() - features, 2 * (unnamed->bytes() - features));

    std::vector<float> values(scene->featureValues());
    scene->copyFeatures(values.data());
    const auto restored = model->restore(60, 50, {scene->features()[0].sizes().vec()}, values.data());
    EXPECT_EQUAL(restored->bytes(), scene->bytes());

    const auto set = model->prepareClasses(sentences.data(), {1, 1});
    const auto otherSet = other->prepareClasses(sentences.data(), {1, 1});
    for (const float* mask : {static_cast<const float*>(nullptr), masks.data()}) {
      const auto decode = [&](Model& by, Scene& of, const ClassSet* classes, int64_t first, int64_t count) {
        Decoded decoded(of, count, 3, 24, 2);
        const float* const ownMasks = mask == nullptr ? nullptr : mask + first * 24 * 24;
        of.decode(by, {count, 1, points.data() + 2 * first, labels.data() + first, ownMasks}, classes, 0,
                  decoded.views);
        return decoded;
      };
      const Decoded expected = decode(*model, *scene, set.get(), 0, 3);
      const Decoded again = decode(*model, *restored, set.get(), 0, 3);
      EXPECT(again.logits == expected.logits && again.semanticLogits == expected.semanticLogits);
      const auto differenceOf = [](const std::vector<float>& all, const std::vector<float>& tail) {
        double difference = 0;
        for (size_t i = 0; i < tail.size(); ++i) {
          difference = std::max<double>(difference, std::fabs(all[all.size() - tail.size() + i] - tail[i]));
        }
        return difference;
      };
      const Decoded last = decode(*model, *scene, set.get(), 2, 1);
      // Sums of another order may round to another bf16.
      const double rounding = precision == Precision::kFp32 ? 1e-4 : 0.02;
      EXPECT(differenceOf(expected.logits, last.logits) < rounding);
      EXPECT(differenceOf(expected.semanticLogits, last.semanticLogits) < rounding);
      const Decoded unshared = decode(*other, *unnamed, otherSet.get(), 0, 3);
      EXPECT(unshared.logits == expected.logits);
      EXPECT(differenceOf(expected.semanticLogits, unshared.semanticLogits) <
             (precision == Precision::kFp32 ? 1e-3 : 0.2));
    }
  }
}
