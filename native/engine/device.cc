#include "engine/device.h"

#include <ATen/Parallel.h>
#include <ATen/Version.h>
#include <c10/core/impl/DeviceGuardImplInterface.h>
#include <c10/core/impl/VirtualGuardImpl.h>
#include <dlfcn.h>
#include <torch/version.h>

#include <array>
#include <filesystem>

#include "cuda/kernel.h"
#include "cuda/library.h"
#include "engine/brgemm_context.h"
#include "engine/failure.h"
#include "engine/linear.h"
#include "engine/quantised_weight.h"
#include "error.h"

#if defined(__x86_64__)
#include <cpuid.h>
#endif
#if defined(_OPENMP)
#include <omp.h>
#endif

namespace segsam {

namespace {

#if defined(__x86_64__)
/// Intel SDM volume 2A, CPUID leaf 7, and volume 1, chapter 13 (XCR0).
std::string readBf16Instructions() {
  unsigned eax = 0;
  unsigned ebx = 0;
  unsigned ecx = 0;
  unsigned edx = 0;
  constexpr unsigned kOsXsave = 1U << 27;
  if (__get_cpuid(1, &eax, &ebx, &ecx, &edx) == 0 || (ecx & kOsXsave) == 0) return "";
  unsigned enabled = 0;
  unsigned upper = 0;
  __asm__("xgetbv" : "=a"(enabled), "=d"(upper) : "c"(0));
  constexpr unsigned kAvx512State = 0xe6;
  constexpr unsigned kTileState = 0x60000;
  if (__get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) == 0) return "";
  constexpr unsigned kAmxBf16 = 1U << 22;
  if ((edx & kAmxBf16) != 0 && (enabled & kTileState) == kTileState) return "amx";
  constexpr unsigned kAvx512Bf16 = 1U << 5;
  if (eax >= 1 && __get_cpuid_count(7, 1, &eax, &ebx, &ecx, &edx) != 0 && (eax & kAvx512Bf16) != 0 &&
      (enabled & kAvx512State) == kAvx512State) {
    return "avx512_bf16";
  }
  return "";
}
#else
std::string readBf16Instructions() { return ""; }
#endif

struct CudaState {
  std::vector<CudaDevice> devices;
  std::string error;
};

/// Asks the driver itself, so that no CUDA header is needed and nothing of libtorch's CUDA part is initialised.
/// Source of the interface: CUDA Driver API, sections "Initialization", "Device Management" and "Error Handling".
class CudaDriver {
 public:
  CudaState state() const {
    if (!library_.isLoaded()) return {{}, "libcuda.so.1 was not found: no NVIDIA driver is installed"};
    const auto init = library_.symbol<int(unsigned)>("cuInit");
    const auto getCount = library_.symbol<int(int*)>("cuDeviceGetCount");
    const auto getDevice = library_.symbol<int(int*, int)>("cuDeviceGet");
    const auto getName = library_.symbol<int(char*, int, int)>("cuDeviceGetName");
    const auto getAttribute = library_.symbol<int(int*, int, int)>("cuDeviceGetAttribute");
    if (!init || !getCount || !getDevice || !getName || !getAttribute) {
      return {{}, "libcuda.so.1 lacks functions of the CUDA driver"};
    }
    if (const int code = init(0); code != 0) return {{}, "The CUDA driver does not start: " + describe(code)};
    int count = 0;
    if (const int code = getCount(&count); code != 0) return {{}, "The CUDA driver fails: " + describe(code)};
    CudaState state;
    for (int index = 0; index < count; ++index) {
      constexpr int kComputeCapabilityMajor = 75;
      int device = 0;
      int major = 0;
      std::array<char, 256> name{};
      if (getDevice(&device, index) != 0 || getName(name.data(), name.size() - 1, device) != 0 ||
          getAttribute(&major, kComputeCapabilityMajor, device) != 0) {
        continue;
      }
      state.devices.push_back({name.data(), index, major});
    }
    if (state.devices.empty()) state.error = "The CUDA driver sees no device";
    return state;
  }

 private:
  std::string describe(int code) const {
    const auto getErrorString = library_.symbol<int(int, const char**)>("cuGetErrorString");
    const char* text = nullptr;
    if (getErrorString != nullptr) getErrorString(code, &text);
    return text != nullptr ? text : "error " + std::to_string(code);
  }

  Library library_{{"libcuda.so.1"}, "cuInit"};
};

bool isCudaBuilt() { return c10::impl::hasDeviceGuardImpl(at::kCUDA); }

CudaState cudaState() {
  if (!isCudaBuilt()) return {{}, "This libtorch was built without CUDA"};
  return CudaDriver().state();
}

}  // namespace

