#include "ops/mask_bits.h"

#include <bit>
#include <cstring>

#include "ops/vector_loops.h"

namespace segsam {

namespace {

/// Of 8 bytes of 0 and 1, the first of which is the least significant: moves each to its place among the upper 8 bits.
constexpr uint64_t kGather = 0x0102040810204080;

uint32_t packEight(const uint8_t* pixels) {
  static_assert(std::endian::native == std::endian::little);
  uint64_t bytes;
  std::memcpy(&bytes, pixels, sizeof(bytes));
  return static_cast<uint32_t>(bytes * kGather >> 56);
}

}  // namespace

void packBits(const uint8_t* pixels, int64_t count, uint32_t* bits) {
  constexpr int kPixels = kMaskPixelsOfWord;
  const int64_t words = count / kPixels;
  for (int64_t i = 0; i < words; ++i) {
    const uint8_t* own = pixels + i * kPixels;
    bits[i] = packEight(own) | packEight(own + 8) << 8 | packEight(own + 16) << 16 | packEight(own + 24) << 24;
  }
  if (words * kPixels == count) return;
  bits[words] = 0;
  for (int64_t i = words * kPixels; i < count; ++i) bits[words] |= uint32_t{pixels[i]} << i % kPixels;
}

SEG_SAM_CLONES
void expandBits(const uint32_t* bits, int64_t count, uint8_t* target) {
  constexpr int kPixels = kMaskPixelsOfWord;
  const int64_t words = count / kPixels;
  for (int64_t i = 0; i < words; ++i) {
    const uint32_t word = bits[i];
#pragma omp simd
    for (int j = 0; j < kPixels; ++j) target[i * kPixels + j] = word >> j & 1;
  }
  for (int64_t i = words * kPixels; i < count; ++i) target[i] = bits[words] >> i % kPixels & 1;
}

SEG_SAM_CLONES
double bitsIou(const uint32_t* a, const uint32_t* b, int64_t words) {
  int64_t intersection = 0;
  int64_t either = 0;
#pragma omp simd reduction(+ : intersection, either)
  for (int64_t i = 0; i < words; ++i) {
    intersection += std::popcount(a[i] & b[i]);
    either += std::popcount(a[i] | b[i]);
  }
  return either == 0 ? 1.0 : static_cast<double>(intersection) / static_cast<double>(either);
}

}  // namespace segsam
