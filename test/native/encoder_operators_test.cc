#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>
#include <torch/csrc/jit/api/module.h>
#include <torch/csrc/jit/passes/freeze_module.h>
#include <torch/csrc/jit/passes/frozen_graph_optimizations.h>
#include <torch/csrc/jit/serialization/import.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "check.h"
#include "engine/brgemm_context.h"
#include "engine/encoder_block.h"
#include "engine/fused_encoder.h"
#include "engine/linear.h"
#include "engine/packed_weight.h"
#include "engine/quantised_weight.h"
#include "ops/tile_loops.h"
#include "tensors.h"

using namespace segsam;

namespace {

at::Tensor wide(const at::Tensor& tensor) { return tensor.to(at::kDouble); }

struct Linear {
  at::Tensor weight, bias;
};

Linear linear(int64_t features, int64_t depth, at::ScalarType type) {
  return {(at::randn({features, depth}) / std::sqrt(static_cast<double>(depth))).to(type), at::randn({features})};
}

PackedLinear packed(const Linear& layer) { return {packLinear(layer.weight), layer.bias}; }

PackedLinear quantised(const Linear& layer) { return {packQuantised(layer.weight), layer.bias}; }

/// (rows, K) as the operators round it: between each row's least and largest value, or 0.
at::Tensor roundedRows(const at::Tensor& x) {
  const at::Tensor least = x.amin(1, true).clamp_max(0);
  const at::Tensor scale = (x.amax(1, true).clamp_min(0) - least) / 255;
  const at::Tensor zero = at::round(-least / scale);
  return (at::clamp(at::round(x / scale) + zero, 0, 255) - zero) * scale;
}

at::Tensor roundedWeight(const at::Tensor& weight) {
  const at::Tensor scale = weight.abs().amax(1, true) / 127;
  return at::round(weight / scale) * scale;
}

at::Tensor apply(const Linear& layer, const at::Tensor& x) {
  return at::linear(x, wide(layer.weight), wide(layer.bias));
}

struct Block {
  at::Tensor x;
  NormWeights norm;
  Linear qkv, proj, lin1, lin2;
  PositionTables tables;
  int64_t heads, window;
};

/// @param sides of the images: batch, height, width
Block block(std::array<int64_t, 3> sides, int64_t window, int64_t heads, int64_t headWidth, at::ScalarType type) {
  at::manual_seed(12);
  const int64_t width = heads * headWidth;
  const int64_t rows = window > 0 ? window : sides[1];
  const int64_t columns = window > 0 ? window : sides[2];
  return {at::randn({sides[0], sides[1], sides[2], width}).to(type),
          {at::randn({width}), at::randn({width}), 1e-6},
          linear(3 * width, width, type),
          linear(width, width, type),
          linear(5 * width, width, type),
          linear(width, 5 * width, type),
          {at::randn({headWidth, 2 * rows - 1}), at::randn({headWidth, 2 * columns - 1})},
          heads,
          window};
}

at::Tensor normalised(const Block& in) {
  return at::layer_norm(wide(in.x), {in.x.size(3)}, wide(in.norm.weight), wide(in.norm.bias), in.norm.epsilon);
}

/// Attention of one window (H, W, C), by its definition in double precision.
at::Tensor attended(const Block& in, const at::Tensor& window) {
  const int64_t height = window.size(0);
  const int64_t width = window.size(1);
  const int64_t depth = window.size(2) / in.heads;
  const at::Tensor qkv = apply(in.qkv, window).reshape({height * width, 3, in.heads, depth}).permute({1, 2, 0, 3});
  at::Tensor scores = at::matmul(qkv[0], qkv[1].transpose(1, 2)) / std::sqrt(static_cast<double>(depth));
  for (int64_t query = 0; query < height * width; ++query) {
    for (int64_t key = 0; key < height * width; ++key) {
      const at::Tensor row = wide(in.tables.rows).select(1, height - 1 + key / width - query / width);
      const at::Tensor column = wide(in.tables.columns).select(1, width - 1 + key % width - query % width);
      scores.select(1, query).select(1, key) += at::matmul(qkv[0].select(1, query), row + column);
    }
  }
  const at::Tensor out = at::matmul(scores.softmax(-1), qkv[2]);
  return apply(in.proj, out.transpose(0, 1).reshape({height, width, window.size(2)}));
}

at::Tensor attentionByDefinition(const Block& in) {
  const at::Tensor rows = normalised(in);
  const int64_t height = in.window > 0 ? in.window : in.x.size(1);
  const int64_t width = in.window > 0 ? in.window : in.x.size(2);
  at::Tensor result = wide(in.x).clone();
  for (int64_t image = 0; image < in.x.size(0); ++image) {
    for (int64_t top = 0; top < in.x.size(1); top += height) {
      for (int64_t left = 0; left < in.x.size(2); left += width) {
        const int64_t down = std::min(height, in.x.size(1) - top);
        const int64_t across = std::min(width, in.x.size(2) - left);
        const auto part = [&](const at::Tensor& of) { return of[image].narrow(0, top, down).narrow(1, left, across); };
        const at::Tensor filled = at::constant_pad_nd(part(rows), {0, 0, 0, width - across, 0, height - down});
        part(result) += attended(in, filled).narrow(0, 0, down).narrow(1, 0, across);
      }
    }
  }
  return result;
}

at::Tensor withAttention(const Block& in) {
  return addAttention(in.x, in.norm, packed(in.qkv), in.tables, packed(in.proj), in.heads, in.window);
}

at::Tensor mlpByDefinition(const Block& in) {
  return wide(in.x) + apply(in.lin2, at::gelu(apply(in.lin1, normalised(in))));
}

at::Tensor withMlp(const Block& in) { return addMlp(in.x, in.norm, packed(in.lin1), packed(in.lin2)); }

/// The types that the operators take here, and how far the result may be off.
std::vector<std::pair<at::ScalarType, double>> types() {
  std::vector<std::pair<at::ScalarType, double>> all = {{at::kFloat, 5e-5}};
  if (multipliesPackedBf16()) all.emplace_back(at::kBFloat16, 0.15);
  return all;
}

/// @param tolerance as a part of each tensor's largest value
void expectNear(const std::vector<at::Tensor>& result, const std::vector<at::Tensor>& expected, double tolerance) {
  EXPECT_EQUAL(result.size(), expected.size());
  for (size_t i = 0; i < result.size(); ++i) {
    EXPECT_NEAR(largestDifference(result[i], expected[i]), 0, tolerance * expected[i].abs().max().item<double>());
  }
}

enum class Blocks { kPlain, kFused, kInBytes };

torch::jit::Module encoder(const char* path, Blocks blocks, at::ScalarType type) {
  torch::jit::Module module = torch::jit::load(path);
  module.eval();
  if (blocks == Blocks::kInBytes) EXPECT(fuseEncoderInBytes(module) > 0);
  for (const auto& value : module.attributes()) {
    if (!value.isTensor() || !value.toTensor().is_floating_point()) continue;
    at::Tensor tensor = value.toTensor();
    tensor.set_data(tensor.to(type));
  }
  if (blocks == Blocks::kFused) EXPECT(fuseEncoder(module, at::kCPU, type) > 0);
  module = torch::jit::freeze_module(module);
  auto graph = module.get_method("forward").graph();
  torch::jit::OptimizeFrozenGraph(graph);
  return module;
}

}  // namespace

