#include "ops/mask_bits.h"

#include "ops/vector_loops.h"

namespace segsam {

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
