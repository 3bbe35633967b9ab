#pragma once

#include <array>
#include <cstdint>
#include <optional>

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

}  // namespace segsam
