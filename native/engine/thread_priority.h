#pragma once

namespace segsam {

// Of the calling thread and those that it begins from then on. Linux only.

/// Gives it the nice value that SEG_SAM_NICE names (1 to 19), if any: JavaScript need not wait for a core that
/// computes.
void applyNiceness();

/// When it is woken, it waits for a core instead of taking that of a thread that runs (SCHED_BATCH), such as that of
/// JavaScript, which has just given it a task.
void preemptNobody();

}  // namespace segsam
