#pragma once

namespace segsam {

/// Gives the calling thread, and those that it begins from then on, the nice value that SEG_SAM_NICE names (1 to 19),
/// if any: JavaScript need not wait for a core that computes. Linux only.
void applyNiceness();

}  // namespace segsam
