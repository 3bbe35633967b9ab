#include "engine/thread_priority.h"

#if defined(__linux__)

#include <sched.h>
#include <sys/resource.h>

#include <cstdlib>

namespace segsam {

// Each thread has its own, which those that it begins inherit (sched(7)). Where the system refuses, all is as it was.

void applyNiceness() {
  constexpr long kGreatest = 19;
  const char* text = std::getenv("SEG_SAM_NICE");
  const long value = text == nullptr ? 0 : std::strtol(text, nullptr, 10);
  if (value > 0 && value <= kGreatest) setpriority(PRIO_PROCESS, 0, static_cast<int>(value));
}

void preemptNobody() {
  const sched_param priority{};
  if (sched_getscheduler(0) == SCHED_OTHER) sched_setscheduler(0, SCHED_BATCH, &priority);
}

}  // namespace segsam

#else

namespace segsam {

void applyNiceness() {}

void preemptNobody() {}

}  // namespace segsam

#endif
