#pragma once

/// Runs kernels of native/cuda on the CPU. Include it before them.

#include <ATen/ATen.h>

#include <array>

#define SEG_SAM_EMULATED_WARP "emulated_warp.h"
#include "cuda/warp.h"

inline segsam::cuda::uint16* halves(const at::Tensor& tensor) {
  return static_cast<segsam::cuda::uint16*>(tensor.data_ptr());
}

inline double relativeError(const at::Tensor& actual, const at::Tensor& expected) {
  return ((actual.to(at::kDouble) - expected).norm() / expected.norm()).item<double>();
}

template <class Body>
void runGrid(std::array<int, 3> grid, int threads, const Body& kernel) {
  for (int z = 0; z < grid[2]; ++z) {
    for (int y = 0; y < grid[1]; ++y) {
      for (int x = 0; x < grid[0]; ++x) segsam::cuda::EmulatedBlock::run(threads, {x, y, z}, kernel);
    }
  }
}
