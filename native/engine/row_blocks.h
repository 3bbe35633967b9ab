#pragma once

#include <cstdint>
#include <vector>

namespace segsam {

struct RowBlock {
  int64_t first;
  int64_t count;
};

/// Rows cut into blocks of at most `largest`. oneDNN compiles a kernel for each number of rows, so only few numbers
/// occur: 128, 64, 32, 16, and all that are smaller.
inline std::vector<RowBlock> rowBlocks(int64_t rows, int64_t largest = 128) {
  std::vector<RowBlock> blocks;
  for (int64_t first = 0; first < rows;) {
    int64_t count = rows - first;
    for (int64_t allowed = 128; allowed >= 16; allowed /= 2) {
      if (allowed > largest || count < allowed) continue;
      count = allowed;
      break;
    }
    blocks.push_back({first, count});
    first += count;
  }
  return blocks;
}

}  // namespace segsam
