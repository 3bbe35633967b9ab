#pragma once

#include <atomic>
#include <cstdint>

namespace segsam {

/// Live objects of this process, for leak tests and monitoring.
struct Counters {
  std::atomic<int64_t> models{0};
  std::atomic<int64_t> scenes{0};
  std::atomic<int64_t> sceneBytes{0};
  /// Jobs that have not started.
  std::atomic<int64_t> queued{0};
};

inline Counters& counters() {
  static Counters instance;
  return instance;
}

}  // namespace segsam