TEST("attention of an encoder's block is that of its definition: windows that fit and that do not, whole grids") {
  for (const auto& [type, tolerance] : types()) {
    for (const Block& in :
         {block({1, 6, 6}, 3, 2, 8, type), block({2, 5, 7}, 3, 3, 4, type), block({1, 3, 4}, 6, 1, 10, type),
          block({2, 4, 9}, 0, 2, 16, type), block({1, 20, 9}, 7, 2, 64, type), block({1, 1, 1}, 0, 1, 2, type)}) {
      const at::Tensor result = withAttention(in);
      EXPECT_EQUAL(result.sizes(), in.x.sizes());
      EXPECT_EQUAL(result.scalar_type(), type);
      EXPECT_NEAR(largestDifference(result, attentionByDefinition(in)), 0, tolerance);
    }
  }
}

TEST("the MLP of an encoder's block is that of its definition: of any number of rows, and wider than it is held") {
  for (const auto& [type, tolerance] : types()) {
    for (const Block& in : {block({1, 17, 19}, 0, 2, 16, type), block({1, 1, 3}, 0, 1, 6, type),
                            block({2, 5, 4}, 0, 3, 64, type), block({1, 1, 1}, 0, 5, 10, type)}) {
      const at::Tensor result = withMlp(in);
      EXPECT_EQUAL(result.scalar_type(), type);
      EXPECT_NEAR(largestDifference(result, mlpByDefinition(in)), 0, tolerance);
    }
  }
}

