#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <utility>

#include "napi/napi_setup.h"

namespace segsam {

/// Native memory that objects of one kind and environment hold. V8 is told of it, so that the collector comes in time,
/// but of what goes beyond `untold` bytes alone: 64 MB more than at the last collection (V8's soft limit) make it mark
/// the whole heap, in steps that block the event loop, even where all of it is disposed. JavaScript thread only.
class HostTally {
 public:
  HostTally(Napi::Env env, int64_t untold) : env_(env), untold_(untold) {}
  HostTally(const HostTally&) = delete;
  HostTally& operator=(const HostTally&) = delete;

  void change(int64_t bytes) {
    held_ += bytes;
    const int64_t due = std::max<int64_t>(0, held_ - untold_);
    int64_t total = 0;
    if (due != told_) napi_adjust_external_memory(env_, due - told_, &total);
    told_ = due;
  }

 private:
  napi_env env_;
  int64_t untold_;
  int64_t held_ = 0;
  int64_t told_ = 0;
};

/// The bytes that one object holds, counted in a tally. JavaScript thread only.
class HostMemory {
 public:
  HostMemory(std::shared_ptr<HostTally> tally, int64_t bytes) : tally_(std::move(tally)), bytes_(bytes) {
    tally_->change(bytes);
  }
  HostMemory(const HostMemory&) = delete;
  HostMemory& operator=(const HostMemory&) = delete;
  ~HostMemory() { release(); }

  void release() {
    tally_->change(-bytes_);
    bytes_ = 0;
  }

 private:
  std::shared_ptr<HostTally> tally_;
  int64_t bytes_;
};

}  // namespace segsam
