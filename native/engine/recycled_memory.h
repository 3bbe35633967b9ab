#pragma once

#include <cstdint>

namespace segsam {

/// In bytes. Without it, blocks of one size would drive out those of another that the same call needs next.
constexpr int64_t kSpareMemory = int64_t{8} << 20;

/// libtorch takes large blocks, of tensors and of copied pixels, from the system and gives them back each time, and the
/// system clears every page that it hands out: a tenth of an encode. From the first call on, large blocks of libtorch's
/// host memory are kept and used again; those that are kept and those in use are together at most `kSpareMemory` more
/// than was in use at once.
void recycleMemory();

/// Gives back all that is kept.
void releaseRecycledMemory();

struct RecycledMemoryUse {
  int64_t used;
  int64_t kept;
};

/// In bytes, of large blocks.
RecycledMemoryUse recycledMemoryUse();

}  // namespace segsam
