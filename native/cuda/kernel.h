#pragma once

#include <ATen/ATen.h>

#include <array>
#include <atomic>
#include <cstdint>
#include <string>

#include "error.h"

namespace segsam {

/// A kernel of this folder with its template arguments, which lives as long as the process. Compiled for the device
/// that it runs on, when it is first needed there, by the run-time compiler that comes with a CUDA libtorch: the addon
/// needs no CUDA to be built.
struct Kernel {
  /// As `cuda/grid_attention.h`.
  std::string header;
  /// As `attendGrid<BFloat16, 64, 2, 32>`; takes the arguments and, with `sharedBytes`, shared memory.
  std::string function;
  /// The name of the arguments' type.
  std::string arguments;
  int threads;
  /// Blocks that a processor must hold at a time, which limits the registers of a thread.
  int blocksPerProcessor;
  int sharedBytes;
  /// What was loaded, or that it could not be, by the device's index.
  mutable std::array<std::atomic<void*>, 128> functions{};
};

/// Why kernels of this folder cannot run on a device; empty where they can.
std::string whyNoKernels(at::Device device);

/// Why the kernel cannot run there; empty where it can. Compiles it and loads it, where it is not yet; one that could
/// not be stays so.
std::string whyNot(const Kernel& kernel, at::Device device);

inline bool canRun(const Kernel& kernel, at::Device device) {
  return device.is_cuda() && whyNot(kernel, device).empty();
}

/// Multiprocessors of a device without a reason in `whyNoKernels`.
int processorsOf(at::Device device);

/// Memory of a CUDA device in bytes; 0 where the driver does not say.
int64_t memoryOf(at::Device device);

/// Compiles the kernel and loads it, where it is not yet.
/// @throws Error DEVICE_UNAVAILABLE
void prepareKernel(const Kernel& kernel, at::Device device);

/// Why `prepare`, which prepares kernels, cannot do so on a device; empty where it has done it.
template <class Prepare>
std::string whyNotPrepared(at::Device device, const Prepare& prepare) {
  std::string reason = whyNoKernels(device);
  if (!reason.empty()) return reason;
  try {
    prepare();
  } catch (const Error& error) {
    reason = error.what();
  }
  return reason;
}

/// Enqueues the kernel on the current stream of the device, which is the current one of the thread.
void launchKernel(const Kernel& kernel, at::Device device, std::array<unsigned, 3> grid, void* arguments);

}  // namespace segsam
