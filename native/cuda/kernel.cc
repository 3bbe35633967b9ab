#include "cuda/kernel.h"

#include <ATen/DeviceGuard.h>
#include <c10/core/Stream.h>
#include <c10/core/impl/VirtualGuardImpl.h>

#include <algorithm>
#include <cctype>
#include <exception>
#include <filesystem>
#include <mutex>
#include <new>
#include <vector>

#include "cuda/kernel_cache.h"
#include "cuda/kernel_sources.h"
#include "cuda/library.h"
#include "engine/device.h"
#include "error.h"

namespace segsam {

namespace {

/// Source of the interface: CUDA Driver API, sections "Module Management" and "Execution Control".
struct Driver {
  Library library{{"libcuda.so.1"}, "cuLaunchKernel"};

  int (*getDevice)(int*, int) = library.symbol<int(int*, int)>("cuDeviceGet");
  int (*getAttribute)(int*, int, int) = library.symbol<int(int*, int, int)>("cuDeviceGetAttribute");
  int (*getMemory)(size_t*, int) = library.symbol<int(size_t*, int)>("cuDeviceTotalMem_v2");
  int (*loadModule)(void**, const void*) = library.symbol<int(void**, const void*)>("cuModuleLoadData");
  int (*getFunction)(void**, void*,
                     const char*) = library.symbol<int(void**, void*, const char*)>("cuModuleGetFunction");
  int (*setAttribute)(void*, int, int) = library.symbol<int(void*, int, int)>("cuFuncSetAttribute");
  int (*launch)(void*, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, void*, void**,
                void**) = library.symbol<int(void*, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned,
                                             unsigned, void*, void**, void**)>("cuLaunchKernel");

  bool isWhole() const { return getDevice && getAttribute && loadModule && getFunction && setAttribute && launch; }
};

/// Source of the interface: NVRTC, sections "Compilation" and "General Information Query".
struct Compiler {
  Library library{names(), "nvrtcCreateProgram"};

  using Program = void*;
  int (*create)(Program*, const char*, const char*, int, const char* const*, const char* const*) =
      library.symbol<int(Program*, const char*, const char*, int, const char* const*, const char* const*)>(
          "nvrtcCreateProgram");
  int (*compile)(Program, int,
                 const char* const*) = library.symbol<int(Program, int, const char* const*)>("nvrtcCompileProgram");
  int (*logSize)(Program, size_t*) = library.symbol<int(Program, size_t*)>("nvrtcGetProgramLogSize");
  int (*log)(Program, char*) = library.symbol<int(Program, char*)>("nvrtcGetProgramLog");
  int (*binarySize)(Program, size_t*) = library.symbol<int(Program, size_t*)>("nvrtcGetCUBINSize");
  int (*binary)(Program, char*) = library.symbol<int(Program, char*)>("nvrtcGetCUBIN");
  int (*destroy)(Program*) = library.symbol<int(Program*)>("nvrtcDestroyProgram");
  int (*version)(int*, int*) = library.symbol<int(int*, int*)>("nvrtcVersion");

  bool isWhole() const { return create && compile && logSize && log && binarySize && binary && destroy && version; }

