#include "ops/mask.h"

#include <algorithm>

namespace segsam {

void Box::include(int64_t x, int64_t y) {
  x0 = std::min(x0, x);
  y0 = std::min(y0, y);
  x1 = std::max(x1, x);
  y1 = std::max(y1, y);
}

MaskStats maskStats(const Mask& mask) {
  MaskStats stats{0, std::nullopt};
  for (int64_t y = 0; y < mask.height; ++y) {
    const uint8_t* row = mask.pixels + y * mask.width;
    const int64_t area = mask.width - std::count(row, row + mask.width, 0);
    if (area == 0) continue;
    stats.area += area;
    const auto isSet = [](uint8_t pixel) { return pixel != 0; };
    const int64_t left = std::find_if(row, row + mask.width, isSet) - row;
    int64_t right = mask.width - 1;
    while (row[right] == 0) --right;
    if (!stats.box) stats.box = Box{left, y, left, y};
    stats.box->include(left, y);
    stats.box->include(right, y);
  }
  return stats;
}

double maskIou(const uint8_t* a, const uint8_t* b, int64_t size) {
  // Blocks whose counts fit 32 bits: more of them fit a register.
  constexpr int64_t kBlock = int64_t{1} << 20;
  int64_t intersection = 0;
  int64_t either = 0;
  for (int64_t begin = 0; begin < size; begin += kBlock) {
    uint32_t both = 0;
    uint32_t any = 0;
    for (int64_t i = begin; i < std::min(begin + kBlock, size); ++i) {
      both += (a[i] != 0) & (b[i] != 0);
      any += (a[i] != 0) | (b[i] != 0);
    }
    intersection += both;
    either += any;
  }
  return either == 0 ? 1.0 : static_cast<double>(intersection) / static_cast<double>(either);
}

}  // namespace segsam
