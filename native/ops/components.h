#pragma once

#include <cstdint>
#include <vector>

#include "ops/mask.h"

namespace segsam {

enum class Connectivity { kFour, kEight };

struct Component {
  int64_t area;
  Box box;
};

/// Labels the connected components of the foreground 1..n, in the order in which a row-major scan meets them.
/// @param labels (height, width), written whole; background is 0
/// @throws Error INVALID_ARGUMENT beyond 2^31 - 1 pixels
std::vector<Component> connectedComponents(const Mask& mask, Connectivity connectivity, int32_t* labels);

/// A copy of the mask (1 where it was non-zero) in which every 4-connected background region that does not touch the
/// border, and has at most `maxArea` pixels (0: any), is filled.
/// @param filled (height, width), written whole
void fillHoles(const Mask& mask, int64_t maxArea, uint8_t* filled);

}  // namespace segsam