TEST("a block's operators take a view, and refuse what they cannot compute") {
  Block in = block({2, 6, 5}, 3, 2, 8, at::kFloat);
  in.x = in.x.transpose(1, 2);
  EXPECT_NEAR(largestDifference(withAttention(in), attentionByDefinition(in)), 0, 5e-5);
  EXPECT_NEAR(largestDifference(withMlp(in), mlpByDefinition(in)), 0, 5e-5);
  const Block good = block({1, 6, 6}, 3, 2, 8, at::kFloat);
  Block bad = good;
  bad.x = good.x.to(at::kDouble);
  EXPECT(refuses([&] { withAttention(bad); }));
  EXPECT(refuses([&] { withMlp(bad); }));
  bad = good;
  bad.heads = 3;
  EXPECT(refuses([&] { withAttention(bad); }));
  bad = good;
  bad.tables.rows = good.tables.rows.narrow(1, 0, 3).contiguous();
  EXPECT(refuses([&] { withAttention(bad); }));
  bad = block({1, 4, 9}, 0, 2, 8, at::kFloat);
  std::swap(bad.tables.rows, bad.tables.columns);
  EXPECT(refuses([&] { withAttention(bad); }));
  bad = good;
  bad.qkv = linear(32, 16, at::kFloat);
  EXPECT(refuses([&] { withAttention(bad); }));
  bad = good;
  bad.norm.weight = good.norm.weight.narrow(0, 0, 8);
  EXPECT(refuses([&] { withMlp(bad); }));
  bad = good;
  bad.lin1 = linear(80, 12, at::kFloat);
  EXPECT(refuses([&] { withMlp(bad); }));
  bad = good;
  bad.lin2.weight = good.lin2.weight.to(at::kBFloat16);
  EXPECT(refuses([&] { withMlp(bad); }));
  EXPECT(refuses([&] { addMlp(good.x, good.norm, packed(good.lin1), quantised(good.lin2)); }));
  EXPECT(refuses([&] { packQuantised(at::ones({4, 6})); }));
}

TEST("products in 8 bits are those of rounded rows and weights: any number of features, and spans of a long row") {
  if (!multipliesBytes()) return;
  at::manual_seed(14);
  for (const auto& [rows, depth, features] : {std::array<int64_t, 3>{5, 8, 3}, {16, 768, 64}, {33, 2000, 130}}) {
    const at::Tensor x = at::randn({rows, depth}) * at::logspace(-3, 3, rows).unsqueeze(1) + 0.5;
    const at::Tensor weight = at::randn({features, depth}) * at::logspace(-3, 3, features).unsqueeze(1);
    const at::Tensor packedWeight = packQuantised(weight);
    const QuantisedWeight layer(packedWeight, depth, features);
    std::vector<int32_t> sums;
    at::Tensor whole = at::full({rows, features}, 7.0f);
    at::Tensor inSpans = at::full({rows, features}, 7.0f);
    at::Tensor expectedInSpans = at::zeros({rows, features}, at::kDouble);
    const BrgemmContext context(true);
    for (int64_t first = 0; first < depth; first += kQuantisedSpan) {
      const int64_t count = std::min(kQuantisedSpan, depth - first);
      const at::Tensor part = x.narrow(1, first, count).contiguous();
      QuantisedRows quantisedRows;
      quantisedRows.set(part.const_data_ptr<float>(), rows, count);
      for (int64_t panel = 0; panel < layer.panels(); ++panel) {
        layer.multiply(quantisedRows, rows, panel, first, count, inSpans.data_ptr<float>() + panel * kPanel, features,
                       first > 0, sums);
      }
      expectedInSpans += at::linear(roundedRows(wide(part)), roundedWeight(wide(weight)).narrow(1, first, count));
    }
    QuantisedRows quantisedRows;
    quantisedRows.set(x.const_data_ptr<float>(), rows, depth);
    for (int64_t panel = 0; panel < layer.panels(); ++panel) {
      layer.multiply(quantisedRows, rows, panel, 0, depth, whole.data_ptr<float>() + panel * kPanel, features, false,
                     sums);
    }
    const at::Tensor expected = at::linear(roundedRows(wide(x)), roundedWeight(wide(weight)));
    // Of values halfway between two steps, float32 and float64 may round to either.
    const at::Tensor size = x.norm(2, 1, true) * weight.norm(2, 1).unsqueeze(0);
    EXPECT_NEAR(largestDifference(whole / size, expected / size), 0, 1e-3);
    EXPECT_NEAR(largestDifference(inSpans / size, expectedInSpans / size), 0, 1e-3);
    EXPECT((whole - expected).abs().div(size).median().item<double>() < 1e-5);
  }
}

