#include <ATen/ATen.h>
#include <torch/csrc/jit/api/module.h>
#include <torch/csrc/jit/passes/freeze_module.h>
#include <torch/csrc/jit/serialization/import.h>

#include <array>
#include <cmath>
#include <string>

#include "check.h"
#include "engine/attention.h"
#include "engine/linear.h"
#include "engine/packed_weight.h"
#include "tensors.h"

using namespace segsam;

namespace {

struct GridInput {
  at::Tensor q, k, v, biasH, biasW;
  double scale;
};

/// q, k and v as views into one product, as in the model.
GridInput gridInput(int64_t batch, int64_t heads, int64_t height, int64_t width, int64_t depth, at::ScalarType type) {
  at::manual_seed(7);
  const int64_t positions = height * width;
  const at::Tensor qkv = at::randn({batch, positions, 3, heads, depth}).to(type).permute({2, 0, 3, 1, 4});
  return {qkv[0],
          qkv[1],
          qkv[2],
          at::randn({batch, heads, positions, height}).to(type),
          at::randn({batch, heads, positions, width}).to(type),
          1.0 / std::sqrt(static_cast<double>(depth))};
}

/// By its definition, in double precision.
at::Tensor attentionOf(const GridInput& in) {
  const auto wide = [](const at::Tensor& tensor) { return tensor.to(at::kDouble); };
  const at::Tensor bias = (wide(in.biasH).unsqueeze(-1) + wide(in.biasW).unsqueeze(-2)).flatten(3);
  const at::Tensor scores = at::matmul(wide(in.q), wide(in.k).transpose(-1, -2)) * in.scale + bias;
  return at::matmul(at::softmax(scores, -1), wide(in.v));
}

at::Tensor attend(const GridInput& in) { return attendGrid(in.q, in.k, in.v, in.biasH, in.biasW, in.scale); }

}  // namespace

TEST("attention over a grid is that of its definition: windows, several tiles, odd sides, widths and depths") {
  for (const auto& [batch, heads, height, width, depth] : {std::array<int64_t, 5>{1, 2, 14, 14, 64},
                                                           {2, 3, 5, 7, 80},
                                                           {1, 1, 3, 3, 7},
                                                           {1, 2, 40, 40, 64},
                                                           {1, 1, 9, 131, 20},
                                                           {1, 1, 5, 515, 16},
                                                           {1, 1, 1, 1, 8}}) {
    const GridInput exact = gridInput(batch, heads, height, width, depth, at::kFloat);
    const at::Tensor out = attend(exact);
    EXPECT_EQUAL(out.sizes(), exact.q.sizes());
    EXPECT_EQUAL(out.scalar_type(), at::kFloat);
    EXPECT_NEAR(largestDifference(out, attentionOf(exact)), 0, 1e-5);
    const GridInput rounded = gridInput(batch, heads, height, width, depth, at::kBFloat16);
    const at::Tensor outRounded = attend(rounded);
    EXPECT_EQUAL(outRounded.scalar_type(), at::kBFloat16);
    EXPECT_NEAR(largestDifference(outRounded, attentionOf(rounded)), 0, 2e-2);
  }
}

TEST("attention survives scores that no exponential holds") {
  GridInput in = gridInput(1, 1, 20, 40, 8, at::kFloat);
  in.q = in.q * 300;
  in.biasH = in.biasH - 1e4;
  const at::Tensor out = attend(in);
  EXPECT(out.isfinite().all().item<bool>());
  EXPECT_NEAR(largestDifference(out, attentionOf(in)), 0, 2e-3);
}

TEST("attention refuses biases of another grid") {
  const GridInput in = gridInput(1, 1, 4, 4, 8, at::kFloat);
  bool refused = false;
  try {
    attendGrid(in.q, in.k, in.v, in.biasH, in.biasW.narrow(3, 0, 3), in.scale);
  } catch (const c10::Error&) {
    refused = true;
  }
  EXPECT(refused);
}

