#include "engine/team.h"

#if defined(__linux__) && defined(_OPENMP)

#include <ATen/Parallel.h>
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <iterator>

namespace segsam {

namespace {

/// With more cores the system finds a free one, and so many calls would take longer than they save.
constexpr int kMostCores = 16;

int threadId() { return static_cast<int>(syscall(SYS_gettid)); }

/// Whether it is still one of this process: a team whose size changes has other threads.
bool isAlive(int thread) { return syscall(SYS_tgkill, getpid(), thread, 0) == 0; }

}  // namespace

void Team::wake(int cores) {
  if (cores < 2 || cores > kMostCores) return;
  cpu_set_t allowed;
  CPU_ZERO(&allowed);
  const int own = sched_getcpu();
  if (own < 0 || sched_getaffinity(0, sizeof allowed, &allowed) != 0 || CPU_COUNT(&allowed) < cores) return;
  cpu_set_t others = allowed;
  CPU_CLR(own, &others);
  for (const int member : members_) {
    if (isAlive(member)) sched_setaffinity(member, sizeof others, &others);
  }
  std::vector<int> threads(cores);
  at::parallel_for(0, cores, 1, [&](int64_t /*begin*/, int64_t /*end*/) {
    threads[std::min(at::get_thread_num(), cores - 1)] = threadId();
  });
  for (const int member : members_) {
    if (isAlive(member)) sched_setaffinity(member, sizeof allowed, &allowed);
  }
  members_.clear();
  std::copy_if(threads.begin(), threads.end(), std::back_inserter(members_),
               [](int thread) { return thread != 0 && thread != threadId(); });
}

}  // namespace segsam

#else

namespace segsam {

void Team::wake(int /*cores*/) {}

}  // namespace segsam

#endif
