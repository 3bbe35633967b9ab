#include "engine/operators.h"

#include <torch/library.h>

#include <cstdint>
#include <string>
#include <tuple>

#include "cuda/decoder.h"
#include "cuda/encoder_block.h"
#include "engine/attention.h"
#include "engine/encoder_block.h"
#include "engine/linear.h"
#include "engine/mask_upscaling.h"
#include "engine/packed_weight.h"
#include "engine/prompted_image.h"
#include "engine/residual_convolutions.h"
#include "engine/row_upscaling.h"
#include "engine/shared_attention.h"
#include "engine/token_attention.h"
#include "engine/token_rows.h"

namespace segsam {

namespace {

constexpr auto kKey = c10::DispatchKey::CompositeExplicitAutograd;

at::Tensor upscale(const at::Tensor& image, int64_t side, const at::Tensor& weight1,
                   const std::optional<at::Tensor>& bias1, const at::Tensor& normWeight, const at::Tensor& normBias,
                   double epsilon, const at::Tensor& weight2, const std::optional<at::Tensor>& bias2,
                   const at::Tensor& masks, bool rounded) {
  TORCH_CHECK(bias1 && bias2, "upscale_masks: expected convolutions with a bias");
  return upscaleMasks(image, side, {weight1, *bias1, normWeight, normBias, epsilon, weight2, *bias2}, masks, rounded);
}

at::Tensor tokensAttended(const at::Tensor& image, const at::Tensor& positions, const at::Tensor& keys,
                          const at::Tensor& shifts, const at::Tensor& values, const at::Tensor& bias, int64_t heads,
                          const at::Tensor& normWeight, const at::Tensor& normBias, double epsilon, bool rounded) {
  return attendTokens(image, positions, {keys, shifts, values, bias, heads, normWeight, normBias, epsilon, {}},
                      rounded);
}

std::tuple<at::Tensor, at::Tensor> bothAttended(const at::Tensor& image, const at::Tensor& positions,
                                                const std::optional<at::Tensor>& shared, const at::Tensor& keys,
                                                const at::Tensor& shifts, const at::Tensor& values,
                                                const at::Tensor& bias, int64_t heads, const at::Tensor& normWeight,
                                                const at::Tensor& normBias, double epsilon, const at::Tensor& queries,
                                                bool rounded) {
  return attendBoth(image, positions, {keys, shifts, values, bias, heads, normWeight, normBias, epsilon, shared},
                    queries, rounded);
}

at::Tensor rowsUpscaled(const at::Tensor& x, int64_t side, const at::Tensor& weight, const at::Tensor& bias,
                        const std::optional<at::Tensor>& normWeight, const std::optional<at::Tensor>& normBias,
                        double epsilon, const at::Tensor& features, const at::Tensor& skipWeight,
                        const at::Tensor& skipBias, const std::optional<at::Tensor>& added, bool relu, bool rounded) {
  return upscaleRows(
      x, side, {weight, bias, normWeight, normBias, epsilon, features, skipWeight, skipBias, added, relu}, rounded);
}

at::Tensor convolutionsAdded(const at::Tensor& x, int64_t width, const at::Tensor& norm1Weight,
                             const at::Tensor& norm1Bias, const at::Tensor& conv1Weight, const at::Tensor& conv1Bias,
                             const at::Tensor& norm2Weight, const at::Tensor& norm2Bias, const at::Tensor& conv2Weight,
                             const at::Tensor& conv2Bias, int64_t groups, double epsilon, bool rounded) {
  return addConvolutions(x, width, {norm1Weight, norm1Bias, conv1Weight, conv1Bias},
                         {norm2Weight, norm2Bias, conv2Weight, conv2Bias}, groups, epsilon, rounded);
}

at::Tensor attentionAdded(const at::Tensor& x, const at::Tensor& normWeight, const at::Tensor& normBias, double epsilon,
                          const at::Tensor& qkv, const at::Tensor& qkvBias, const at::Tensor& tableH,
                          const at::Tensor& tableW, const at::Tensor& proj, const at::Tensor& projBias, int64_t heads,
                          int64_t window) {
  return addAttention(x, {normWeight, normBias, epsilon}, {qkv, qkvBias}, {tableH, tableW}, {proj, projBias}, heads,
                      window);
}

at::Tensor mlpAdded(const at::Tensor& x, const at::Tensor& normWeight, const at::Tensor& normBias, double epsilon,
                    const at::Tensor& lin1, const at::Tensor& bias1, const at::Tensor& lin2, const at::Tensor& bias2) {
  return addMlp(x, {normWeight, normBias, epsilon}, {lin1, bias1}, {lin2, bias2});
}

Operators registerAll() {
  static const char anchor = 0;
  static const std::string name = "segsam_" + std::to_string(reinterpret_cast<uintptr_t>(&anchor));
  // Never destroyed: it would take the operators from modules that outlive it when the process exits.
  static auto* const library = new torch::Library(torch::Library::FRAGMENT, name, std::nullopt, __FILE__, __LINE__);
  library->def("attend_grid(Tensor q, Tensor k, Tensor v, Tensor bias_h, Tensor bias_w, float scale) -> Tensor",
               torch::dispatch(kKey, &attendGrid));
  library->def("linear_packed(Tensor x, Tensor packed, Tensor? bias, int features) -> Tensor",
               torch::dispatch(kKey, &linearPacked));
  library->def("pack_linear(Tensor weight) -> Tensor", torch::dispatch(kKey, &packLinear));
  library->def(
      "add_attention(Tensor x, Tensor norm_weight, Tensor norm_bias, float epsilon, Tensor qkv, Tensor qkv_bias, "
      "Tensor table_h, Tensor table_w, Tensor proj, Tensor proj_bias, int heads, int window) -> Tensor",
      torch::dispatch(kKey, &attentionAdded));
  library->def(
      "add_mlp(Tensor x, Tensor norm_weight, Tensor norm_bias, float epsilon, Tensor lin1, Tensor bias1, Tensor lin2, "
      "Tensor bias2) -> Tensor",
      torch::dispatch(kKey, &mlpAdded));
  library->impl("add_attention", torch::dispatch(c10::DispatchKey::CUDA, &addAttentionOnCuda));
  library->impl("add_mlp", torch::dispatch(c10::DispatchKey::CUDA, &addMlpOnCuda));
  library->def("prompted_image(Tensor embedding, Tensor dense, int prompts) -> Tensor",
               torch::dispatch(kKey, &promptedImage));
  library->def("attend_image(Tensor queries, Tensor image, Tensor positions, bool rounded) -> Tensor",
               torch::dispatch(kKey, &attendImage));
  library->def("attend_shared(Tensor queries, Tensor keys, Tensor values, int heads) -> Tensor",
               torch::dispatch(kKey, &attendShared));
  library->def(
      "attend_tokens(Tensor image, Tensor positions, Tensor keys, Tensor shifts, Tensor values, Tensor bias, "
      "int heads, Tensor norm_weight, Tensor norm_bias, float epsilon, bool rounded) -> Tensor",
      torch::dispatch(kKey, &tokensAttended));
  library->def(
      "attend_both(Tensor image, Tensor positions, Tensor? shared, Tensor keys, Tensor shifts, Tensor values, "
      "Tensor bias, int heads, Tensor norm_weight, Tensor norm_bias, float epsilon, Tensor queries, bool rounded) -> "
      "(Tensor, Tensor)",
      torch::dispatch(kKey, &bothAttended));
  library->def(
      "upscale_masks(Tensor image, int side, Tensor weight1, Tensor? bias1, Tensor norm_weight, Tensor norm_bias, "
      "float epsilon, Tensor weight2, Tensor? bias2, Tensor masks, bool rounded) -> Tensor",
      torch::dispatch(kKey, &upscale));
  library->def("embed_points(Tensor points, Tensor labels, Tensor matrix, Tensor table, float side) -> Tensor",
               torch::dispatch(kKey, &embedPoints));
  library->def(
      "norm_tokens(Tensor x, Tensor? added, Tensor weight, Tensor bias, float epsilon, Tensor? positions) -> "
      "(Tensor, Tensor)",
      torch::dispatch(kKey, &normTokens));
  library->def(
      "add_convolutions(Tensor x, int width, Tensor norm1_weight, Tensor norm1_bias, Tensor conv1_weight, "
      "Tensor conv1_bias, Tensor norm2_weight, Tensor norm2_bias, Tensor conv2_weight, Tensor conv2_bias, int groups, "
      "float epsilon, bool rounded) -> Tensor",
      torch::dispatch(kKey, &convolutionsAdded));
  library->def(
      "upscale_rows(Tensor x, int side, Tensor weight, Tensor bias, Tensor? norm_weight, Tensor? norm_bias, "
      "float epsilon, Tensor features, Tensor skip_weight, Tensor skip_bias, Tensor? added, bool relu, bool rounded) "
      "-> Tensor",
      torch::dispatch(kKey, &rowsUpscaled));
  library->impl("embed_points", torch::dispatch(c10::DispatchKey::CUDA, &embedPointsOnCuda));
  library->impl("norm_tokens", torch::dispatch(c10::DispatchKey::CUDA, &normTokensOnCuda));
  library->impl("prompted_image", torch::dispatch(c10::DispatchKey::CUDA, &promptedImageOnCuda));
  library->impl("attend_image", torch::dispatch(c10::DispatchKey::CUDA, &attendImageOnCuda));
  library->impl("attend_tokens", torch::dispatch(c10::DispatchKey::CUDA, &attendTokensOnCuda));
  library->impl("upscale_masks", torch::dispatch(c10::DispatchKey::CUDA, &upscaleMasksOnCuda));
  return {name, c10::Symbol::fromQualString(name + "::attend_grid"),
          c10::Symbol::fromQualString(name + "::linear_packed")};
}

}  // namespace

const Operators& Operators::registered() {
  static const Operators operators = registerAll();
  return operators;
}

}  // namespace segsam
