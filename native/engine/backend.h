#pragma once

#include <ATen/ATen.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "engine/device.h"

namespace segsam {

struct ModelFiles {
  std::string encoder;
  std::string decoder;
  /// None: the bundle cannot embed new sentences.
  std::optional<std::string> textEncoder;
};

/// Feature tensors of one image, each with a leading batch dimension of 1.
using Features = std::vector<at::Tensor>;

/// What the class set and an image make together: class tokens (1, K, C) and the text summary token (1, 1, C).
struct Conditioning {
  at::Tensor classTokens;
  at::Tensor summaryToken;
};

/// What both decoders say of P prompts, float32: docs/bundle.md.
struct DecoderOutput {
  at::Tensor maskLogits;
  at::Tensor iou;
  at::Tensor semanticLogits;
  at::Tensor promptedClassLogits;
  at::Tensor otherClassLogits;
};

/// What the semantic-agnostic decoder alone says of P prompts, float32.
struct BinaryOutput {
  at::Tensor maskLogits;
  at::Tensor iou;
};

/// The modules of a bundle, whatever format they are stored in. All tensors are on the backend's device; the image is
/// in the encoder's type, everything else in float32. Throws Error, or what libtorch throws.
class Backend {
 public:
  virtual ~Backend() = default;

  /// (B, 3, S, S) to feature tensors, each (B, ...).
  virtual std::vector<at::Tensor> encode(const at::Tensor& images) = 0;
  /// (n, L) and (n, L) int64 to (n, D).
  virtual at::Tensor embedText(const at::Tensor& ids, const at::Tensor& attention) = 0;
  /// (K, M, D) and (K, M) bool to (K, C).
  virtual at::Tensor embedClasses(const at::Tensor& sentences, const at::Tensor& valid) = 0;
  virtual Conditioning condition(const Features& features, const at::Tensor& classes) = 0;
  /// points (P, N, 2) in pixels of the input, labels (P, N) int64, mask (P, 1, h, h) or none.
  virtual DecoderOutput decode(const Features& features, const Conditioning& conditioning, const at::Tensor& points,
                               const at::Tensor& labels, const std::optional<at::Tensor>& mask) = 0;

  /// The same with the semantic-agnostic decoder alone, where `decodesBinary`.
  virtual BinaryOutput decodeBinary(const Features& features, const at::Tensor& points, const at::Tensor& labels,
                                    const std::optional<at::Tensor>& mask) = 0;

  /// The features of an image and, after them, what `decode` and `decodeBinary` make of them whatever the prompts are:
  /// they take less time when they are given these in place of the features.
  /// @param named for `decode`, too, not for `decodeBinary` alone
  virtual Features share(const Features& features, bool /*named*/) { return features; }

  /// Bundles of earlier versions do not.
  virtual bool decodesBinary() const = 0;
  virtual bool hasTextEncoder() const = 0;
  /// Of all weights.
  virtual int64_t bytes() const = 0;
  /// Why it computes without the GPU kernels that it could have; empty where it has them, or none are for it.
  virtual std::string kernelFailure() const { return ""; }
};

/// @param precision of the image encoder; the other modules are float32
/// @throws Error BUNDLE_INVALID, INVALID_ARGUMENT (an encoder that cannot compute in 8 bits)
std::unique_ptr<Backend> loadTorchScript(const ModelFiles& files, at::Device device, Precision precision);

}  // namespace segsam
