#pragma once

#include <ATen/ATen.h>

#include <optional>
#include <utility>

namespace segsam {

// The two cross attentions of SAM's two-way transformer (Kirillov et al. 2023) between N tokens of each of P prompts
// and an image of L positions, without a projection of the image: where q = Wq t and k = Wk x, the score t' Wq' Wk x
// multiplies the image's own values x by Wk' Wq t, and the heads' sums of values, of which there are few, are projected
// instead of the values. On the CPU, in tiles that a core's second-level cache holds.

/// Each token's attended sums of the image: softmax over L of queries (image + positions)', times image.
///
/// @param queries (P, M, C) float32, scaled; M tokens and heads
/// @param image (P, L, C), or (1, L, C) for all prompts, float32
/// @param positions (1, L, C) float32
/// @param rounded whether products take bfloat16, where the CPU multiplies it
/// @return (P, M, C)
at::Tensor attendImage(const at::Tensor& queries, const at::Tensor& image, const at::Tensor& positions, bool rounded);

/// N tokens of each prompt as the image attends to them.
struct AttendedTokens {
  /// (P, N * heads, C) float32, scaled, the heads of a token side by side. With a `sharedImage`, (P, N * heads, K).
  at::Tensor keys;
  /// (P, N * heads) float32.
  at::Tensor shifts;
  /// (P, N * heads, C) float32, or with C as several dimensions.
  at::Tensor values;
  /// (C) float32.
  at::Tensor bias;
  int64_t heads;
  /// (C) float32.
  at::Tensor normWeight;
  at::Tensor normBias;
  double epsilon;
  /// (1, L, K) float32, or bfloat16 where products take it: what keys multiply of an image that all prompts share, if
  /// not the sum of the image and its positions.
  std::optional<at::Tensor> sharedImage;
};

/// The image after it attended to the tokens: the layer norm of image + bias + softmax((image + positions) keys' +
/// shifts) values, the softmax over the tokens of each head.
///
/// For CUDA's decoders where they are tested without a GPU: those of the CPU use `attendBoth`.
///
/// @return (P, L, C) float32
at::Tensor attendTokens(const at::Tensor& image, const at::Tensor& positions, const AttendedTokens& tokens,
                        bool rounded);

/// That, and what `queries` attend to in the new image (`attendImage`) while it is at hand: in a two-way transformer
/// the queries of the next layer are known before the image is.
///
/// @param image as with `attendImage`, or bfloat16
/// @param queries (P, M, C) float32, scaled
/// @return (P, L, C), in bfloat16 where products take it, and (P, M, C)
std::pair<at::Tensor, at::Tensor> attendBoth(const at::Tensor& image, const at::Tensor& positions,
                                             const AttendedTokens& tokens, const at::Tensor& queries, bool rounded);

}  // namespace segsam
