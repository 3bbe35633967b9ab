#pragma once

#include <algorithm>
#include <cstdint>

namespace segsam {

/// A mask of 0 and non-zero, row-major, not owned.
struct Mask {
  const uint8_t* pixels;
  int64_t width;
  int64_t height;

  int64_t size() const { return width * height; }
};

/// Inclusive pixel indices.
struct Box {
  int64_t x0;
  int64_t y0;
  int64_t x1;
  int64_t y1;

  void include(int64_t x, int64_t y) {
    x0 = std::min(x0, x);
    y0 = std::min(y0, y);
    x1 = std::max(x1, x);
    y1 = std::max(y1, y);
  }
};

/// Those of `count` pixels that are set.
int64_t countSet(const uint8_t* pixels, int64_t count);

/// Intersection over union of two masks of `size` pixels; 1 where both are empty.
double maskIou(const uint8_t* a, const uint8_t* b, int64_t size);

}  // namespace segsam
