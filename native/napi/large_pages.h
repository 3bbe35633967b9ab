#pragma once

#include <cstdint>

#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace segsam {

constexpr int64_t kLargePage = int64_t{2} << 20;

/// The system clears and maps each page of new memory when it is first written, which takes longer than to write 4 KiB
/// of a mask: asks for pages of 2 MiB. Does nothing but on Linux, and where the memory is small.
inline void useLargePages(void* memory, int64_t bytes) {
#if defined(__linux__)
  const auto begin = (reinterpret_cast<uintptr_t>(memory) + kLargePage - 1) / kLargePage * kLargePage;
  const auto end = (reinterpret_cast<uintptr_t>(memory) + static_cast<uintptr_t>(bytes)) / kLargePage * kLargePage;
  // A system without them refuses, and all is as it was.
  if (begin < end) madvise(reinterpret_cast<void*>(begin), end - begin, MADV_HUGEPAGE);
#else
  static_cast<void>(memory);
  static_cast<void>(bytes);
#endif
}

}  // namespace segsam