TEST("an encoder of the model attends by the operator, and gives the same features") {
  const std::string path = SEG_SAM_TINY "/encoder.pt";
  const c10::InferenceMode inference;
  torch::jit::Module plain = torch::jit::load(path);
  torch::jit::Module fused = torch::jit::load(path);
  EXPECT_EQUAL(fuseAttention(fused), 2);
  for (torch::jit::Module* module : {&plain, &fused}) {
    module->eval();
    for (const auto& parameter : module->parameters()) parameter.set_data(parameter.to(at::kFloat));
    for (const auto& buffer : module->buffers()) {
      if (buffer.is_floating_point()) buffer.set_data(buffer.to(at::kFloat));
    }
    *module = torch::jit::freeze_module(*module);
  }
  const auto has = [](const torch::jit::Module& module, const char* name) {
    return module.get_method("forward").graph()->toString().find(name) != std::string::npos;
  };
  EXPECT(has(fused, "::attend_grid(") && !has(fused, "scaled_dot_product_attention"));
  EXPECT(has(plain, "scaled_dot_product_attention") && !has(plain, "::attend_grid("));
  const at::Tensor image = at::randn({1, 3, 256, 256});
  const auto expected = plain.forward({image}).toTensorVector();
  const auto features = fused.forward({image}).toTensorVector();
  EXPECT_EQUAL(features.size(), expected.size());
  for (size_t i = 0; i < features.size(); ++i) EXPECT_NEAR(largestDifference(features[i], expected[i]), 0, 1e-4);
}

TEST("packed linear layers are linear layers, of any number of rows and features, with and without bias") {
  at::manual_seed(8);
  for (const auto& [rows, depth, features] :
       {std::array<int64_t, 3>{1, 8, 3}, {7, 33, 64}, {128, 1600, 65}, {300, 64, 200}}) {
    const at::Tensor x = at::randn({2, rows, depth});
    const at::Tensor weight = at::randn({features, depth});
    const at::Tensor bias = at::randn({features});
    const at::Tensor packed = packLinear(weight);
    const double tolerance = 1e-5 * depth;
    EXPECT_NEAR(largestDifference(linearPacked(x, packed, bias, features), at::linear(x, weight, bias)), 0, tolerance);
    EXPECT_NEAR(largestDifference(linearPacked(x, packed, std::nullopt, features), at::linear(x, weight)), 0,
                tolerance);
    // Rows apart from each other, and columns.
    const at::Tensor apart = at::randn({2, rows, 2 * depth}).narrow(2, 1, depth);
    EXPECT_NEAR(largestDifference(linearPacked(apart, packed, bias, features), at::linear(apart, weight, bias)), 0,
                tolerance);
    const at::Tensor across = at::randn({depth, rows}).t();
    EXPECT_NEAR(largestDifference(linearPacked(across, packed, bias, features), at::linear(across, weight, bias)), 0,
                tolerance);
  }
  EXPECT_EQUAL(linearPacked(at::randn({0, 8}), packLinear(at::randn({3, 8})), std::nullopt, 3).sizes(),
               at::IntArrayRef({0, 3}));
}

TEST("a module's linear layers are packed when it is frozen, and what it returns stays") {
  torch::jit::Module module("Layers");
  module.register_parameter("weight", at::randn({5, 8}), false);
  module.register_parameter("other", at::randn({5, 8}), false);
  module.register_parameter("half", at::randn({5, 8}).to(at::kBFloat16), false);
  module.define(R"(
    def forward(self, x, flag: bool):
        y = torch.linear(x, self.weight)
        if flag:
            y = y + torch.linear(x, self.other)
        return y, torch.linear(x.to(self.half.dtype), self.half)
  )");
  module.eval();
  const at::Tensor x = at::randn({3, 8});
  const auto before = module.forward({x, true}).toTuple();
  const torch::jit::Module frozen = torch::jit::freeze_module(module);
  PackedWeights packed;
  EXPECT_EQUAL(packLinears(*frozen.get_method("forward").graph(), packed), packsLinears() ? 2 : 0);
  EXPECT_EQUAL(packed.size(), packsLinears() ? 2u : 0u);
  const auto after = torch::jit::Module(frozen).forward({x, true}).toTuple();
  for (size_t i = 0; i < 2; ++i) {
    EXPECT_NEAR(largestDifference(after->elements()[i].toTensor(), before->elements()[i].toTensor()), 0, 1e-4);
  }
}
