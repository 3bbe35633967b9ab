#pragma once

#include <cstdint>

namespace segsam {

/// libtorch takes large tensors from the system and gives them back each time, and the system clears every page that it
/// hands out: a tenth of an encode. From the first call on, large blocks of libtorch's host memory are kept and used
/// again; those that are kept and those in use are together never more than was in use at once.
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
