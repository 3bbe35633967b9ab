#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>
#include <torch/csrc/jit/api/module.h>

#include <array>
#include <cmath>
#include <string>
#include <vector>

#include "check.h"
#include "cuda/decoder.h"
#include "decoders.h"
#include "engine/brgemm_context.h"
#include "engine/fused_decoder.h"
#include "engine/linear.h"
#include "engine/mask_upscaling.h"
#include "engine/prompted_image.h"
#include "engine/shared_attention.h"
#include "engine/token_attention.h"
#include "tensors.h"

using namespace segsam;

namespace {

at::Tensor wide(const at::Tensor& tensor) { return tensor.to(at::kDouble); }

struct Attention {
  at::Tensor image, positions, queries, keys, shifts, values, bias, weight, shift;
  int64_t heads;
};

Attention attention(int64_t images, int64_t prompts, int64_t length, int64_t width, int64_t tokens, int64_t heads) {
  at::manual_seed(9);
  const int64_t rows = tokens * heads;
  const double scale = 1.0 / std::sqrt(static_cast<double>(width));
  return {at::randn({images, length, width}),
          at::randn({1, length, width}),
          at::randn({prompts, rows, width}) * scale,
          at::randn({prompts, rows, width}) * scale,
          at::randn({prompts, rows}),
          at::randn({prompts, rows, width}),
          at::randn({width}),
          at::randn({width}),
          at::randn({width}),
          heads};
}

at::Tensor image(const Attention& in, bool rounded) { return attendImage(in.queries, in.image, in.positions, rounded); }

at::Tensor imageByDefinition(const Attention& in) {
  const at::Tensor scores = at::matmul(wide(in.queries), wide(in.image + in.positions).transpose(1, 2));
  return at::matmul(scores.softmax(-1), wide(in.image));
}

AttendedTokens attended(const Attention& in) {
  return {in.keys, in.shifts, in.values, in.bias, in.heads, in.weight, in.shift, 1e-5, std::nullopt};
}

at::Tensor tokens(const Attention& in, bool rounded) {
  return attendTokens(in.image, in.positions, attended(in), rounded);
}

at::Tensor tokensByDefinition(const Attention& in) {
  const int64_t prompts = in.keys.size(0);
  const at::Tensor scores =
      at::matmul(wide(in.image + in.positions), wide(in.keys).transpose(1, 2)) + wide(in.shifts).unsqueeze(1);
  const at::Tensor shares = scores.reshape({prompts, in.image.size(1), -1, in.heads}).softmax(2).flatten(2);
  const at::Tensor sum = wide(in.image) + wide(in.bias) + at::matmul(shares, wide(in.values));
  return at::layer_norm(sum, {in.image.size(2)}, wide(in.weight), wide(in.shift), 1e-5);
}

/// Images, prompts, length, width, tokens and heads.
const std::vector<std::array<int64_t, 6>> kShapes = {
    {1, 1, 4096, 64, 7, 8}, {1, 3, 300, 32, 8, 4}, {2, 2, 262, 36, 7, 8}, {3, 3, 131, 32, 5, 8},
    {2, 2, 130, 33, 9, 16}, {1, 2, 70, 12, 3, 6},  {1, 2, 1, 8, 1, 4}};

UpscalingWeights upscalingWeights(int64_t width, int64_t middle, int64_t channels) {
  at::manual_seed(10);
  return {at::randn({width, middle, 2, 2}) / std::sqrt(static_cast<double>(width)),
          at::randn({middle}),
          at::randn({middle}),
          at::randn({middle}),
          1e-6,
          at::randn({middle, channels, 2, 2}) / std::sqrt(static_cast<double>(middle)),
          at::randn({channels})};
}

at::Tensor upscaledByDefinition(const at::Tensor& image, int64_t side, const UpscalingWeights& w,
                                const at::Tensor& masks) {
  at::Tensor x = wide(image).transpose(1, 2).reshape({image.size(0), image.size(2), side, side});
  x = at::conv_transpose2d(x, wide(w.weight1), wide(w.bias1), 2).permute({0, 2, 3, 1});
  x = at::layer_norm(x, {x.size(3)}, wide(w.normWeight), wide(w.normBias), w.epsilon).permute({0, 3, 1, 2});
  x = at::gelu(at::conv_transpose2d(at::gelu(x), wide(w.weight2), wide(w.bias2), 2));
  return at::matmul(wide(masks), x.flatten(2)).reshape({image.size(0), masks.size(1), 4 * side, 4 * side});
}

torch::jit::Module decoder(bool fused, bool rounded) {
  return decoderOf(SEG_SAM_CONVERTED "/decoder.pt", fused, rounded);
}

/// What a decoder is given, without a mask and with one.
struct Decoding {
  static constexpr int64_t kSide = 6;

