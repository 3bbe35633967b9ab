#pragma once

namespace segsam {

/// Makes the calling thread, and those that it begins from then on, take no core from a thread that runs (SCHED_BATCH),
/// such as that of JavaScript which has just given it a task, and gives them the nice value that SEG_SAM_NICE names (1
/// to 19), if any. Linux only.
void makeWay();

}  // namespace segsam
