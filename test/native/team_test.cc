#include "engine/team.h"

#include <ATen/Parallel.h>

#include <vector>

#include "check.h"

#if defined(__linux__) && defined(_OPENMP)

#include <sched.h>

using namespace segsam;

namespace {

cpu_set_t affinity() {
  cpu_set_t set;
  CPU_ZERO(&set);
  sched_getaffinity(0, sizeof set, &set);
  return set;
}

/// Of the threads that compute for the caller.
std::vector<cpu_set_t> affinities(int cores) {
  std::vector<cpu_set_t> all(cores);
  at::parallel_for(0, cores, 1, [&](int64_t /*begin*/, int64_t /*end*/) { all[at::get_thread_num()] = affinity(); });
  return all;
}

}  // namespace

TEST("threads that were woken may run wherever their caller may, as often as they are woken") {
  const int cores = at::get_num_threads();
  const cpu_set_t own = affinity();
  Team team;
  for (int i = 0; i < 3; ++i) {
    team.wake(cores);
    for (const cpu_set_t& set : affinities(cores)) EXPECT(CPU_EQUAL(&set, &own) != 0);
  }
}

TEST("a thread that has one core alone wakes its team, too") {
  const cpu_set_t own = affinity();
  cpu_set_t one;
  CPU_ZERO(&one);
  CPU_SET(sched_getcpu(), &one);
  Team team;
  team.wake(at::get_num_threads());
  sched_setaffinity(0, sizeof one, &one);
  team.wake(at::get_num_threads());
  const cpu_set_t still = affinity();
  EXPECT(CPU_EQUAL(&still, &one) != 0);
  sched_setaffinity(0, sizeof own, &own);
}

#endif