  explicit Decoding(uint64_t seed) {
    at::manual_seed(seed);
    const int64_t channels = loadedModule(SEG_SAM_CONVERTED "/decoder.pt")
                                 .attr("mask_decoder")
                                 .toModule()
                                 .attr("iou_token")
                                 .toModule()
                                 .attr("weight")
                                 .toTensor()
                                 .size(1);
    features.push_back(at::randn({1, channels, kSide, kSide}));
    classes = at::randn({1, 5, channels});
    summary = at::randn({1, 1, channels});
    points = at::rand({3, 2, 2}) * 16 * kSide;
    masks = {torch::jit::IValue(), torch::jit::IValue(at::randn({3, 1, 24, 24}))};
  }

  std::vector<torch::jit::IValue> outputs(torch::jit::Module& module, const torch::jit::IValue& mask) const {
    return decoded(module, {features, classes, summary, points, labels, mask});
  }

  c10::List<at::Tensor> features;
  at::Tensor classes, summary, points;
  at::Tensor labels = at::tensor({1, -1, 1, 0, 2, 3}, at::kLong).reshape({3, 2});
  std::vector<torch::jit::IValue> masks;
};

}  // namespace

TEST("tokens attend to an image as by definition: shared and own images, several tiles, odd sizes") {
  for (const auto& [images, prompts, length, width, count, heads] : kShapes) {
    const Attention in = attention(images, prompts, length, width, count, heads);
    EXPECT_EQUAL(image(in, false).sizes(), in.queries.sizes());
    EXPECT_NEAR(largestDifference(image(in, false), imageByDefinition(in)), 0, 2e-5);
    EXPECT_NEAR(largestDifference(image(in, true), imageByDefinition(in)), 0, 4e-2);
  }
}

TEST("an image attends to tokens as by definition: shared and own images, several tiles, odd sizes") {
  for (const auto& [images, prompts, length, width, count, heads] : kShapes) {
    const Attention in = attention(images, prompts, length, width, count, heads);
    const at::Tensor expected = tokensByDefinition(in);
    EXPECT_EQUAL(tokens(in, false).sizes(), at::IntArrayRef({prompts, length, width}));
    EXPECT_NEAR(largestDifference(tokens(in, false), expected), 0, 1e-4);
    EXPECT_NEAR(largestDifference(tokens(in, true), expected), 0, 1e-1);
  }
}

TEST("an image attends to tokens and queries to the new image, as one after the other") {
  for (const auto& [images, prompts, length, width, count, heads] : kShapes) {
    Attention in = attention(images, prompts, length, width, count, heads);
    const at::Tensor newImage = tokensByDefinition(in);
    Attention after = in;
    after.image = newImage;
    const at::Tensor sums = imageByDefinition(after);
    const auto exact = attendBoth(in.image, in.positions, attended(in), in.queries, false);
    EXPECT_EQUAL(exact.first.scalar_type(), at::kFloat);
    EXPECT_EQUAL(exact.second.sizes(), in.queries.sizes());
    EXPECT_NEAR(largestDifference(exact.first, newImage), 0, 1e-4);
    EXPECT_NEAR(largestDifference(exact.second, sums), 0, 1e-4);
    const auto rounded = attendBoth(in.image, in.positions, attended(in), in.queries, true);
    EXPECT_NEAR(largestDifference(rounded.first.to(at::kFloat), newImage), 0, 1e-1);
    EXPECT_NEAR(largestDifference(rounded.second, sums), 0, 1e-1);
    if (rounded.first.scalar_type() == at::kFloat) continue;
    // The next layer begins with what is rounded.
    const at::Tensor given = rounded.first;
    after.image = given.to(at::kFloat);
    const auto next = attendBoth(given, in.positions, attended(in), in.queries, true);
    EXPECT_NEAR(largestDifference(next.first.to(at::kFloat), tokensByDefinition(after)), 0, 1e-1);
    EXPECT(refuses([&] { attendBoth(given, in.positions, attended(in), in.queries, false); }));
    EXPECT(refuses([&] { attendImage(in.queries, given, in.positions, true); }));
    EXPECT(refuses([&] { attendTokens(given, in.positions, attended(in), true); }));
  }
}

