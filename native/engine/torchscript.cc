#include <ATen/Parallel.h>
#include <c10/core/InferenceMode.h>
#include <torch/csrc/jit/api/module.h>
#include <torch/csrc/jit/passes/freeze_module.h>
#include <torch/csrc/jit/passes/frozen_graph_optimizations.h>
#include <torch/csrc/jit/runtime/graph_executor.h>
#include <torch/csrc/jit/serialization/import.h>

#include <sys/stat.h>

#include <future>
#include <utility>

#include "engine/attention.h"
#include "engine/backend.h"
#include "engine/constants.h"
#include "engine/failure.h"
#include "engine/fused_decoder.h"
#include "engine/fused_encoder.h"
#include "engine/linear.h"
#include "engine/recycled_memory.h"
#include "error.h"

namespace segsam {

namespace {

using torch::jit::IValue;
using torch::jit::Module;

/// A method of a module of a bundle.
struct Signature {
  const char* method;
  /// As TorchScript writes it, without `self`.
  const char* types;
  /// Bundles of earlier versions lack it.
  bool isOptional = false;
};

std::string typesOf(const c10::FunctionSchema& schema) {
  std::string types = "(";
  for (size_t i = 1; i < schema.arguments().size(); ++i) {
    if (i > 1) types += ", ";
    types += schema.arguments()[i].type()->annotation_str();
  }
  types += ") -> ";
  return types + (schema.returns().empty() ? "None" : schema.returns()[0].type()->annotation_str());
}

/// In which a module computes.
struct Arithmetic {
  /// Of its weights.
  at::ScalarType type = at::kFloat;
  /// Whether products of the operators of this addon take 16 bits where the type is wider.
  bool rounded = false;
  /// Whether the linear layers of an encoder's blocks multiply in 8 bits.
  bool inBytes = false;
};

/// One frozen module of a bundle and the methods it promises.
class FrozenModule {
 public:
  FrozenModule(const std::string& path, const std::vector<Signature>& methods, at::Device device,
               const Arithmetic& arithmetic)
      : path_(path), isOnCpu_(device.is_cpu()) {
    struct stat status {};
    if (stat(path.c_str(), &status) != 0) throw Error(kBundleInvalid, path + " does not exist or cannot be read");
    if (!S_ISREG(status.st_mode)) throw Error(kBundleInvalid, path + " is not a file");
    try {
      load(methods, device, arithmetic);
    } catch (const Error&) {
      throw;
    } catch (...) {
      const Failure failure = describeCurrentException();
      if (failure.code == kOutOfMemory) throw;
      throw Error(kBundleInvalid, path + " is not a TorchScript module of a bundle: " + failure.message);
    }
  }

  IValue call(const char* method, std::vector<IValue> arguments) {
    // On the CPU nothing more is gained from it, and the first call of each method takes half as long.
    const torch::jit::GraphOptimizerEnabledGuard optimised(!isOnCpu_ && torch::jit::getGraphExecutorOptimize());
    return module_.get_method(method)(std::move(arguments));
  }

  bool has(const char* method) const { return module_.find_method(method).has_value(); }

  int64_t bytes() const { return bytes_; }

  const std::string& kernelFailure() const { return kernelFailure_; }

