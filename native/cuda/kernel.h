#pragma once

#include <ATen/ATen.h>

#include <array>
#include <cstdint>
#include <string>

namespace segsam {

/// A kernel of this folder with its template arguments. Compiled for the device that it runs on, when it is first
/// needed there, by the run-time compiler that comes with a CUDA libtorch: the addon needs no CUDA to be built.
struct Kernel {
  /// As `cuda/grid_attention.h`.
  std::string header;
  /// As `attendGrid<BFloat16, 64>`; takes the arguments and, with `sharedBytes`, shared memory.
  std::string function;
  /// The name of the arguments' type.
  std::string arguments;
  int threads;
  /// Blocks that a processor must hold at a time, which limits the registers of a thread.
  int blocksPerProcessor;
  int sharedBytes;
};

/// Whether kernels of this folder can run on a device: one of compute capability 8.0 or later.
bool runsKernels(at::Device device);

/// Multiprocessors of a device of `runsKernels`.
int processorsOf(at::Device device);

/// Memory of a CUDA device in bytes; 0 where the driver does not say.
int64_t memoryOf(at::Device device);

/// Compiles the kernel for a device of `runsKernels`, where it is not yet.
/// @throws Error DEVICE_UNAVAILABLE
void prepareKernel(const Kernel& kernel, at::Device device);

/// Enqueues the kernel on the current stream of the device, which is the current one of the thread.
void launchKernel(const Kernel& kernel, at::Device device, std::array<unsigned, 3> grid, void* arguments);

}  // namespace segsam