TEST("an image attends to tokens by what prompts share of it, as by definition") {
  for (const auto& [images, prompts, length, width, count, heads] : kShapes) {
    if (images > 1) continue;
    Attention in = attention(1, prompts, length, width, count, heads);
    constexpr int64_t kDepth = 10;
    const at::Tensor weight = at::randn({kDepth, width}) / std::sqrt(static_cast<double>(width));
    const at::Tensor bias = at::randn({kDepth});
    AttendedTokens shared = attended(in);
    shared.keys = at::randn({prompts, count * heads, kDepth});
    shared.shifts = at::zeros({prompts, count * heads});
    shared.sharedImage = at::linear(in.image + in.positions, weight, bias);
    in.keys = at::matmul(shared.keys, weight);
    in.shifts = at::matmul(shared.keys, bias);
    const at::Tensor expected = tokensByDefinition(in);
    const auto exact = attendBoth(in.image, in.positions, shared, in.queries, false);
    EXPECT_NEAR(largestDifference(exact.first, expected), 0, 1e-4);
    shared.sharedImage = shared.sharedImage->to(at::kBFloat16);
    const auto rounded = attendBoth(in.image, in.positions, shared, in.queries, true);
    EXPECT_NEAR(largestDifference(rounded.first.to(at::kFloat), expected), 0, 0.3);
    shared.sharedImage = at::randn({1, length, kDepth + 2});
    EXPECT(refuses([&] { attendBoth(in.image, in.positions, shared, in.queries, false); }));
    shared.sharedImage = at::randn({1, length + 1, kDepth});
    EXPECT(refuses([&] { attendBoth(in.image, in.positions, shared, in.queries, false); }));
  }
}

TEST("tokens attend to what prompts share of an image as by definition, whatever the other prompts are") {
  // Prompts, tokens, length, heads and width of a head.
  const std::vector<std::array<int64_t, 5>> shapes = {{1, 7, 4096, 8, 16}, {3, 8, 300, 4, 8}, {3, 5, 131, 8, 2},
                                                      {2, 9, 130, 3, 5},   {1, 1, 1, 1, 1},   {40, 9, 70, 2, 4}};
  for (const auto& [prompts, tokens, length, heads, width] : shapes) {
    at::manual_seed(13);
    const at::Tensor queries = at::randn({prompts, tokens, heads * width});
    const at::Tensor keys = at::randn({1, length, heads * width});
    const at::Tensor values = at::randn({1, length, heads * width});
    const auto ofHeads = [heads = heads](const at::Tensor& rows) {
      return wide(rows).unflatten(2, {heads, -1}).transpose(1, 2);
    };
    const at::Tensor scores = at::matmul(ofHeads(queries), ofHeads(keys).transpose(2, 3));
    const at::Tensor expected = at::matmul(scores.softmax(-1), ofHeads(values)).transpose(1, 2).flatten(2);
    const at::Tensor exact = attendShared(queries, keys, values, heads);
    EXPECT_EQUAL(exact.sizes(), queries.sizes());
    EXPECT_NEAR(largestDifference(exact, expected), 0, 2e-5);
    const at::Tensor k = keys.to(at::kBFloat16);
    const at::Tensor v = values.to(at::kBFloat16);
    const at::Tensor rounded = attendShared(queries, k, v, heads);
    EXPECT_NEAR(largestDifference(rounded, expected), 0, 0.1);
    const at::Tensor last = queries.narrow(0, prompts - 1, 1);
    EXPECT_EQUAL(largestDifference(attendShared(last, k, v, heads), rounded.narrow(0, prompts - 1, 1)), 0);
    EXPECT(refuses([&] { attendShared(queries, keys, v, heads); }));
    EXPECT(refuses([&] { attendShared(queries, keys, at::cat({values, values}, 1), heads); }));
    EXPECT(refuses([&] { attendShared(queries, keys, values, heads * width + 1); }));
  }
}

