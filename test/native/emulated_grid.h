#pragma once

/// Runs kernels of native/cuda on the CPU. Include it before them.

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <array>
#include <vector>

#define SEG_SAM_EMULATED_WARP "emulated_warp.h"
#include "cuda/warp.h"

inline segsam::cuda::uint16* halves(const at::Tensor& tensor) {
  return static_cast<segsam::cuda::uint16*>(tensor.data_ptr());
}

inline double relativeError(const at::Tensor& actual, const at::Tensor& expected) {
  return ((actual.to(at::kDouble) - expected).norm() / expected.norm()).item<double>();
}

/// Runs `kernel` in all threads of a grid, with memory that the threads of a block share. Blocks run side by side.
template <class Body>
void runGrid(std::array<int, 3> grid, int threads, int sharedBytes, const Body& kernel) {
  const int64_t blocks = int64_t{1} * grid[0] * grid[1] * grid[2];
  at::parallel_for(0, blocks, 1, [&](int64_t begin, int64_t end) {
    std::vector<segsam::cuda::Vector> shared(sharedBytes / sizeof(segsam::cuda::Vector));
    auto* const memory = reinterpret_cast<segsam::cuda::uint16*>(shared.data());
    for (auto i = static_cast<int>(begin); i < end; ++i) {
      const std::array<int, 3> block = {i % grid[0], i / grid[0] % grid[1], i / grid[0] / grid[1]};
      segsam::cuda::EmulatedBlock::run(threads, block, [&] { kernel(memory); });
    }
  });
}

template <class Body>
void runGrid(std::array<int, 3> grid, int threads, const Body& kernel) {
  runGrid(grid, threads, 0, [&](segsam::cuda::uint16* /*shared*/) { kernel(); });
}