 private:
  void load(const std::vector<Signature>& methods, at::Device device, const Arithmetic& arithmetic) {
    const at::NoGradGuard noGrad;
    // For CUDA too: freezing compares and computes thousands of small constants, each of which a GPU is waited for.
    Module module = torch::jit::load(path_, at::kCPU, /*load_debug_files=*/false);
    module.eval();
    if (arithmetic.inBytes && fuseEncoderInBytes(module) == 0) {
      throw Error(kInvalidArgument,
                  "precision int8: " + path_ + " has no blocks that can compute so. Use precision auto");
    }
    convert(module, arithmetic.type);
    if (device.is_cpu()) arrangeKernels(module);
    if (!arithmetic.inBytes) fuseEncoder(module, device, arithmetic.type, &kernelFailure_);
    if (device.is_cpu()) fuseAttention(module);
    fuseDecoder(module, device, arithmetic.rounded, &kernelFailure_);
    std::vector<std::string> preserved;
    for (const Signature& signature : methods) {
      const auto method = module.find_method(signature.method);
      if (!method && signature.isOptional) continue;
      if (!method) throw Error(kBundleInvalid, path_ + " has no method " + signature.method);
      const std::string types = typesOf(method->function().getSchema());
      if (types != signature.types) {
        throw Error(kBundleInvalid, path_ + ": " + signature.method + " is " + types + ", expected " + signature.types);
      }
      if (signature.method != std::string("forward")) preserved.emplace_back(signature.method);
    }
    module_ = torch::jit::freeze_module(module, preserved);
    if (!device.is_cpu()) moveTo(device);
    PackedWeights packed;
    EqualConstants constants;
    for (const Signature& signature : methods) {
      if (signature.isOptional && !has(signature.method)) continue;
      auto graph = module_.get_method(signature.method).graph();
      torch::jit::OptimizeFrozenGraph(graph);
      constants.unite(*graph->block());
      if (device.is_cpu()) packLinears(*graph, packed);
    }
  }

  void moveTo(at::Device device) {
    ConstantMover mover(device);
    mover.move(module_);
    for (const torch::jit::Method& method : module_.get_methods()) mover.move(*method.graph()->block());
  }

  /// Sets the type of every floating-point tensor, parameters, buffers and plain attributes alike; integers stay.
  void convert(const Module& module, at::ScalarType type) {
    for (const IValue& value : module.attributes(/*recurse=*/true)) {
      if (!value.isTensor()) continue;
      at::Tensor tensor = value.toTensor();
      if (!tensor.defined()) continue;
      if (tensor.is_floating_point() && tensor.scalar_type() != type) tensor.set_data(tensor.to(type));
      bytes_ += static_cast<int64_t>(tensor.nbytes());
    }
  }

  /// As convolutions want their kernels where the channels of a position of the image lie side by side.
  static void arrangeKernels(const Module& module) {
    for (const Module& part : module.modules()) {
      if (!part.hasattr("weight") || !part.attr("weight").isTensor()) continue;
      at::Tensor weight = part.attr("weight").toTensor();
      if (weight.defined() && weight.dim() == 4) weight.set_data(weight.contiguous(at::MemoryFormat::ChannelsLast));
    }
  }

  std::string path_;
  bool isOnCpu_;
  Module module_;
  int64_t bytes_ = 0;
  std::string kernelFailure_;
};

class TorchScriptBackend : public Backend {
 public:
  TorchScriptBackend(FrozenModule encoder, FrozenModule decoder, std::optional<FrozenModule> text)
      : encoder_(std::move(encoder)), decoder_(std::move(decoder)), text_(std::move(text)) {}

  std::vector<at::Tensor> encode(const at::Tensor& images) override {
    return encoder_.call("forward", {images}).toTensorVector();
  }

  at::Tensor embedText(const at::Tensor& ids, const at::Tensor& attention) override {
    if (!text_) throw Error(kBundleInvalid, "The bundle has no text encoder");
    return text_->call("forward", {ids, attention}).toTensor();
  }

  at::Tensor embedClasses(const at::Tensor& sentences, const at::Tensor& valid) override {
    return decoder_.call("embed_classes", {sentences, valid}).toTensor();
  }

  Conditioning condition(const Features& features, const at::Tensor& classes) override {
    const IValue result = decoder_.call("condition", {c10::List<at::Tensor>(features), classes});
    const std::vector<IValue> tensors = result.toTupleRef().elements().vec();
    return {tensors[0].toTensor(), tensors[1].toTensor()};
  }

  DecoderOutput decode(const Features& features, const Conditioning& conditioning, const at::Tensor& points,
                       const at::Tensor& labels, const std::optional<at::Tensor>& mask) override {
    const IValue result =
        decoder_.call("decode", {c10::List<at::Tensor>(features), conditioning.classTokens, conditioning.summaryToken,
                                 points, labels, mask ? IValue(*mask) : IValue()});
    const std::vector<IValue> tensors = result.toTupleRef().elements().vec();
    return {tensors[0].toTensor(), tensors[1].toTensor(), tensors[2].toTensor(), tensors[3].toTensor(),
            tensors[4].toTensor()};
  }

