#include "ops/mask.h"

#include <algorithm>

#include "ops/vector_loops.h"

namespace segsam {

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
