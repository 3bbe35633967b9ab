#include <ATen/ATen.h>
#include <ATen/record_function.h>
#include <c10/core/InferenceMode.h>
#include <torch/csrc/jit/passes/frozen_graph_optimizations.h>
#include <torch/csrc/jit/runtime/graph_executor.h>

#include <algorithm>
#include <string>
#include <vector>

#include "check.h"
#include "decoders.h"
#include "engine/decode_output.h"
#include "engine/image.h"
#include "ops/mask_bits.h"

using namespace segsam;

// On a CUDA device the host runs ahead of what it asked for, until it asks for a value. What does so is known by the
// operator, on any device: here the path of devices runs on the CPU, and the profiler's hook counts those operators.

namespace {

/// Operators whose result, or its shape, depends on values: the host waits for the device.
const std::vector<std::string>& waiting() {
  static const std::vector<std::string> names = {"aten::_local_scalar_dense",
                                                 "aten::item",
                                                 "aten::is_nonzero",
                                                 "aten::nonzero",
                                                 "aten::nonzero_numpy",
                                                 "aten::masked_select",
                                                 "aten::equal",
                                                 "aten::allclose",
                                                 "aten::_unique2",
                                                 "aten::unique_dim",
                                                 "aten::bincount",
                                                 "aten::histc"};
  return names;
}

thread_local std::vector<std::string> waits;

/// While it lives, the operators of this thread are looked at.
class WaitCounter {
 public:
  WaitCounter() {
    waits.clear();
    handle_ = at::addThreadLocalCallback(
        at::RecordFunctionCallback([](const at::RecordFunction& call) -> std::unique_ptr<at::ObserverContext> {
          const std::string name = call.name();
          if (std::find(waiting().begin(), waiting().end(), name) != waiting().end()) waits.push_back(name);
          return nullptr;
        }).scopes({at::RecordScope::FUNCTION}));
  }
  WaitCounter(const WaitCounter&) = delete;
  WaitCounter& operator=(const WaitCounter&) = delete;
  ~WaitCounter() { at::removeCallback(handle_); }

 private:
  at::CallbackHandle handle_;
};

/// As a device other than the CPU gets it.
torch::jit::Module load(const std::string& path, const std::vector<std::string>& methods) {
  torch::jit::Module module = torch::jit::freeze_module(loadedModule(path), methods);
  for (const std::string& method : methods) {
    auto graph = module.get_method(method).graph();
    torch::jit::OptimizeFrozenGraph(graph);
  }
  return module;
}

}  // namespace

TEST("what waits for a device is seen") {
  const WaitCounter counter;
  const at::Tensor values = at::tensor({0.0f, 2.0f});
  EXPECT_EQUAL(values[1].item<float>(), 2);
  EXPECT_EQUAL(values.index({values > 0}).numel(), 1);
  EXPECT(std::find(waits.begin(), waits.end(), "aten::item") != waits.end());
  EXPECT(std::find(waits.begin(), waits.end(), "aten::nonzero") != waits.end());
}

TEST("on a device no value is asked for from an image to its features, nor from prompts to the copy of their results") {
  const c10::InferenceMode inference;
  torch::jit::Module encoder = load(SEG_SAM_TINY "/encoder.pt", {"forward"});
  torch::jit::Module decoder = load(SEG_SAM_TINY "/decoder.pt", {"embed_classes", "condition", "decode"});
  constexpr int64_t kPrompts = 3;
  constexpr int64_t kSide = 128;
  constexpr int64_t kClasses = 5;
  const std::vector<uint8_t> pixels(90 * 60 * 3, 77);
  const Image image{pixels.data(), PixelType::kUint8, 90, 60, 3, std::nullopt};
  const Frame frame = Frame::of(image.width, image.height, 256, ResizeMode::kLongest);
  const Normalisation normalisation{{100, 100, 100}, {50, 50, 50}};
  const at::Tensor sentences = at::randn({kClasses, 2, 256});
  const at::Tensor valid = at::ones({kClasses, 2}, at::kBool);
  const at::Tensor points = at::rand({kPrompts, 2, 2}) * 200;
  const at::Tensor labels = at::tensor({1, -1, 1, 0, 2, 3}, at::kLong).reshape({kPrompts, 2});
  std::vector<uint32_t> masks(kPrompts * maskWords(90 * 60)), semanticMasks(masks.size());
  std::vector<float> logits(kPrompts * kSide * kSide), semanticLogits(logits.size());
  std::vector<float> iou(kPrompts), agreement(kPrompts), probabilities(kPrompts * (kClasses + 1)),
      presence(kPrompts * kClasses);

  const auto pass = [&] {
    const at::Tensor input = toInputOn(at::kCPU, image, frame, normalisation).unsqueeze(0);
    const auto features = encoder.forward({input}).toTensorVector();
    const c10::List<at::Tensor> listed(features);
    const at::Tensor vectors = decoder.get_method("embed_classes")({sentences, valid}).toTensor();
    const auto conditioning = decoder.get_method("condition")({listed, vectors}).toTupleRef().elements().vec();
    for (const torch::jit::IValue& mask :
         {torch::jit::IValue(), torch::jit::IValue(at::randn({kPrompts, 1, kSide, kSide}))}) {
      const auto result = decoder.get_method("decode")({listed, conditioning[0], conditioning[1], points, labels, mask})
                              .toTupleRef()
                              .elements()
                              .vec();
      const ChunkOutput output{result[0].toTensor(), result[1].toTensor(), result[2].toTensor().squeeze(1),
                               result[3].toTensor().softmax(-1),
                               result[4].toTensor().softmax(-1).narrow(2, 0, kClasses).amax(1)};
      const DecodedViews views{1,
                               masks.data(),
                               logits.data(),
                               iou.data(),
                               semanticMasks.data(),
                               semanticLogits.data(),
                               agreement.data(),
                               probabilities.data(),
                               presence.data()};
      writeOnDevice(output, {{{kPrompts, 2, nullptr, nullptr, nullptr}, 0.0f, views}}, frame);
    }
  };
  // As `loadTorchScript` has it. The first call plans how a graph is run.
  const bool profiled = torch::jit::getProfilingMode().exchange(false);
  pass();
  const WaitCounter counter;
  pass();
  torch::jit::getProfilingMode() = profiled;
  EXPECT_EQUAL(waits, std::vector<std::string>{});
}
