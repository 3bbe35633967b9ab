#include "ops/window.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <type_traits>
#include <utility>
#include <vector>

namespace segsam {

namespace {

constexpr double kLowQuantile = 0.005;
constexpr double kHighQuantile = 0.995;
constexpr int64_t kLevels = 1 << 16;

/// Calls `visit` with each colour value of the image that is finite.
template <class Pixel, class Visit>
void forEachValue(const Image& image, const Visit& visit) {
  const auto* pixels = static_cast<const Pixel*>(image.pixels);
  const int colours = std::min(image.channels, 3);
  const int64_t count = image.width * image.height;
  for (int64_t i = 0; i < count; ++i, pixels += image.channels) {
    for (int channel = 0; channel < colours; ++channel) {
      if constexpr (std::is_floating_point_v<Pixel>) {
        if (!std::isfinite(pixels[channel])) continue;
      }
      visit(pixels[channel]);
    }
  }
}

/// Its bits as a number that is larger for a larger float.
inline uint32_t orderOf(float value) {
  const auto bits = std::bit_cast<uint32_t>(value);
  return (bits >> 31) != 0 ? ~bits : bits | 0x80000000U;
}

/// 65,536 levels in the order of the values: of an integer each is one, of a float those with the same upper 16 bits.
template <class Pixel>
int64_t levelOf(Pixel value) {
  if constexpr (std::is_floating_point_v<Pixel>) {
    return orderOf(value) / kLevels;
  } else {
    return static_cast<int64_t>(value) - std::numeric_limits<Pixel>::min();
  }
}

/// The values of an image by rank, counted by level.
template <class Pixel>
class Ranks {
 public:
  explicit Ranks(const Image& image) : image_(image), counts_(kLevels, 0) {
    forEachValue<Pixel>(image, [&](Pixel value) { ++counts_[levelOf(value)]; });
    for (const int64_t ofLevel : counts_) count_ += ofLevel;
  }

  int64_t count() const { return count_; }

  double quantile(double q) {
    const double rank = q * static_cast<double>(count_ - 1);
    const auto below = static_cast<int64_t>(std::floor(rank));
    const double low = at(below);
    const double high = at(std::min(below + 1, count_ - 1));
    return low + (high - low) * (rank - static_cast<double>(below));
  }

 private:
  double at(int64_t rank) {
    const int64_t level = walk(counts_, rank);
    if constexpr (std::is_floating_point_v<Pixel>) {
      if (std::exchange(level_, level) != level) countWithin(level);
      const auto ordered = static_cast<uint32_t>(level * kLevels + walk(within_, rank));
      return std::bit_cast<Pixel>((ordered >> 31) != 0 ? ordered & 0x7fffffffU : ~ordered);
    } else {
      return static_cast<double>(level + std::numeric_limits<Pixel>::min());
    }
  }

  /// The level of a rank, which becomes the rank within it.
  static int64_t walk(const std::vector<int64_t>& counts, int64_t& rank) {
    int64_t level = 0;
    for (; rank >= counts[level]; ++level) rank -= counts[level];
    return level;
  }

  /// Counts the floats of a level by their lower 16 bits.
  void countWithin(int64_t level) {
    within_.assign(kLevels, 0);
    forEachValue<Pixel>(image_, [&](Pixel value) {
      const uint32_t ordered = orderOf(value);
      if (ordered / kLevels == level) ++within_[ordered % kLevels];
    });
  }

  const Image& image_;
  std::vector<int64_t> counts_;
  int64_t count_ = 0;
  int64_t level_ = -1;
  std::vector<int64_t> within_;
};

template <class Pixel>
std::array<double, 2> percentileWindow(const Image& image) {
  Ranks<Pixel> ranks(image);
  if (ranks.count() == 0) return {0, 0};
  return {ranks.quantile(kLowQuantile), ranks.quantile(kHighQuantile)};
}

}  // namespace

std::array<double, 2> windowOf(const Image& image) {
  if (image.window) return *image.window;
  switch (image.type) {
    case PixelType::kUint8:
      return {0, 255};
    case PixelType::kUint16:
      return percentileWindow<uint16_t>(image);
    case PixelType::kInt16:
      return percentileWindow<int16_t>(image);
    case PixelType::kFloat32:
      return percentileWindow<float>(image);
  }
  return {};
}

}  // namespace segsam
