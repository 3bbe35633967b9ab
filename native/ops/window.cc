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

/// 65,536 levels in the order of the values: of an integer each is one, of a float those with the same upper 16 bits.
template <class Pixel>
int64_t levelOf(Pixel value) {
  if constexpr (std::is_floating_point_v<Pixel>) {
    const auto bits = std::bit_cast<uint32_t>(value);
    const uint32_t ordered = (bits >> 31) != 0 ? ~bits : bits | 0x80000000U;
    return ordered >> 16;
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
    int64_t level = 0;
    for (; rank >= counts_[level]; ++level) rank -= counts_[level];
    if constexpr (std::is_floating_point_v<Pixel>) {
      const auto place = valuesOf(level).begin() + rank;
      std::nth_element(values_.begin(), place, values_.end());
      return *place;
    } else {
      return static_cast<double>(level + std::numeric_limits<Pixel>::min());
    }
  }

  std::vector<Pixel>& valuesOf(int64_t level) {
    if (std::exchange(level_, level) == level) return values_;
    values_.clear();
    values_.reserve(counts_[level]);
    forEachValue<Pixel>(image_, [&](Pixel value) {
      if (levelOf(value) == level) values_.push_back(value);
    });
    return values_;
  }

  const Image& image_;
  std::vector<int64_t> counts_;
  int64_t count_ = 0;
  /// The values of one level, in any order.
  std::vector<Pixel> values_;
  int64_t level_ = -1;
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
