#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>

#include <array>
#include <cmath>
#include <string>
#include <vector>

#include "check.h"
#include "decoders.h"
#include "engine/residual_convolutions.h"
#include "engine/row_upscaling.h"
#include "tensors.h"

using namespace segsam;

namespace {

at::Tensor gridOf(const at::Tensor& rows, int64_t height) {
  return rows.transpose(1, 2).reshape({rows.size(0), rows.size(2), height, -1});
}

at::Tensor rowsOf(const at::Tensor& grid) { return grid.flatten(2).transpose(1, 2); }

at::Tensor upscaledByDefinition(const at::Tensor& x, int64_t side, const RowUpscaling& step) {
  at::Tensor grid = gridOf(x, side);
  if (step.normWeight) {
    const at::Tensor normed = at::layer_norm(x, {x.size(2)}, *step.normWeight, *step.normBias, step.epsilon);
    grid = at::gelu(gridOf(normed, side));
  }
  const at::Tensor skip = at::conv2d(step.features, step.skipWeight, step.skipBias);
  at::Tensor sum =
      at::conv_transpose2d(grid, step.weight, step.bias, 2) + skip.repeat_interleave(x.size(0) / skip.size(0), 0);
  if (step.added) sum = sum + gridOf(*step.added, 2 * side);
  return rowsOf(step.relu ? at::relu(sum) : sum);
}

torch::jit::Module decoder(bool fused, bool rounded) { return decoderOf(SEG_SAM_TINY "/decoder.pt", fused, rounded); }

}  // namespace

TEST("residual convolutions are two group norms, GELUs and convolutions added to what they take") {
  at::manual_seed(3);
  for (const auto& [prompts, height, width, channels, groups] : {std::array<int64_t, 5>{1, 64, 64, 32, 8},
                                                                 {3, 7, 13, 8, 4},
                                                                 {2, 1, 5, 6, 1},
                                                                 {1, 5, 1, 5, 5},
                                                                 {1, 3, 3, 96, 8}}) {
    const auto layer = [channels = channels] {
      return NormedConvolution{at::rand({channels}) + 0.5, at::randn({channels}),
                               at::randn({channels, channels, 3, 3}) * 0.1, at::randn({channels})};
    };
    const NormedConvolution first = layer();
    const NormedConvolution second = layer();
    // Far from 0, as seen from their spread.
    const at::Tensor x = at::randn({prompts, height * width, channels}) + 30;
    const auto apply = [&, groups = groups](const at::Tensor& image, const NormedConvolution& one) {
      const at::Tensor normed =
          at::group_norm(image, groups, one.normWeight.to(at::kDouble), one.normBias.to(at::kDouble), 1e-5);
      return at::conv2d(at::gelu(normed), one.weight.to(at::kDouble), one.bias.to(at::kDouble), 1, 1);
    };
    const at::Tensor image = gridOf(x.to(at::kDouble), height);
    const at::Tensor expected = rowsOf(image + apply(apply(image, first), second));
    const at::Tensor exact = addConvolutions(x, width, first, second, groups, 1e-5, false);
    EXPECT_EQUAL(exact.sizes(), x.sizes());
    EXPECT_NEAR(largestDifference(exact, expected), 0, 1e-4);
    EXPECT_NEAR(largestDifference(addConvolutions(x, width, first, second, groups, 1e-5, true), expected), 0, 0.1);
  }
}

TEST("a grid's rows are upscaled by a transposed convolution, with features of the image and what a prompt has") {
  at::manual_seed(4);
  for (const auto& [images, perImage, side, depth, channels, featureCount] :
       {std::array<int64_t, 6>{1, 1, 16, 128, 32, 96}, {1, 3, 64, 32, 8, 24}, {2, 2, 5, 6, 3, 4}, {1, 2, 1, 5, 1, 3}}) {
    const int64_t prompts = images * perImage;
    const at::Tensor x = at::randn({prompts, side * side, depth});
    RowUpscaling step{at::randn({depth, channels, 2, 2}) / std::sqrt(static_cast<double>(depth)),
                      at::randn({channels}),
                      std::nullopt,
                      std::nullopt,
                      1e-6,
                      at::randn({images, featureCount, 2 * side, 2 * side}),
                      at::randn({channels, featureCount, 1, 1}) / std::sqrt(static_cast<double>(featureCount)),
                      at::randn({channels}),
                      std::nullopt,
                      false};
    for (const bool isLast : {false, true}) {
      step.relu = isLast;
      step.normWeight = isLast ? std::optional(at::randn({depth})) : std::nullopt;
      step.normBias = isLast ? std::optional(at::randn({depth})) : std::nullopt;
      step.added = isLast ? std::nullopt : std::optional(at::randn({prompts, 4 * side * side, channels}));
      const at::Tensor expected = upscaledByDefinition(x, side, step);
      const at::Tensor exact = upscaleRows(x, side, step, false);
      EXPECT_EQUAL(exact.sizes(), expected.sizes());
      EXPECT_NEAR(largestDifference(exact, expected), 0, 5e-5);
      EXPECT_NEAR(largestDifference(upscaleRows(x, side, step, true), expected), 0, 0.1);
    }
  }
}

