#include <dlfcn.h>

#include <atomic>
#include <cstddef>
#include <cstdlib>
#include <vector>

#include "check.h"
#include "engine/device.h"
#include "engine/model.h"
#include "engine/scene.h"
#include "ops/mask_bits.h"

using namespace segsam;

// On a GPU: functions of the CUDA runtime with which a host waits, in place of its own, which they call. What asks for
// a value device_waits_test.cc finds on the CPU, by the operator.

namespace {

/// What CTest takes for a test that was not run.
constexpr int kSkipped = 77;

std::atomic<int> waits{0};

template <class... Arguments>
int waitIn(const char* name, Arguments... arguments) {
  ++waits;
  return reinterpret_cast<int (*)(Arguments...)>(dlsym(RTLD_NEXT, name))(arguments...);
}

at::Device firstGpu() {
  try {
    return resolveDevice("cuda");
  } catch (const Error& error) {
    std::cerr << error.what() << "\n";
    std::exit(kSkipped);
  }
}

}  // namespace

// Source of the declarations: CUDA Runtime API, sections "Stream Management", "Event Management" and "Memory
// Management"; enumerations are passed as int.
#pragma GCC visibility push(default)
extern "C" {
int cudaDeviceSynchronize() { return waitIn("cudaDeviceSynchronize"); }
int cudaStreamSynchronize(void* stream) { return waitIn("cudaStreamSynchronize", stream); }
int cudaEventSynchronize(void* event) { return waitIn("cudaEventSynchronize", event); }
int cudaMemcpy(void* target, const void* source, size_t bytes, int kind) {
  return waitIn("cudaMemcpy", target, source, bytes, kind);
}
}
#pragma GCC visibility pop

TEST("the host waits once for an image and once for the masks of its prompts") {
  ModelOptions options;
  options.device = firstGpu();
  options.precision = Precision::kBf16;
  options.imageSize = 256;
  options.maskSize = 128;
  options.textWidth = 256;
  options.normalisation = {{123.675f, 116.28f, 103.53f}, {58.395f, 57.12f, 57.375f}};
  const auto model =
      Model::load({SEG_SAM_TINY "/encoder.pt", SEG_SAM_TINY "/decoder.pt", SEG_SAM_TINY "/text_encoder.pt"}, options);
  useOwnStream(options.device);
  const std::vector<float> sentence(256, 0.1f);
  const auto classes = model->prepareClasses(sentence.data(), {1});

  const std::vector<uint8_t> pixels(300 * 200 * 3, 77);
  const Image image{pixels.data(), PixelType::kUint8, 300, 200, 3, std::nullopt};
  std::shared_ptr<Scene> scene;
  const auto encode = [&] { scene = model->encode({image})[0]; };
  constexpr int64_t kPrompts = 3;
  const std::vector<float> points(kPrompts * 2, 50);
  const std::vector<int32_t> labels(kPrompts, 1);
  std::vector<uint32_t> masks(kPrompts * maskWords(300 * 200)), semanticMasks(masks.size());
  std::vector<float> logits(kPrompts * 128 * 128), semanticLogits(logits.size());
  std::vector<float> iou(kPrompts), agreement(kPrompts), probabilities(kPrompts * 2), presence(kPrompts);
  const auto decode = [&] {
    scene->decode(*model, {kPrompts, 1, points.data(), labels.data(), nullptr}, classes.get(), 0,
                  {1, masks.data(), logits.data(), iou.data(), semanticMasks.data(), semanticLogits.data(),
                   agreement.data(), probabilities.data(), presence.data()});
  };
  // The first calls plan how graphs are run, and a scene is conditioned once.
  for (int i = 0; i < 3; ++i) {
    encode();
    decode();
  }

  waits = 0;
  encode();
  EXPECT_EQUAL(waits.load(), 1);
  decode();
  waits = 0;
  decode();
  EXPECT_EQUAL(waits.load(), 1);
}
