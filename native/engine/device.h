#pragma once

#include <ATen/ATen.h>

#include <string>
#include <vector>

namespace segsam {

/// kInt8: the linear layers of the encoder's blocks multiply in 8 bits, the rest in bf16 where libtorch multiplies it.
enum class Precision { kAuto, kFp32, kBf16, kFp16, kInt8 };

/// `auto`, `cpu`, `cuda` or `cuda:N` to a device that can be used now.
/// @throws Error DEVICE_UNAVAILABLE, INVALID_ARGUMENT
at::Device resolveDevice(const std::string& name);

/// Waits until the device has done all that the calling thread gave it, on its stream; the CPU always has.
void synchronise(at::Device device);

/// Gives the calling thread a stream of its own on the device, whose work is done beside that of others; nothing on the
/// CPU.
void useOwnStream(at::Device device);

/// Computes something on the device: a driver too old for libtorch, or a card that it has no code for, shows only then.
/// @throws Error DEVICE_UNAVAILABLE
void tryDevice(at::Device device);

/// The arithmetic of the image encoder: what was asked for, or for `kAuto` bf16 where the device multiplies it in
/// hardware, else fp16 on CUDA and fp32 on the CPU.
/// @throws Error DEVICE_UNAVAILABLE: a device that does not compute in 8 bits
Precision resolvePrecision(Precision asked, at::Device device);

/// Of what the encoder takes and returns.
at::ScalarType scalarType(Precision precision);

/// On which libtorch computes on the CPU, one thread each; 1 where they cannot be shared out.
int cores();

/// On how many of them it computes what the calling thread asks for from now on.
void computeOn(int cores);

/// With which the CPU multiplies bf16: `amx`, `avx512_bf16` or nothing.
const std::string& bf16Instructions();

struct CudaDevice {
  std::string name;
  int index;
  int majorCapability;
  /// Why the kernels of `cuda/` cannot run there; empty where they can.
  std::string kernelError{};
};

struct RuntimeInfo {
  std::string libtorch;
  std::string libtorchPath;
  bool cudaBuilt;
  std::vector<CudaDevice> cudaDevices;
  std::string cudaError;
  int threads;
  std::string cpuCapability;
  std::string bf16;
};

/// The file of the libtorch that is loaded, as it was named when it was; empty where that is not known.
std::string libtorchFile();

RuntimeInfo runtimeInfo();

}  // namespace segsam