const std::string& bf16Instructions() {
  static const std::string instructions = readBf16Instructions();
  return instructions;
}

at::Device resolveDevice(const std::string& name) {
  if (name == "cpu") return at::kCPU;
  const CudaState cuda = cudaState();
  if (name == "auto") return cuda.devices.empty() ? at::Device(at::kCPU) : at::Device(at::kCUDA, 0);
  int index = 0;
  if (name != "cuda") {
    constexpr size_t kPrefix = 5;
    constexpr size_t kMaxDigits = 3;
    const std::string digits = name.rfind("cuda:", 0) == 0 ? name.substr(kPrefix) : "";
    if (digits.empty() || digits.size() > kMaxDigits || digits.find_first_not_of("0123456789") != std::string::npos) {
      throw Error(kInvalidArgument, "Expected device auto, cpu, cuda or cuda:N, got " + name);
    }
    index = std::stoi(digits);
  }
  if (cuda.devices.empty()) throw Error(kDeviceUnavailable, name + " cannot be used: " + cuda.error);
  for (const CudaDevice& device : cuda.devices) {
    if (device.index == index) return {at::kCUDA, static_cast<at::DeviceIndex>(index)};
  }
  throw Error(kDeviceUnavailable,
              name + " cannot be used: devices 0 to " + std::to_string(cuda.devices.back().index) + " are present");
}

void synchronise(at::Device device) {
  if (device.is_cpu()) return;
  const c10::impl::VirtualGuardImpl implementation(device.type());
  implementation.synchronizeStream(implementation.getStream(device));
}

void useOwnStream(at::Device device) {
  if (device.is_cpu()) return;
  const c10::impl::VirtualGuardImpl implementation(device.type());
  implementation.setDevice(device);
  implementation.exchangeStream(implementation.getStreamFromGlobalPool(device));
}

void tryDevice(at::Device device) {
  try {
    at::ones({1}, device).add_(1).item<float>();
  } catch (...) {
    const Failure failure = describeCurrentException();
    if (failure.code == kOutOfMemory) throw;
    throw Error(kDeviceUnavailable, device.str() + " cannot be used: " + failure.message);
  }
}

Precision resolvePrecision(Precision asked, at::Device device) {
  if (asked == Precision::kInt8 && !(device.is_cpu() && packsLinears() && multipliesBytes())) {
    throw Error(kDeviceUnavailable, "Precision int8 cannot be used on " + device.str() +
                                        ": it takes a CPU with AVX-512 and its instructions for 8 bits (VNNI). Use "
                                        "device cpu on such a machine, else precision auto");
  }
  if (asked != Precision::kAuto) return asked;
  if (device.is_cpu()) return bf16Instructions().empty() ? Precision::kFp32 : Precision::kBf16;
  constexpr int kAmpere = 8;
  for (const CudaDevice& found : cudaState().devices) {
    if (found.index == device.index() && found.majorCapability >= kAmpere) return Precision::kBf16;
  }
  return Precision::kFp16;
}

at::ScalarType scalarType(Precision precision) {
  switch (precision) {
    case Precision::kBf16:
      return at::kBFloat16;
    case Precision::kFp16:
      return at::kHalf;
    case Precision::kInt8:
      return multipliesPackedBf16() ? at::kBFloat16 : at::kFloat;
    default:
      return at::kFloat;
  }
}

#if defined(_OPENMP)
int cores() { return at::get_num_threads(); }

void computeOn(int cores) {
  // Each thread takes libtorch's own number once, in libtorch and in this library, when it first computes.
  at::get_num_threads();
  at::internal::lazy_init_num_threads();
  // at::set_num_threads would hold for threads that begin later, too. MKL and oneDNN go by OpenMP's number.
  omp_set_num_threads(cores);
}
#else
int cores() { return 1; }

void computeOn(int /*cores*/) {}
#endif

std::string libtorchFile() {
  Dl_info found{};
  dladdr(reinterpret_cast<void*>(&at::get_cpu_capability), &found);
  return found.dli_fname != nullptr ? found.dli_fname : "";
}

RuntimeInfo runtimeInfo() {
  CudaState cuda = cudaState();
  for (CudaDevice& device : cuda.devices) {
    device.kernelError = whyNoKernels(at::Device(at::kCUDA, static_cast<at::DeviceIndex>(device.index)));
  }
  const std::string library = libtorchFile();
  std::error_code ignored;
  const std::filesystem::path path = std::filesystem::canonical(library, ignored);
  return {TORCH_VERSION,
          path.empty() ? library : path.string(),
          isCudaBuilt(),
          std::move(cuda.devices),
          std::move(cuda.error),
          at::get_num_threads(),
          at::get_cpu_capability(),
          bf16Instructions()};
}

}  // namespace segsam
