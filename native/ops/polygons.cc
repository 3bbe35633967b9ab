#include "ops/polygons.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <iterator>
#include <limits>
#include <numeric>
#include <utility>

namespace segsam {

namespace {

enum Direction { kRight, kDown, kLeft, kUp };

constexpr std::array<int, 4> kStepX = {1, 0, -1, 0};
constexpr std::array<int, 4> kStepY = {0, 1, 0, -1};

/// Walks rings along pixel corners; corner (x, y) is the top-left one of pixel (x, y).
class Tracer {
 public:
  explicit Tracer(const BitMask& mask) : mask_(mask), topVisited_(mask.size(), false) {}

  /// Whether a ring has passed the top side of pixel (x, y).
  bool passed(int64_t x, int64_t y) const { return topVisited_[index(x, y)]; }

  /// The ring through the top side of pixel (x, y), from that side's left corner on.
  std::vector<double> ring(int64_t startX, int64_t startY) {
    std::vector<double> corners;
    int64_t x = startX;
    int64_t y = startY;
    Direction direction = kRight;
    uppermost_.push_back(kNone);
    do {
      corners.push_back(static_cast<double>(x) - 0.5);
      corners.push_back(static_cast<double>(y) - 0.5);
      direction = follow(x, y, direction);
    } while (x != startX || y != startY || direction != kRight);
    return corners;
  }

  /// For each ring, in the order in which they were walked, the outer ring of the component that it bounds.
  std::vector<size_t> outerRings(const std::vector<bool>& isHole) {
    std::vector<size_t> outer(isHole.size());
    std::iota(outer.begin(), outer.end(), size_t{0});
    std::vector<size_t> holes;
    std::copy_if(outer.begin(), outer.end(), std::back_inserter(holes), [&](size_t ring) { return isHole[ring]; });
    if (holes.empty()) return outer;
    std::sort(leftSides_.begin(), leftSides_.end());
    // From the top down: the ring around a hole reaches higher, so that its own outer ring is known by then.
    std::sort(holes.begin(), holes.end(), [&](size_t a, size_t b) { return uppermost_[a] < uppermost_[b]; });
    for (const size_t hole : holes) outer[hole] = outer[ringAround(hole)];
    return outer;
  }

 private:
  static constexpr int64_t kNone = -1;

  int64_t index(int64_t x, int64_t y) const { return y * mask_.width + x; }

  bool isSet(int64_t x, int64_t y) const {
    return x >= 0 && y >= 0 && x < mask_.width && y < mask_.height && mask_.isSet(index(x, y));
  }

  /// Moves (x, y) straight on to the next corner of the ring and returns the direction after it.
  Direction follow(int64_t& x, int64_t& y, Direction direction) {
    for (;;) {
      if (direction == kRight) topVisited_[index(x, y)] = true;
      x += kStepX[direction];
      y += kStepY[direction];
      noteSide(x, y, direction);
      // Turning right wherever possible keeps pixels that touch only at a corner apart.
      if (!isAheadSet(x, y, direction, true)) return static_cast<Direction>((direction + 1) % 4);
      if (isAheadSet(x, y, direction, false)) return static_cast<Direction>((direction + 3) % 4);
    }
  }

  /// The side of a pixel that was walked along to corner (x, y).
  void noteSide(int64_t x, int64_t y, Direction direction) {
    if (direction == kUp) leftSides_.emplace_back(index(x, y), uppermost_.size() - 1);
    if (direction != kLeft) return;
    int64_t& uppermost = uppermost_.back();
    const int64_t above = index(x, y - 1);
    if (uppermost == kNone || above < uppermost) uppermost = above;
  }

  /// Another ring of the component that a hole is in: the one on the left of the row of pixels above the hole. That row
  /// is higher than all of the hole, so what lies on its left is another hole, which begins higher, or the outside.
  size_t ringAround(size_t hole) const {
    const std::pair pixel{uppermost_[hole], std::numeric_limits<size_t>::max()};
    return std::prev(std::upper_bound(leftSides_.begin(), leftSides_.end(), pixel))->second;
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

  const BitMask& mask_;
  std::vector<bool> topVisited_;
  /// Pixels whose left side a ring has passed, and which ring.
  std::vector<std::pair<int64_t, size_t>> leftSides_;
  /// Of each ring the first pixel, row by row, whose lower side it has passed: of a hole, the one above its top.
  std::vector<int64_t> uppermost_;
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

}  // namespace

std::vector<Polygon> maskPolygons(const BitMask& mask) {
  Tracer tracer(mask);
  std::vector<Polygon> rings;
  std::vector<bool> isHole;
  const auto trace = [&](int64_t x, int64_t y) {
    if (tracer.passed(x, y)) return;
    std::vector<double> ring = tracer.ring(x, y);
    isHole.push_back(signedArea(ring) < 0);
    rings.push_back({std::move(ring), isHole.back()});
  };
  for (int64_t y = 0; y < mask.height; ++y) {
    mask.eachPiece([&](int64_t begin, int64_t pixels) {
      uint64_t tops = mask.piece(y * mask.width + begin, pixels);
      if (tops != 0 && y > 0) tops &= ~mask.piece((y - 1) * mask.width + begin, pixels);
      for (; tops != 0; tops &= tops - 1) trace(begin + std::countr_zero(tops), y);
    });
  }
  const std::vector<size_t> outer = tracer.outerRings(isHole);
  std::vector<size_t> order(rings.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return outer[a] < outer[b]; });
  std::vector<Polygon> polygons;
  for (const size_t i : order) polygons.push_back(std::move(rings[i]));
  return polygons;
}

}  // namespace segsam
