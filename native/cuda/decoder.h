#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <optional>
#include <tuple>

namespace segsam {

// The operators of SAM's decoders on CUDA: what engine/prompted_image.h, engine/token_attention.h,
// engine/token_rows.h and engine/mask_upscaling.h compute on the CPU, with tokens and image in float16. Points' tokens
// and logits are float32.

/// Whether the decoders of a model can compute so: with tokens of `width` values and `heads` heads, on a grid of
/// `side` x `side` positions.
bool decodesOnCuda(int64_t width, int64_t heads, int64_t side);

/// Compiles what decoding needs, for a device without a reason in `whyNoKernels`.
/// @throws Error DEVICE_UNAVAILABLE
void prepareDecoder(at::Device device);

/// @param embedding (B, C, H, W) of any type, dense likewise
/// @return (P or 1, H * W, C)
at::Tensor promptedImageOnCuda(const at::Tensor& embedding, const at::Tensor& dense, int64_t prompts);

at::Tensor attendImageOnCuda(const at::Tensor& queries, const at::Tensor& image, const at::Tensor& positions,
                             bool rounded);

at::Tensor embedPointsOnCuda(const at::Tensor& points, const at::Tensor& labels, const at::Tensor& matrix,
                             const at::Tensor& table, double side);

std::tuple<at::Tensor, at::Tensor> normTokensOnCuda(const at::Tensor& x, const std::optional<at::Tensor>& added,
                                                    const at::Tensor& weight, const at::Tensor& bias, double epsilon,
                                                    const std::optional<at::Tensor>& positions);

/// @param values (P, N * heads, C / 32, 4, 4, 2) are read where they are, if the last 4 lie beside the first of them
at::Tensor attendTokensOnCuda(const at::Tensor& image, const at::Tensor& positions, const at::Tensor& keys,
                              const at::Tensor& shifts, const at::Tensor& values, const at::Tensor& bias, int64_t heads,
                              const at::Tensor& normWeight, const at::Tensor& normBias, double epsilon, bool rounded);

/// The same by libtorch's operators, on any device.
/// @param values (P, N * heads, C)
at::Tensor attendManyTokens(const at::Tensor& image, const at::Tensor& positions, const at::Tensor& keys,
                            const at::Tensor& shifts, const at::Tensor& values, const at::Tensor& bias, int64_t heads,
                            const at::Tensor& normWeight, const at::Tensor& normBias, double epsilon);

/// By `upscaleByLibtorch` on a GPU with less shared memory than the kernel needs.
at::Tensor upscaleMasksOnCuda(const at::Tensor& image, int64_t side, const at::Tensor& weight1,
                              const std::optional<at::Tensor>& bias1, const at::Tensor& normWeight,
                              const at::Tensor& normBias, double epsilon, const at::Tensor& weight2,
                              const std::optional<at::Tensor>& bias2, const at::Tensor& masks, bool rounded);

/// The same by libtorch's operators, on any device.
at::Tensor upscaleByLibtorch(const at::Tensor& image, int64_t side, const at::Tensor& weight1, const at::Tensor& bias1,
                             const at::Tensor& normWeight, const at::Tensor& normBias, double epsilon,
                             const at::Tensor& weight2, const at::Tensor& bias2, const at::Tensor& masks);

}  // namespace segsam
