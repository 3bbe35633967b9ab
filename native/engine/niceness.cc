#include "engine/niceness.h"

#if defined(__linux__)

#include <sys/resource.h>

#include <cstdlib>

namespace segsam {

void applyNiceness() {
  constexpr long kGreatest = 19;
  const char* text = std::getenv("SEG_SAM_NICE");
  const long value = text == nullptr ? 0 : std::strtol(text, nullptr, 10);
  // Of the calling thread alone: on Linux each has a value of its own (sched(7)).
  if (value > 0 && value <= kGreatest) setpriority(PRIO_PROCESS, 0, static_cast<int>(value));
}

}  // namespace segsam

#else

namespace segsam {

void applyNiceness() {}

}  // namespace segsam

#endif