TEST("attention survives scores that no exponential holds, up and down") {
  for (const double scale : {-1e4, 1e4}) {
    Attention in = attention(1, 2, 200, 16, 4, 8);
    in.queries = in.queries * scale;
    in.keys = in.keys * scale;
    EXPECT_NEAR(largestDifference(image(in, false), imageByDefinition(in)), 0, 1e-2);
    EXPECT_NEAR(largestDifference(tokens(in, false), tokensByDefinition(in)), 0, 1e-2);
    const at::Tensor queries = in.queries.narrow(1, 0, 5);
    const at::Tensor keys = in.image.narrow(2, 0, 16);
    const at::Tensor expected = at::matmul(at::matmul(wide(queries), wide(keys[0]).t()).softmax(-1), wide(keys[0]));
    EXPECT_NEAR(largestDifference(attendShared(queries, keys, keys, 1), expected), 0, 1e-2);
  }
}

TEST("masks are those of two transposed convolutions, a norm, GELU and the mask vectors") {
  for (const auto& [prompts, side, width, middle, channels, count] : {std::array<int64_t, 6>{1, 16, 64, 16, 8, 4},
                                                                      {3, 9, 32, 8, 4, 1},
                                                                      {2, 5, 7, 6, 3, 2},
                                                                      {1, 4, 12, 3, 2, 4},
                                                                      {1, 6, 20, 20, 4, 4},
                                                                      {1, 1, 256, 64, 32, 4}}) {
    const UpscalingWeights weights = upscalingWeights(width, middle, channels);
    const at::Tensor tokens = at::randn({prompts, side * side, width});
    const at::Tensor masks = at::randn({prompts, count, channels});
    const at::Tensor expected = upscaledByDefinition(tokens, side, weights, masks);
    const at::Tensor exact = upscaleMasks(tokens, side, weights, masks, false);
    EXPECT_EQUAL(exact.sizes(), expected.sizes());
    EXPECT_NEAR(largestDifference(exact, expected), 0, 5e-5);
    EXPECT_NEAR(largestDifference(upscaleMasks(tokens, side, weights, masks, true), expected), 0, 0.3);
    if (!multipliesPackedBf16() || width % 2 != 0) continue;
    const at::Tensor rounded = tokens.to(at::kBFloat16);
    EXPECT_EQUAL(largestDifference(upscaleMasks(rounded, side, weights, masks, true),
                                   upscaleMasks(rounded.to(at::kFloat), side, weights, masks, true)),
                 0);
    EXPECT_EQUAL(largestDifference(upscaleMasks(rounded, side, weights, masks, false),
                                   upscaleMasks(rounded.to(at::kFloat), side, weights, masks, false)),
                 0);
  }
}

TEST("an embedding and what prompts add to it become tokens") {
  const at::Tensor one = at::randn({1, 5, 9, 9});
  const at::Tensor two = at::randn({2, 5, 9, 9});
  const at::Tensor flat = at::randn({1, 5, 1, 1}).expand({1, 5, 9, 9});
  const at::Tensor own = at::randn({4, 5, 9, 9});
  const auto tokensOf = [](const at::Tensor& grid) { return grid.flatten(2).transpose(1, 2); };
  EXPECT_EQUAL(largestDifference(promptedImage(one, flat, 4), tokensOf(one + flat)), 0);
  const at::Tensor inRows = one.contiguous(at::MemoryFormat::ChannelsLast);
  const at::Tensor flats = at::randn({4, 5, 1, 1}).expand({4, 5, 9, 9});
  EXPECT_EQUAL(largestDifference(promptedImage(inRows, flat, 4), tokensOf(one + flat)), 0);
  EXPECT_EQUAL(largestDifference(promptedImage(inRows, flats, 4), tokensOf(one + flats)), 0);
  EXPECT_EQUAL(largestDifference(promptedImage(inRows, own, 4), tokensOf(one + own)), 0);
  EXPECT_EQUAL(largestDifference(promptedImage(one, own, 4), tokensOf(one + own)), 0);
  EXPECT_EQUAL(largestDifference(promptedImage(two, flat, 4), tokensOf(two.repeat_interleave(2, 0) + flat)), 0);
  EXPECT_EQUAL(largestDifference(promptedImage(two, own, 4), tokensOf(two.repeat_interleave(2, 0) + own)), 0);
  EXPECT(refuses([&] { promptedImage(two, own, 5); }));
}

