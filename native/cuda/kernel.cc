#include "cuda/kernel.h"

#include <c10/core/Stream.h>
#include <c10/core/impl/VirtualGuardImpl.h>

#include <filesystem>
#include <map>
#include <mutex>
#include <utility>
#include <vector>

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

  bool isWhole() const { return create && compile && logSize && log && binarySize && binary && destroy; }

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

struct Capability {
  int major;
  int minor;
};

Capability capabilityOf(at::Device device) {
  constexpr int kMajor = 75;
  constexpr int kMinor = 76;
  return {attributeOf(device, kMajor), attributeOf(device, kMinor)};
}

std::string sourceOf(const Kernel& kernel) {
  const bool takesShared = kernel.sharedBytes > 0;
  return "#include \"" + kernel.header + "\"\nusing namespace segsam::cuda;\nextern \"C\" __global__ void " +
         "__launch_bounds__(" + std::to_string(kernel.threads) + ", " + std::to_string(kernel.blocksPerProcessor) +
         ") kernel(const " + kernel.arguments + " arguments) {\n" +
         (takesShared ? "extern __shared__ Vector shared[];\n" : "") + kernel.function + "(arguments" +
         (takesShared ? ", reinterpret_cast<uint16*>(shared)" : "") + ");\n}\n";
}

std::string compile(const Kernel& kernel, Capability capability) {
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
  const std::string architecture =
      "--gpu-architecture=sm_" + std::to_string(capability.major) + std::to_string(capability.minor);
  const std::array<const char*, 3> options = {architecture.c_str(), "--std=c++17",
                                              "--device-as-default-execution-space"};
  const int failed = nvrtc.compile(program, options.size(), options.data());
  std::string result;
  size_t size = 0;
  if (failed == 0 && nvrtc.binarySize(program, &size) == 0) {
    result.resize(size);
    nvrtc.binary(program, result.data());
  } else if (nvrtc.logSize(program, &size) == 0) {
    result.resize(size);
    nvrtc.log(program, result.data());
  }
  nvrtc.destroy(&program);
  if (failed != 0 || result.empty()) {
    throw Error(kDeviceUnavailable, kernel.function + " cannot be compiled for " + architecture + ": " + result);
  }
  return result;
}

void* load(const Kernel& kernel, at::Device device) {
  if (!runsKernels(device)) throw Error(kDeviceUnavailable, device.str() + " cannot run " + kernel.function);
  const std::string binary = compile(kernel, capabilityOf(device));
  // The context of the device is current from here on.
  const c10::impl::VirtualGuardImpl implementation(device.type());
  implementation.setDevice(device);
  at::empty({1}, at::TensorOptions(at::kByte).device(device));
  void* module = nullptr;
  void* function = nullptr;
  expectSuccess(driver().loadModule(&module, binary.data()), "cuModuleLoadData");
  expectSuccess(driver().getFunction(&function, module, "kernel"), "cuModuleGetFunction");
  constexpr int kDynamicSharedBytes = 8;
  if (kernel.sharedBytes > 0) {
    expectSuccess(driver().setAttribute(function, kDynamicSharedBytes, kernel.sharedBytes), "cuFuncSetAttribute");
  }
  return function;
}

void* functionOf(const Kernel& kernel, at::Device device) {
  static std::mutex mutex;
  static std::map<std::pair<int, std::string>, void*> functions;
  const std::lock_guard lock(mutex);
  void*& function = functions[{device.index(), kernel.function}];
  if (function == nullptr) function = load(kernel, device);
  return function;
}

}  // namespace

bool runsKernels(at::Device device) {
  constexpr int kAmpere = 8;
  return device.is_cuda() && driver().isWhole() && compiler().isWhole() && capabilityOf(device).major >= kAmpere;
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
