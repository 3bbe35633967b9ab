#pragma once

#include <cstdint>

namespace segsam {

// Masks of a bit per pixel: words of 32 pixels, the least significant bit first.

constexpr int64_t kMaskPixelsOfWord = 32;

/// Words of a mask.
constexpr int64_t maskWords(int64_t pixels) { return (pixels + kMaskPixelsOfWord - 1) / kMaskPixelsOfWord; }

/// Packs `count` pixels, bytes of 0 and 1; the rest of the last word becomes 0.
void packBits(const uint8_t* pixels, int64_t count, uint32_t* bits);

/// Expands `count` pixels to bytes of 0 and 1.
void expandBits(const uint32_t* bits, int64_t count, uint8_t* target);

/// Intersection over union of two masks of `words` words; 1 where both are empty.
double bitsIou(const uint32_t* a, const uint32_t* b, int64_t words);

}  // namespace segsam