TEST("operators of the decoders refuse what they cannot compute") {
  const Attention in = attention(1, 2, 20, 16, 3, 8);
  EXPECT(refuses([&] { attendImage(in.queries, in.image, in.positions.narrow(1, 0, 19), false); }));
  EXPECT(refuses([&] { attendImage(in.queries.narrow(2, 0, 15), in.image, in.positions, false); }));
  EXPECT(refuses([&] { attendImage(in.queries.to(at::kDouble), in.image, in.positions, false); }));
  Attention other = in;
  other.heads = 5;
  EXPECT(refuses([&] { tokens(other, false); }));
  other = in;
  other.shifts = in.shifts.narrow(1, 0, 23);
  EXPECT(refuses([&] { tokens(other, false); }));
  EXPECT(refuses([&] { attendBoth(in.image, in.positions, attended(other), in.queries, false); }));
  EXPECT(refuses([&] { attendBoth(in.image, in.positions, attended(in), in.queries.narrow(0, 0, 1), false); }));
  const UpscalingWeights weights = upscalingWeights(8, 4, 2);
  const at::Tensor masks = at::randn({1, 4, 2});
  EXPECT(refuses([&] { upscaleMasks(at::randn({1, 10, 8}), 3, weights, masks, false); }));
  EXPECT(refuses([&] { upscaleMasks(at::randn({1, 9, 7}), 3, weights, masks, false); }));
  EXPECT(refuses([&] { upscaleMasks(at::randn({1, 9, 8}), 3, weights, masks.narrow(2, 0, 1), false); }));
}

TEST("a decoder of the model attends and draws by the operators, and gives the same masks") {
  const c10::InferenceMode inference;
  torch::jit::Module plain = decoder(false, false);
  torch::jit::Module exact = decoder(true, false);
  torch::jit::Module rounded = decoder(true, true);
  const std::string graph = exact.get_method("decode").graph()->toString();
  for (const char* name : {"::attend_image(", "::attend_both(", "::upscale_masks("}) {
    EXPECT_EQUAL(graph.find(name) != std::string::npos, packsLinears());
  }
  // Tokens among themselves still attend by libtorch, and nothing is computed both ways.
  size_t plainAttentions = 0;
  for (size_t at = graph.find("scaled_dot_product"); at != std::string::npos; at = graph.find("scaled_dot", at + 1)) {
    ++plainAttentions;
  }
  if (packsLinears()) EXPECT_EQUAL(plainAttentions, 4U);
  const Decoding decoding(11);
  for (const torch::jit::IValue& mask : decoding.masks) {
    const auto expected = decoding.outputs(plain, mask);
    expectNear(decoding.outputs(exact, mask), expected, 1e-4);
    expectNear(decoding.outputs(rounded, mask), expected, 5e-2);
  }
}

