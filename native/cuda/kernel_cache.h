#pragma once

#include <string>

namespace segsam {

// Compiled kernels on disk, for the next process: in `kernels` of `$SEG_SAM_CACHE`, else of `$XDG_CACHE_HOME/seg-sam`,
// else of `~/.cache/seg-sam`. What cannot be read or written is compiled each time.

/// What was stored under a key, which tells all that it was made of; empty where there is none or it is damaged.
std::string cachedKernel(const std::string& key);

void cacheKernel(const std::string& key, const std::string& binary);

}  // namespace segsam