  /// libtorch's own library, which may need the compiler; where pip installs the compiler beside libtorch; the
  /// system's.
  static std::vector<std::string> names() {
    const std::string folder = std::filesystem::path(libtorchFile()).parent_path().string();
    const std::string packages = folder + "/../../nvidia";
    return {folder + "/libcaffe2_nvrtc.so", packages + "/cu13/lib/libnvrtc.so.13",
            packages + "/cuda_nvrtc/lib/libnvrtc.so.12", "libnvrtc.so.13", "libnvrtc.so.12"};
  }
};

const Driver& driver() {
  static const Driver instance;
  return instance;
}

const Compiler& compiler() {
  static const Compiler instance;
  return instance;
}

void expectSuccess(int code, const std::string& what) {
  if (code != 0) throw Error(kDeviceUnavailable, what + " failed: CUDA error " + std::to_string(code));
}

int attributeOf(at::Device device, int attribute) {
  int handle = 0;
  int value = 0;
  expectSuccess(driver().getDevice(&handle, device.index()), "cuDeviceGet");
  expectSuccess(driver().getAttribute(&value, attribute, handle), "cuDeviceGetAttribute");
  return value;
}

constexpr int kMajorCapability = 75;
constexpr int kMinorCapability = 76;

std::string architectureOf(at::Device device) {
  return "sm_" + std::to_string(attributeOf(device, kMajorCapability)) +
         std::to_string(attributeOf(device, kMinorCapability));
}

/// What profilers call a kernel: its function, with what no name may have replaced.
std::string entryOf(const Kernel& kernel) {
  std::string name = kernel.function;
  std::replace_if(
      name.begin(), name.end(), [](unsigned char c) { return std::isalnum(c) == 0; }, '_');
  return "seg_sam_" + name;
}

std::string sourceOf(const Kernel& kernel) {
  const bool takesShared = kernel.sharedBytes > 0;
  return "#include \"" + kernel.header + "\"\nusing namespace segsam::cuda;\nextern \"C\" __global__ void " +
         "__launch_bounds__(" + std::to_string(kernel.threads) + ", " + std::to_string(kernel.blocksPerProcessor) +
         ") " + entryOf(kernel) + "(const " + kernel.arguments + " arguments) {\n" +
         (takesShared ? "extern __shared__ Vector shared[];\n" : "") + kernel.function + "(arguments" +
         (takesShared ? ", reinterpret_cast<uint16*>(shared)" : "") + ");\n}\n";
}

constexpr const char* kStandard = "--std=c++17";
constexpr const char* kExecutionSpace = "--device-as-default-execution-space";

/// All that a compiled kernel depends on.
std::string keyOf(const Kernel& kernel, const std::string& architecture) {
  int major = 0;
  int minor = 0;
  compiler().version(&major, &minor);
  std::string key = architecture + " " + kStandard + " " + kExecutionSpace + " " + std::to_string(major) + "." +
                    std::to_string(minor) + "\n" + sourceOf(kernel);
  for (const KernelSource& header : kernelSources()) key += header.text;
  return key;
}

std::string compile(const Kernel& kernel, const std::string& architecture) {
  const Compiler& nvrtc = compiler();
  const std::string source = sourceOf(kernel);
  std::vector<const char*> texts;
  std::vector<const char*> names;
  for (const KernelSource& header : kernelSources()) {
    names.push_back(header.name);
    texts.push_back(header.text);
  }
  Compiler::Program program = nullptr;
  expectSuccess(
      nvrtc.create(&program, source.c_str(), "kernel.cu", static_cast<int>(texts.size()), texts.data(), names.data()),
      "nvrtcCreateProgram");
  const std::string target = "--gpu-architecture=" + architecture;
  const std::array<const char*, 3> options = {target.c_str(), kStandard, kExecutionSpace};
  const int failed = nvrtc.compile(program, options.size(), options.data());
  std::string result;
  size_t size = 0;
  bool isWhole = failed == 0 && nvrtc.binarySize(program, &size) == 0;
  if (isWhole) {
    result.resize(size);
    isWhole = nvrtc.binary(program, result.data()) == 0;
  } else if (nvrtc.logSize(program, &size) == 0 && size > 0) {
    result.resize(size);
    nvrtc.log(program, result.data());
    // Its last character is NUL.
    result.pop_back();
  }
  nvrtc.destroy(&program);
  if (!isWhole) {
    throw Error(kDeviceUnavailable, kernel.function + " cannot be compiled for " + architecture + ": " + result);
  }
  return result;
}

/// Null where the driver does not take it.
void* moduleOf(const std::string& binary) {
  void* module = nullptr;
  return driver().loadModule(&module, binary.data()) == 0 ? module : nullptr;
}

void* load(const Kernel& kernel, at::Device device) {
  const std::string reason = whyNoKernels(device);
  if (!reason.empty()) throw Error(kDeviceUnavailable, device.str() + " cannot run " + kernel.function + ": " + reason);
  const at::DeviceGuard guard(device);
  // The device's context is the thread's once libtorch has computed something there.
  at::zeros({1}, at::TensorOptions(at::kByte).device(device));
  constexpr int kMostSharedBytes = 97;
  const int shared = attributeOf(device, kMostSharedBytes);
  if (kernel.sharedBytes > shared) {
    throw Error(kDeviceUnavailable, kernel.function + " needs " + std::to_string(kernel.sharedBytes) +
                                        " bytes of shared memory, and " + device.str() + " has " +
                                        std::to_string(shared));
  }
  const std::string architecture = architectureOf(device);
  const std::string key = keyOf(kernel, architecture);
  const std::string cached = cachedKernel(key);
  void* module = cached.empty() ? nullptr : moduleOf(cached);
  if (module == nullptr) {
    const std::string binary = compile(kernel, architecture);
    module = moduleOf(binary);
    if (module == nullptr) throw Error(kDeviceUnavailable, device.str() + " cannot load " + kernel.function);
    cacheKernel(key, binary);
  }
  void* function = nullptr;
  expectSuccess(driver().getFunction(&function, module, entryOf(kernel).c_str()), "cuModuleGetFunction");
  constexpr int kDynamicSharedBytes = 8;
  if (kernel.sharedBytes > 0) {
    expectSuccess(driver().setAttribute(function, kDynamicSharedBytes, kernel.sharedBytes), "cuFuncSetAttribute");
  }
  return function;
}

/// In place of a function that cannot be had.
char failed = 0;

void* functionOf(const Kernel& kernel, at::Device device) {
  std::atomic<void*>& function = kernel.functions.at(device.index());
  const auto isLoaded = [&] { return function.load() != nullptr && function.load() != &failed; };
  if (isLoaded()) return function.load();
  static std::mutex mutex;
  const std::lock_guard lock(mutex);
  if (!isLoaded()) function.store(load(kernel, device));
  return function.load();
}

}  // namespace

std::string whyNoKernels(at::Device device) {
  if (!device.is_cuda()) return "it is no CUDA device";
  if (!driver().isWhole()) return "libcuda.so.1 was not found or lacks functions";
  if (!compiler().isWhole()) return "the run-time compiler (libnvrtc) was not found or lacks functions";
  constexpr int kAmpere = 8;
  if (attributeOf(device, kMajorCapability) < kAmpere) return "its compute capability is below 8.0";
  return "";
}

int processorsOf(at::Device device) {
  constexpr int kProcessors = 16;
  return attributeOf(device, kProcessors);
}

int64_t memoryOf(at::Device device) {
  int handle = 0;
  size_t bytes = 0;
  const Driver& cuda = driver();
  const bool isKnown = cuda.getDevice && cuda.getMemory && cuda.getDevice(&handle, device.index()) == 0 &&
                       cuda.getMemory(&bytes, handle) == 0;
  return isKnown ? static_cast<int64_t>(bytes) : 0;
}

std::string whyNot(const Kernel& kernel, at::Device device) {
  std::atomic<void*>& function = kernel.functions.at(device.index());
  if (function.load() == &failed) return kernel.function + " could not be had before";
  try {
    functionOf(kernel, device);
    return "";
  } catch (const std::bad_alloc&) {
    throw;
  } catch (const std::exception& error) {
    void* none = nullptr;
    function.compare_exchange_strong(none, &failed);
    return error.what();
  }
}

void prepareKernel(const Kernel& kernel, at::Device device) { functionOf(kernel, device); }

void launchKernel(const Kernel& kernel, at::Device device, std::array<unsigned, 3> grid, void* arguments) {
  const c10::impl::VirtualGuardImpl implementation(device.type());
  void* const stream = implementation.getStream(device).native_handle();
  std::array<void*, 1> all = {arguments};
  expectSuccess(driver().launch(functionOf(kernel, device), grid[0], grid[1], grid[2], kernel.threads, 1, 1,
                                kernel.sharedBytes, stream, all.data(), nullptr),
                kernel.function);
}

}  // namespace segsam
