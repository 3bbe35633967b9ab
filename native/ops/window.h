#pragma once

#include <array>

#include "ops/image.h"

namespace segsam {

/// Intensities that become 0 and 255: the image's window where it has one, [0, 255] for 8-bit pixels, else the 0.5 and
/// 99.5 percentiles of the colours that are finite, interpolated linearly between ranks ({0, 0} where none is).
std::array<double, 2> windowOf(const Image& image);

/// From intensities above the window's lower end to the 0-255 scale. An image of one single intensity is black.
inline float scaleOf(const std::array<double, 2>& window) {
  return static_cast<float>(255.0 / (window[1] > window[0] ? window[1] - window[0] : 1.0));
}

}  // namespace segsam
