#pragma once

#include <cstdint>

#include "napi/napi_setup.h"

namespace segsam {

/// Native memory that a JavaScript object holds, told to V8 so that the collector knows what the object weighs.
/// JavaScript thread only.
class HostMemory {
 public:
  HostMemory(Napi::Env env, int64_t bytes) : env_(env), bytes_(bytes) { adjust(bytes); }
  HostMemory(const HostMemory&) = delete;
  HostMemory& operator=(const HostMemory&) = delete;
  ~HostMemory() { release(); }

  void release() {
    adjust(-bytes_);
    bytes_ = 0;
  }

 private:
  void adjust(int64_t change) const {
    int64_t total = 0;
    if (change != 0) napi_adjust_external_memory(env_, change, &total);
  }

  napi_env env_;
  int64_t bytes_;
};

}  // namespace segsam
