#include "ops/mask.h"

#include <algorithm>

#include "ops/vector_loops.h"

namespace segsam {

void Box::include(int64_t x, int64_t y) {
  x0 = std::min(x0, x);
  y0 = std::min(y0, y);
  x1 = std::max(x1, x);
  y1 = std::max(y1, y);
}

SEG_SAM_CLONES
int64_t countSet(const uint8_t* pixels, int64_t count) {
  // Blocks whose counts fit a byte: as many of them as possible fit a register.
  constexpr int64_t kBlock = 192;
  int64_t total = 0;
  for (int64_t begin = 0; begin < count; begin += kBlock) {
    const uint8_t* block = pixels + begin;
    const int64_t length = std::min(kBlock, count - begin);
    uint8_t set = 0;
#pragma omp simd reduction(+ : set)
    for (int64_t i = 0; i < length; ++i) set = static_cast<uint8_t>(set + (block[i] != 0));
    total += set;
  }
  return total;
}

MaskStats maskStats(const Mask& mask) {
  MaskStats stats{0, std::nullopt};
  for (int64_t y = 0; y < mask.height; ++y) {
    const uint8_t* row = mask.pixels + y * mask.width;
    const int64_t area = countSet(row, mask.width);
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

std::vector<uint8_t> cropped(const Mask& mask, const Box& box) {
  std::vector<uint8_t> pixels(box.width() * box.height());
  for (int64_t y = box.y0; y <= box.y1; ++y) {
    std::copy_n(mask.pixels + y * mask.width + box.x0, box.width(), pixels.data() + (y - box.y0) * box.width());
  }
  return pixels;
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
