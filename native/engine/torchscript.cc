#include <c10/core/InferenceMode.h>
#include <torch/csrc/jit/api/module.h>
#include <torch/csrc/jit/passes/freeze_module.h>
#include <torch/csrc/jit/passes/frozen_graph_optimizations.h>
#include <torch/csrc/jit/runtime/graph_executor.h>
#include <torch/csrc/jit/serialization/import.h>

#include <sys/stat.h>

#include <utility>

#include "engine/backend.h"
#include "engine/failure.h"
#include "error.h"

namespace segsam {

namespace {

using torch::jit::IValue;
using torch::jit::Module;

struct Signature {
  const char* method;
  size_t arguments;
};

/// One frozen module of a bundle and the methods it promises.
class FrozenModule {
 public:
  FrozenModule(const std::string& path, const std::vector<Signature>& methods, at::Device device, at::ScalarType type)
      : path_(path) {
    struct stat status {};
    if (stat(path.c_str(), &status) != 0) throw Error(kBundleInvalid, path + " does not exist or cannot be read");
    if (!S_ISREG(status.st_mode)) throw Error(kBundleInvalid, path + " is not a file");
    try {
      load(methods, device, type);
    } catch (const c10::OutOfMemoryError&) {
      throw;
    } catch (const std::bad_alloc&) {
      throw;
    } catch (const c10::Error&) {
      const Failure failure = describeCurrentException();
      if (failure.code == kOutOfMemory) throw;
      throw Error(kBundleInvalid, path + " is not a TorchScript module of a bundle: " + failure.message);
    } catch (const std::exception& error) {
      throw Error(kBundleInvalid, path + " is not a TorchScript module of a bundle: " + firstLine(error.what()));
    }
  }

  IValue call(const char* method, std::vector<IValue> arguments) {
    return module_.get_method(method)(std::move(arguments));
  }

  int64_t bytes() const { return bytes_; }

  /// Elements of a list or tuple of tensors, or the one tensor.
  std::vector<at::Tensor> tensors(const IValue& value, const char* method) const {
    if (value.isTensor()) return {value.toTensor()};
    if (value.isTensorList()) return value.toTensorVector();
    std::vector<at::Tensor> result;
    if (value.isTuple()) {
      for (const IValue& element : value.toTupleRef().elements()) {
        if (!element.isTensor()) break;
        result.push_back(element.toTensor());
      }
      if (result.size() == value.toTupleRef().elements().size()) return result;
    }
    throw Error(kBundleInvalid, path_ + ": " + method + " returned a " + value.tagKind() + ", expected tensors");
  }

  std::vector<at::Tensor> tensors(const IValue& value, const char* method, size_t count) const {
    std::vector<at::Tensor> result = tensors(value, method);
    if (result.size() != count) {
      throw Error(kBundleInvalid, path_ + ": " + method + " returned " + std::to_string(result.size()) +
                                      " tensors, expected " + std::to_string(count));
    }
    return result;
  }

 private:
  void load(const std::vector<Signature>& methods, at::Device device, at::ScalarType type) {
    const at::NoGradGuard noGrad;
    Module module = torch::jit::load(path_, device, /*load_debug_files=*/false);
    module.eval();
    convert(module, type);
    std::vector<std::string> preserved;
    for (const Signature& signature : methods) {
      const auto method = module.find_method(signature.method);
      if (!method) throw Error(kBundleInvalid, path_ + " has no method " + signature.method);
      // The first argument of the schema is the module itself.
      const size_t arguments = method->function().getSchema().arguments().size() - 1;
      if (arguments != signature.arguments) {
        throw Error(kBundleInvalid, path_ + ": " + signature.method + " takes " + std::to_string(arguments) +
                                        " arguments, expected " + std::to_string(signature.arguments));
      }
      if (signature.method != std::string("forward")) preserved.emplace_back(signature.method);
    }
    module_ = torch::jit::freeze_module(module, preserved);
    for (const Signature& signature : methods) {
      auto graph = module_.get_method(signature.method).graph();
      torch::jit::OptimizeFrozenGraph(graph);
    }
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

  std::string path_;
  Module module_;
  int64_t bytes_ = 0;
};

class TorchScriptBackend : public Backend {
 public:
  TorchScriptBackend(const ModelFiles& files, at::Device device, at::ScalarType encoderType)
      : encoder_(files.encoder, {{"forward", 1}}, device, encoderType),
        decoder_(files.decoder, {{"embed_classes", 2}, {"condition", 2}, {"decode", 6}}, device, at::kFloat) {
    if (files.textEncoder)
      text_.emplace(*files.textEncoder, std::vector<Signature>{{"forward", 2}}, device, at::kFloat);
  }

  std::vector<at::Tensor> encode(const at::Tensor& images) override {
    return encoder_.tensors(encoder_.call("forward", {images}), "forward");
  }

  at::Tensor embedText(const at::Tensor& ids, const at::Tensor& attention) override {
    if (!text_) throw Error(kBundleInvalid, "The bundle has no text encoder");
    return text_->tensors(text_->call("forward", {ids, attention}), "forward", 1)[0];
  }

  at::Tensor embedClasses(const at::Tensor& sentences, const at::Tensor& valid) override {
    return decoder_.tensors(decoder_.call("embed_classes", {sentences, valid}), "embed_classes", 1)[0];
  }

  Conditioning condition(const Features& features, const at::Tensor& classes) override {
    auto tensors =
        decoder_.tensors(decoder_.call("condition", {c10::List<at::Tensor>(features), classes}), "condition", 2);
    return {tensors[0], tensors[1]};
  }

  DecoderOutput decode(const Features& features, const Conditioning& conditioning, const at::Tensor& points,
                       const at::Tensor& labels, const std::optional<at::Tensor>& mask) override {
    auto tensors = decoder_.tensors(
        decoder_.call("decode", {c10::List<at::Tensor>(features), conditioning.classTokens, conditioning.summaryToken,
                                 points, labels, mask ? IValue(*mask) : IValue()}),
        "decode", 5);
    return {tensors[0], tensors[1], tensors[2], tensors[3], tensors[4]};
  }

  bool hasTextEncoder() const override { return text_.has_value(); }

  int64_t bytes() const override { return encoder_.bytes() + decoder_.bytes() + (text_ ? text_->bytes() : 0); }

 private:
  FrozenModule encoder_;
  FrozenModule decoder_;
  std::optional<FrozenModule> text_;
};

}  // namespace

std::unique_ptr<Backend> loadTorchScript(const ModelFiles& files, at::Device device, at::ScalarType encoderType) {
  // Profiling runs recompile for each new shape, so that the first calls take longer; frozen graphs gain nothing from
  // it.
  torch::jit::getProfilingMode() = false;
  return std::make_unique<TorchScriptBackend>(files, device, encoderType);
}

}  // namespace segsam
