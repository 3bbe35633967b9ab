#include "ops/polygons.h"

#include <array>
#include <cstddef>
#include <optional>
#include <utility>

#include "ops/components.h"

namespace segsam {

namespace {

enum Direction { kRight, kDown, kLeft, kUp };

constexpr std::array<int, 4> kStepX = {1, 0, -1, 0};
constexpr std::array<int, 4> kStepY = {0, 1, 0, -1};

/// Walks rings along pixel corners; corner (x, y) is the top-left one of pixel (x, y).
class Tracer {
 public:
  explicit Tracer(const Mask& mask) : mask_(mask), topVisited_(mask.size(), false) {}

  /// Whether the top side of pixel (x, y) is a boundary that no ring has passed yet.
  bool startsAt(int64_t x, int64_t y) const {
    return isSet(x, y) && !isSet(x, y - 1) && !topVisited_[y * mask_.width + x];
  }

  /// The ring through the top side of pixel (x, y), from that side's left corner on.
  std::vector<double> ring(int64_t startX, int64_t startY) {
    std::vector<double> corners;
    int64_t x = startX;
    int64_t y = startY;
    Direction direction = kRight;
    do {
      corners.push_back(static_cast<double>(x) - 0.5);
      corners.push_back(static_cast<double>(y) - 0.5);
      direction = follow(x, y, direction);
    } while (x != startX || y != startY || direction != kRight);
    return corners;
  }

 private:
  bool isSet(int64_t x, int64_t y) const {
    return x >= 0 && y >= 0 && x < mask_.width && y < mask_.height && mask_.pixels[y * mask_.width + x] != 0;
  }

  /// Moves (x, y) straight on to the next corner of the ring and returns the direction after it.
  Direction follow(int64_t& x, int64_t& y, Direction direction) {
    for (;;) {
      if (direction == kRight) topVisited_[y * mask_.width + x] = true;
      x += kStepX[direction];
      y += kStepY[direction];
      // Turning right wherever possible keeps pixels that touch only at a corner apart.
      if (!isAheadSet(x, y, direction, true)) return static_cast<Direction>((direction + 1) % 4);
      if (isAheadSet(x, y, direction, false)) return static_cast<Direction>((direction + 3) % 4);
    }
  }

  /// Of the two pixels ahead of a corner, the one to the right or to the left.
  bool isAheadSet(int64_t x, int64_t y, Direction direction, bool right) const {
    static constexpr std::array<int, 4> kRightX = {0, -1, -1, 0};
    static constexpr std::array<int, 4> kRightY = {0, 0, -1, -1};
    static constexpr std::array<int, 4> kLeftX = {0, 0, -1, -1};
    static constexpr std::array<int, 4> kLeftY = {-1, 0, 0, -1};
    return right ? isSet(x + kRightX[direction], y + kRightY[direction])
                 : isSet(x + kLeftX[direction], y + kLeftY[direction]);
  }

  const Mask& mask_;
  std::vector<bool> topVisited_;
};

/// Twice the signed area; positive where the ring runs clockwise as seen on the screen.
double signedArea(const std::vector<double>& ring) {
  double sum = 0;
  for (size_t i = 0; i < ring.size(); i += 2) {
    const size_t next = (i + 2) % ring.size();
    sum += ring[i] * ring[next + 1] - ring[next] * ring[i + 1];
  }
  return sum;
}

std::vector<Polygon> polygonsOf(const Mask& mask) {
  std::vector<int32_t> labels(mask.size());
  std::vector<std::vector<Polygon>> byComponent(connectedComponents(mask, Connectivity::kFour, labels.data()).size());
  Tracer tracer(mask);
  for (int64_t y = 0; y < mask.height; ++y) {
    for (int64_t x = 0; x < mask.width; ++x) {
      if (!tracer.startsAt(x, y)) continue;
      std::vector<double> ring = tracer.ring(x, y);
      const bool hole = signedArea(ring) < 0;
      byComponent[labels[y * mask.width + x] - 1].push_back({std::move(ring), hole});
    }
  }
  std::vector<Polygon> polygons;
  for (auto& component : byComponent) {
    for (auto& polygon : component) polygons.push_back(std::move(polygon));
  }
  return polygons;
}

}  // namespace

std::vector<Polygon> maskPolygons(const Mask& mask) {
  const std::optional<Box> box = maskStats(mask).box;
  if (!box) return {};
  // Of a large image an object mostly has a small part.
  const std::vector<uint8_t> pixels = cropped(mask, *box);
  std::vector<Polygon> polygons = polygonsOf({pixels.data(), box->width(), box->height()});
  for (Polygon& polygon : polygons) {
    for (size_t i = 0; i < polygon.ring.size(); i += 2) {
      polygon.ring[i] += static_cast<double>(box->x0);
      polygon.ring[i + 1] += static_cast<double>(box->y0);
    }
  }
  return polygons;
}

}  // namespace segsam
