#pragma once

#include <vector>

namespace segsam {

/// The OpenMP threads with which one thread computes. They sleep when nothing was computed for a while, and the system
/// may wake one on the core of the thread that waits for it: it then runs only after that one's time slice, and for
/// some ten milliseconds two cores are slower than one. Seen on virtual machines of two cores.
///
/// Used by one thread only. Does nothing but on Linux.
class Team {
 public:
  /// Wakes `cores` - 1 threads on other cores than the caller's, where it may use others; afterwards they are free to
  /// move again.
  void wake(int cores);

 private:
  /// Thread ids, without the caller's.
  std::vector<int> members_;
};

}  // namespace segsam
