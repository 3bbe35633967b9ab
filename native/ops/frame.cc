#include "ops/frame.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "error.h"

namespace segsam {

Frame Frame::of(int64_t width, int64_t height, int64_t side, ResizeMode mode) {
  for (int64_t size : {width, height, side}) {
    if (size < 1 || size > std::numeric_limits<int32_t>::max()) {
      throw Error(kInvalidArgument, "Expected sizes from 1 to 2147483647 pixels, got " + std::to_string(size));
    }
  }
  Frame frame{width, height, side, side, side};
  if (mode == ResizeMode::kLongest) {
    const double scale = static_cast<double>(side) / static_cast<double>(std::max(width, height));
    const auto scaled = [scale](int64_t size) {
      return std::max<int64_t>(1, static_cast<int64_t>(std::floor(static_cast<double>(size) * scale + 0.5)));
    };
    frame.resizedWidth = scaled(width);
    frame.resizedHeight = scaled(height);
  }
  return frame;
}

}  // namespace segsam