  BinaryOutput decodeBinary(const Features& features, const at::Tensor& points, const at::Tensor& labels,
                            const std::optional<at::Tensor>& mask) override {
    const IValue result = decoder_.call(
        "decode_binary", {c10::List<at::Tensor>(features), points, labels, mask ? IValue(*mask) : IValue()});
    const std::vector<IValue> tensors = result.toTupleRef().elements().vec();
    return {tensors[0].toTensor(), tensors[1].toTensor()};
  }

  Features share(const Features& features, bool named) override {
    if (!decoder_.has("fused_share")) return features;
    return decoder_.call("fused_share", {c10::List<at::Tensor>(features), named}).toTensorVector();
  }

  bool decodesBinary() const override { return decoder_.has("decode_binary"); }

  bool hasTextEncoder() const override { return text_.has_value(); }

  std::string kernelFailure() const override {
    return encoder_.kernelFailure().empty() ? decoder_.kernelFailure() : encoder_.kernelFailure();
  }

  int64_t bytes() const override { return encoder_.bytes() + decoder_.bytes() + (text_ ? text_->bytes() : 0); }

 private:
  FrozenModule encoder_;
  FrozenModule decoder_;
  std::optional<FrozenModule> text_;
};

FrozenModule loadEncoder(const ModelFiles& files, at::Device device, Precision precision) {
  return {files.encoder,
          {{"forward", "(Tensor) -> List[Tensor]"}},
          device,
          {scalarType(precision), false, precision == Precision::kInt8}};
}

FrozenModule loadDecoder(const ModelFiles& files, at::Device device, Precision precision) {
  return {files.decoder,
          {{"embed_classes", "(Tensor, Tensor) -> Tensor"},
           {"condition", "(List[Tensor], Tensor) -> Tuple[Tensor, Tensor]"},
           {"decode",
            "(List[Tensor], Tensor, Tensor, Tensor, Tensor, Optional[Tensor]) -> "
            "Tuple[Tensor, Tensor, Tensor, Tensor, Tensor]"},
           {"decode_binary", "(List[Tensor], Tensor, Tensor, Optional[Tensor]) -> Tuple[Tensor, Tensor]", true},
           {"fused_share", "(List[Tensor], bool) -> List[Tensor]", true}},
          device,
          {at::kFloat, device.is_cpu() ? scalarType(precision) == at::kBFloat16 : scalarType(precision) != at::kFloat}};
}

std::optional<FrozenModule> loadTextEncoder(const ModelFiles& files, at::Device device) {
  if (!files.textEncoder) return std::nullopt;
  return FrozenModule(*files.textEncoder, {{"forward", "(Tensor, Tensor) -> Tensor"}}, device, {});
}

}  // namespace

std::unique_ptr<Backend> loadTorchScript(const ModelFiles& files, at::Device device, Precision precision) {
  // Profiling recompiles for each new shape of image or prompts, which makes the first two calls of each slower.
  torch::jit::getProfilingMode() = false;
  recycleMemory();
  // The two large modules side by side, where there is a second core for it.
  const bool isAsync = device.is_cpu() && at::get_num_threads() > 1;
  auto decoder = std::async(isAsync ? std::launch::async : std::launch::deferred, [&, isAsync] {
    if (isAsync) computeOn(1);
    return loadDecoder(files, device, precision);
  });
  FrozenModule encoder = loadEncoder(files, device, precision);
  std::optional<FrozenModule> text = loadTextEncoder(files, device);
  auto backend = std::make_unique<TorchScriptBackend>(std::move(encoder), decoder.get(), std::move(text));
  // Of the weights as they were read, in another type or another order.
  releaseRecycledMemory();
  return backend;
}

}  // namespace segsam
