#pragma once

#include <torch/csrc/jit/api/module.h>
#include <torch/csrc/jit/passes/freeze_module.h>
#include <torch/csrc/jit/serialization/import.h>

#include <string>
#include <vector>

#include "check.h"
#include "engine/fused_decoder.h"
#include "engine/linear.h"
#include "tensors.h"

/// A module of a bundle, in float32.
inline torch::jit::Module loadedModule(const std::string& path) {
  torch::jit::Module module = torch::jit::load(path);
  module.eval();
  for (const auto& value : module.attributes()) {
    if (!value.isTensor() || !value.toTensor().is_floating_point()) continue;
    at::Tensor tensor = value.toTensor();
    tensor.set_data(tensor.to(at::kFloat));
  }
  return module;
}

/// A decoder as it decodes, by the operators where `fused`.
inline torch::jit::Module decoderOf(const std::string& path, bool fused, bool rounded) {
  torch::jit::Module module = loadedModule(path);
  if (fused) EXPECT_EQUAL(segsam::fuseDecoder(module, at::kCPU, rounded) > 0, segsam::packsLinears());
  std::vector<std::string> methods{"decode"};
  if (module.find_method("fused_share")) methods.emplace_back("fused_share");
  return torch::jit::freeze_module(module, methods);
}

inline std::vector<torch::jit::IValue> decoded(torch::jit::Module& decoder,
                                               const std::vector<torch::jit::IValue>& arguments) {
  return decoder.get_method("decode")(arguments).toTupleRef().elements().vec();
}

/// @param tolerance of the greatest value of each output
inline void expectNear(const std::vector<torch::jit::IValue>& actual, const std::vector<torch::jit::IValue>& expected,
                       double tolerance) {
  for (size_t i = 0; i < expected.size(); ++i) {
    EXPECT_EQUAL(actual[i].toTensor().sizes(), expected[i].toTensor().sizes());
    const double size = expected[i].toTensor().abs().max().item<double>();
    EXPECT_NEAR(largestDifference(actual[i].toTensor(), expected[i].toTensor()), 0, tolerance * size);
  }
}