TEST("operators of fine masks refuse what they cannot compute") {
  const NormedConvolution layer = {at::ones({4}), at::ones({4}), at::ones({4, 4, 3, 3}), at::ones({4})};
  EXPECT(!refuses([&] { addConvolutions(at::ones({1, 6, 4}), 3, layer, layer, 2, 1e-5, false); }));
  EXPECT(refuses([&] { addConvolutions(at::ones({1, 7, 4}), 3, layer, layer, 2, 1e-5, false); }));
  EXPECT(refuses([&] { addConvolutions(at::ones({1, 6, 4}), 3, layer, layer, 3, 1e-5, false); }));
  EXPECT(refuses([&] { addConvolutions(at::ones({1, 6, 5}), 3, layer, layer, 1, 1e-5, false); }));
  const RowUpscaling step{at::ones({4, 2, 2, 2}), at::ones({2}),          std::nullopt,  std::nullopt, 1e-6,
                          at::ones({1, 3, 6, 6}), at::ones({2, 3, 1, 1}), at::ones({2}), std::nullopt, false};
  EXPECT(!refuses([&] { upscaleRows(at::ones({2, 9, 4}), 3, step, false); }));
  EXPECT(refuses([&] { upscaleRows(at::ones({2, 9, 5}), 3, step, false); }));
  EXPECT(refuses([&] { upscaleRows(at::ones({2, 16, 4}), 4, step, false); }));
  RowUpscaling other = step;
  other.added = at::ones({1, 36, 2});
  EXPECT(refuses([&] { upscaleRows(at::ones({2, 9, 4}), 3, other, false); }));
  other = step;
  other.normWeight = at::ones({4});
  EXPECT(refuses([&] { upscaleRows(at::ones({2, 9, 4}), 3, other, false); }));
}

TEST("the default bundle's decoder draws by the operators, and gives the same masks") {
  const c10::InferenceMode inference;
  torch::jit::Module plain = decoder(false, false);
  torch::jit::Module exact = decoder(true, false);
  torch::jit::Module rounded = decoder(true, true);
  const std::string graph = exact.get_method("decode").graph()->toString();
  for (const char* name : {"::upscale_rows(", "::add_convolutions("}) {
    EXPECT_EQUAL(graph.find(name) != std::string::npos, packsLinears());
  }
  if (packsLinears()) EXPECT(graph.find("conv_transpose2d") == std::string::npos);
  at::manual_seed(6);
  c10::List<at::Tensor> features;
  for (const auto& [channels, side] : {std::array<int64_t, 2>{128, 16}, {96, 32}, {48, 64}, {24, 128}, {32, 64}}) {
    features.push_back(at::randn({1, channels, side, side}));
  }
  const at::Tensor classes = at::randn({1, 5, 128});
  const at::Tensor summary = at::randn({1, 1, 128});
  const at::Tensor points = at::rand({3, 2, 2}) * 256;
  const at::Tensor labels = at::tensor({1, -1, 1, 0, 2, 3}, at::kLong).reshape({3, 2});
  for (const torch::jit::IValue& mask : {torch::jit::IValue(), torch::jit::IValue(at::randn({3, 1, 128, 128}))}) {
    const std::vector<torch::jit::IValue> arguments = {features, classes, summary, points, labels, mask};
    const auto expected = decoded(plain, arguments);
    expectNear(decoded(exact, arguments), expected, 1e-4);
    expectNear(decoded(rounded, arguments), expected, 5e-2);
  }
}
