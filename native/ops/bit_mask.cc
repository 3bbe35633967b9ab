#include "ops/bit_mask.h"

#include <array>
#include <bit>

#include "ops/vector_loops.h"

namespace segsam {

namespace {

/// Bytes of 0 and 1 of bytes of 0 and anything else.
SEG_SAM_CLONES
void normalise(const uint8_t* pixels, int64_t count, uint8_t* target) {
#pragma omp simd
  for (int64_t i = 0; i < count; ++i) target[i] = pixels[i] != 0;
}

}  // namespace

PackedMask::PackedMask(const Mask& mask) : words_(maskWords(mask.size())), width_(mask.width), height_(mask.height) {
  // As many as stay in the first cache; whole words.
  std::array<uint8_t, 4096> block;
  constexpr auto kBlock = static_cast<int64_t>(block.size());
  for (int64_t begin = 0; begin < mask.size(); begin += kBlock) {
    const int64_t count = std::min(kBlock, mask.size() - begin);
    normalise(mask.pixels + begin, count, block.data());
    packBits(block.data(), count, words_.data() + begin / kMaskPixelsOfWord);
  }
}

SEG_SAM_CLONES
MaskStats maskStats(const BitMask& mask) {
  MaskStats stats{0, std::nullopt};
  for (int64_t y = 0; y < mask.height; ++y) {
    mask.eachPiece([&](int64_t x, int64_t pixels) {
      const uint64_t piece = mask.piece(y * mask.width + x, pixels);
      if (piece == 0) return;
      stats.area += std::popcount(piece);
      const int64_t left = x + std::countr_zero(piece);
      if (!stats.box) stats.box = Box{left, y, left, y};
      stats.box->include(left, y);
      stats.box->include(x + 63 - std::countl_zero(piece), y);
    });
  }
  return stats;
}

}  // namespace segsam
