#pragma once

#include <ATen/ATen.h>

#include <array>
#include <cstdint>
#include <optional>

#include "ops/frame.h"

namespace segsam {

enum class PixelType { kUint8, kUint16, kInt16, kFloat32 };

/// Pixels of one image, row-major with interleaved channels, not owned.
struct Image {
  const void* pixels;
  PixelType type;
  int64_t width;
  int64_t height;
  /// 1 gray, 3 RGB, 4 RGBA (alpha is not looked at).
  int channels;
  /// Intensities mapped to 0 and 255; none: [0, 255] for 8-bit pixels, else the 0.5 and 99.5 percentiles.
  std::optional<std::array<double, 2>> window;
};

/// Per channel, on the 0-255 scale.
struct Normalisation {
  std::array<float, 3> mean;
  std::array<float, 3> std;
};

/// The model's input: windowed to 0-255 and clamped there, resized bilinearly with antialiasing, normalised, and padded
/// with zeros to the right and below. Pixels that are not a number count as the window's lower end.
/// @return (3, side, side) float32 on the CPU
at::Tensor toInput(const Image& image, const Frame& frame, const Normalisation& normalisation);

/// The same on `device`, by a kernel of CUDA or by ATen, to which the pixels are copied from page-locked memory while
/// it computes.
/// @return (3, side, side) of `type` on `device`
at::Tensor toInputOn(at::Device device, const Image& image, const Frame& frame, const Normalisation& normalisation,
                     at::ScalarType type = at::kFloat);

/// Intensities that become 0 and 255.
std::array<double, 2> windowOf(const Image& image);

/// From intensities above the window's lower end to the 0-255 scale. An image of one single intensity is black.
inline float scaleOf(const std::array<double, 2>& window) {
  return static_cast<float>(255.0 / (window[1] > window[0] ? window[1] - window[0] : 1.0));
}

/// (1, C, height, width) to (1, C, resizedHeight, resizedWidth), bilinear with antialiasing.
at::Tensor resize(const at::Tensor& planes, const Frame& frame);

/// Writes a (resizedHeight, resizedWidth) plane on the 0-255 scale to its part of one channel of a (3, side, side)
/// input.
void normalise(const at::Tensor& plane, int64_t channel, const Normalisation& normalisation, at::Tensor& input);

}  // namespace segsam