TEST("a row in 8 bits with a value that is no number gives no number, and leaves the others") {
  constexpr int64_t kDepth = 70;
  at::Tensor x = at::randn({4, kDepth});
  x[1][3] = std::numeric_limits<float>::quiet_NaN();
  x[2][69] = -std::numeric_limits<float>::infinity();
  std::vector<uint8_t> bytes(4 * kDepth);
  std::vector<float> scales(4), zeros(4);
  quantiseRows(x.const_data_ptr<float>(), 4, kDepth, bytes.data(), scales.data(), zeros.data());
  EXPECT(std::isfinite(scales[0]) && std::isfinite(scales[3]));
  EXPECT(std::isnan(scales[1]) && std::isnan(scales[2]));
}

TEST("blocks in 8 bits are near those of their definition") {
  if (!multipliesBytes()) return;
  const auto distance = [](const at::Tensor& a, const at::Tensor& b) {
    return ((wide(a) - b).norm() / b.norm()).item<double>();
  };
  for (const auto& [type, tolerance] : types()) {
    for (const Block& in : {block({2, 5, 7}, 3, 3, 4, type), block({1, 20, 9}, 7, 2, 64, type)}) {
      const at::Tensor attended =
          addAttention(in.x, in.norm, quantised(in.qkv), in.tables, quantised(in.proj), in.heads, in.window);
      EXPECT_EQUAL(attended.scalar_type(), type);
      EXPECT_NEAR(distance(attended, attentionByDefinition(in)), 0, 0.03);
      const at::Tensor result = addMlp(in.x, in.norm, quantised(in.lin1), quantised(in.lin2));
      EXPECT_EQUAL(result.scalar_type(), type);
      EXPECT_NEAR(distance(result, mlpByDefinition(in)), 0, 0.03);
    }
  }
}

TEST("encoders compute their blocks by the operators, whose weights are packed once, and give the same features") {
  if (!packsLinears()) return;
  const c10::InferenceMode inference;
  for (const auto& [path, side] : {std::pair(SEG_SAM_TINY "/encoder.pt", 256), {SEG_SAM_CONVERTED "/encoder.pt", 96}}) {
    at::manual_seed(13);
    const at::Tensor image = at::randn({2, 3, side, side});
    const auto expected = encoder(path, Blocks::kPlain, at::kFloat).forward({image}).toTensorVector();
    for (const auto& [type, tolerance] : types()) {
      torch::jit::Module module = encoder(path, Blocks::kFused, type);
      const std::string graph = module.get_method("forward").graph()->toString();
      for (const char* name : {"::add_attention(", "::add_mlp("}) EXPECT(graph.find(name) != std::string::npos);
      EXPECT(graph.find("::pack_linear(") == std::string::npos);
      const auto result = module.forward({image.to(type)}).toTensorVector();
      expectNear(result, expected, type == at::kFloat ? 1e-4 : 5e-2);
      if (!multipliesBytes()) continue;
      torch::jit::Module inBytes = encoder(path, Blocks::kInBytes, type);
      const std::string graphInBytes = inBytes.get_method("forward").graph()->toString();
      EXPECT(graphInBytes.find("::add_attention(") != std::string::npos);
      expectNear(inBytes.forward({image.to(type)}).toTensorVector(), expected, 8e-2);
    }
  }
}

TEST("a class that only has the name of an encoder's block stays as it is") {
  torch::jit::Module module("Block");
  module.define("def forward(self, x: Tensor) -> Tensor:\n    return x + 1\n");
  EXPECT_EQUAL(fuseEncoder(module, at::kCPU, at::kFloat), 0);
  for (const char* name : {"norm1", "attn", "norm2", "mlp", "window", "has_adapter", "Adapter"}) {
    module.register_buffer(name, at::ones({1}));
  }
  EXPECT_EQUAL(fuseEncoder(module, at::kCPU, at::kFloat), 0);
  EXPECT_EQUAL(module.forward({at::ones({1})}).toTensor().item<float>(), 2);
}
