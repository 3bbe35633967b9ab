#pragma once

#include <vector>

#include "ops/bit_mask.h"

namespace segsam {

struct Polygon {
  /// x0, y0, x1, y1, ...: the corners, the first not repeated, where the pixel (0, 0) covers [-0.5, 0.5]².
  std::vector<double> ring;
  bool hole;
};

/// The boundaries of the 4-connected foreground along pixel edges. Outer rings run clockwise as seen on the screen,
/// holes counter-clockwise: the foreground is always to the right. A hole follows its outer ring.
std::vector<Polygon> maskPolygons(const BitMask& mask);

}  // namespace segsam
