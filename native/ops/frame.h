#pragma once

#include <cstdint>

namespace segsam {

enum class ResizeMode { kLongest, kStretch };

/// Where an image of `width` x `height` pixels lies in the model's square input of `side` pixels: at the top left,
/// resized to `resizedWidth` x `resizedHeight`, with zeros to the right and below. Source of the geometry:
/// segment-anything, `utils/transforms.py` (ResizeLongestSide).
struct Frame {
  int64_t width;
  int64_t height;
  int64_t side;
  int64_t resizedWidth;
  int64_t resizedHeight;

  /// @throws Error INVALID_ARGUMENT where a size is below 1 or beyond 2^31 - 1.
  static Frame of(int64_t width, int64_t height, int64_t side, ResizeMode mode);

  /// Pixels of the original image to pixels of the input, as SAM's `apply_coords` does it.
  float inputX(float x) const {
    return static_cast<float>(x * (static_cast<double>(resizedWidth) / static_cast<double>(width)));
  }
  float inputY(float y) const {
    return static_cast<float>(y * (static_cast<double>(resizedHeight) / static_cast<double>(height)));
  }
};

}  // namespace segsam
