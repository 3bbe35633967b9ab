#include "engine/thread_priority.h"

#if defined(__linux__)

#include <sched.h>
#include <sys/resource.h>

#include <cstdlib>

namespace segsam {

// Both are of the calling thread alone: on Linux each has its own (sched(7)). A system that refuses leaves it as it
// was.
void makeWay() {
  const sched_param none{};
  if (sched_getscheduler(0) == SCHED_OTHER) sched_setscheduler(0, SCHED_BATCH, &none);

  constexpr long kGreatest = 19;
  const char* text = std::getenv("SEG_SAM_NICE");
  const long value = text == nullptr ? 0 : std::strtol(text, nullptr, 10);
  if (value > 0 && value <= kGreatest) setpriority(PRIO_PROCESS, 0, static_cast<int>(value));
}

}  // namespace segsam

#else

namespace segsam {

void makeWay() {}

}  // namespace segsam

#endif