TEST("a decoder gives the same masks by what prompts share of an image, and leaves it where a mask is added") {
  if (!packsLinears()) return;
  const c10::InferenceMode inference;
  torch::jit::Module plain = decoder(false, false);
  Decoding decoding(14);
  const c10::List<at::Tensor> features = decoding.features;
  for (const bool rounded : {false, true}) {
    torch::jit::Module fused = decoder(true, rounded);
    for (const bool named : {false, true}) {
      const auto expected = decoding.outputs(plain, decoding.masks[0]);
      const auto withMask = decoding.outputs(fused, decoding.masks[1]);
      decoding.features = fused.get_method("fused_share")({features, named}).toTensorList();
      EXPECT_EQUAL(decoding.features.size(), named ? 3U : 2U);
      const bool isNarrowed = rounded && multipliesPackedBf16();
      EXPECT_EQUAL(decoding.features.get(1).scalar_type(), isNarrowed ? at::kBFloat16 : at::kFloat);
      const auto shared = decoding.outputs(fused, decoding.masks[0]);
      expectNear(shared, expected, rounded ? 5e-2 : 1e-4);
      expectNear(decoding.outputs(fused, decoding.masks[1]), withMask, 0);
      // Each decoder reads its own: logits of masks, and of the semantic-aware decoder.
      const auto changes = [&](size_t place) {
        const at::Tensor kept = decoding.features.get(place);
        decoding.features.set(place, at::zeros_like(kept));
        const auto without = decoding.outputs(fused, decoding.masks[0]);
        decoding.features.set(place, kept);
        const auto differs = [&](size_t output) {
          return largestDifference(without[output].toTensor(), shared[output].toTensor()) > 1e-3;
        };
        return std::pair(differs(0), differs(2));
      };
      EXPECT(changes(named ? 2 : 1) == std::pair(true, false));
      if (named) EXPECT(changes(1) == std::pair(false, true));
      decoding.features = features;
    }
  }
}

TEST("features of an encoder are not taken for what prompts share") {
  if (!packsLinears()) return;
  const c10::InferenceMode inference;
  torch::jit::Module fused = decoder(true, false);
  Decoding decoding(15);
  const auto expected = decoding.outputs(fused, decoding.masks[0]);
  for (int i = 0; i < 3; ++i) decoding.features.push_back(at::randn({1, 36, 8}));
  expectNear(decoding.outputs(fused, decoding.masks[0]), expected, 0);
}

TEST("what a decoder computes on CUDA is the same, with the CPU's operators in its place") {
  const c10::InferenceMode inference;
  torch::jit::Module plain = decoder(false, false);
  torch::jit::Module module = loadedModule(SEG_SAM_CONVERTED "/decoder.pt");
  EXPECT_EQUAL(replaceClasses(module, decoderOfCuda(at::kFloat)), 4);
  const Decoding decoding(12);
  for (const torch::jit::IValue& mask : decoding.masks) {
    expectNear(decoding.outputs(module, mask), decoding.outputs(plain, mask), 1e-4);
  }
}

TEST("masks are upscaled by libtorch's operators as by definition") {
  const UpscalingWeights w = upscalingWeights(8, 4, 2);
  const at::Tensor image = at::randn({2, 9, 8});
  const at::Tensor masks = at::randn({2, 4, 2});
  const at::Tensor result =
      upscaleByLibtorch(image, 3, w.weight1, w.bias1, w.normWeight, w.normBias, w.epsilon, w.weight2, w.bias2, masks);
  EXPECT_EQUAL(result.sizes(), at::IntArrayRef({2, 4, 12, 12}));
  EXPECT_NEAR(largestDifference(result, upscaledByDefinition(image, 3, w, masks)), 0, 2e-5);
}

TEST("many tokens that an image attends to are computed by libtorch's operators") {
  const Attention in = attention(1, 3, 20, 16, 40, 8);
  const at::Tensor result = attendManyTokens(in.image, in.positions, in.keys, in.shifts, in.values, in.bias, in.heads,
                                             in.weight, in.shift, 1e-5);
  EXPECT_NEAR(largestDifference(result, tokensByDefinition(in)), 0, 2e-5);
}

TEST("a class that only has the name of a decoder's stays as it is") {
  torch::jit::Module module("MaskDecoder");
  module.define("def forward(self, x: Tensor) -> Tensor:\n    return x + 1\n");
  EXPECT_EQUAL(fuseDecoder(module, at::kCPU, false), 0);
  // With its attributes, but other parts.
  torch::jit::Module transformer("TwoWayTransformer");
  for (const char* name : {"layers", "final_attn_token_to_image", "norm_final_attn"}) {
    transformer.register_buffer(name, at::ones({1}));
  }
  transformer.define("def forward(self, x: Tensor) -> Tensor:\n    return x + self.layers\n");
  EXPECT_EQUAL(fuseDecoder(transformer, at::kCPU, false), 0);
  transformer.eval();
  transformer = torch::jit::freeze_module(transformer);
  EXPECT_EQUAL(transformer.forward({at::ones({1})}).toTensor().item<float>(), 2);
}
