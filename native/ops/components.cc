#include "ops/components.h"

#include <algorithm>
#include <limits>

#include "error.h"

namespace segsam {

namespace {

/// Sets of provisional labels; each set's representative is its smallest label.
class LabelSets {
 public:
  int32_t add() {
    parent_.push_back(static_cast<int32_t>(parent_.size()));
    return parent_.back();
  }
  int32_t find(int32_t label) {
    while (parent_[label] != label) {
      parent_[label] = parent_[parent_[label]];
      label = parent_[label];
    }
    return label;
  }
  int32_t join(int32_t a, int32_t b) {
    a = find(a);
    b = find(b);
    parent_[std::max(a, b)] = std::min(a, b);
    return std::min(a, b);
  }
  int32_t count() const { return static_cast<int32_t>(parent_.size()); }

 private:
  std::vector<int32_t> parent_{0};
};

/// The components of the pixels whose being non-zero equals `foreground`.
std::vector<Component> label(const Mask& mask, bool foreground, Connectivity connectivity, int32_t* labels) {
  if (mask.size() > std::numeric_limits<int32_t>::max() - 1) {
    throw Error(kInvalidArgument, "Expected a mask of at most 2147483646 pixels, got " + std::to_string(mask.size()));
  }
  const bool diagonal = connectivity == Connectivity::kEight;
  LabelSets sets;
  for (int64_t y = 0; y < mask.height; ++y) {
    for (int64_t x = 0; x < mask.width; ++x) {
      const int64_t at = y * mask.width + x;
      labels[at] = 0;
      if ((mask.pixels[at] != 0) != foreground) continue;
      int32_t found = 0;
      const auto touch = [&](bool inside, int64_t neighbour) {
        if (!inside || labels[neighbour] == 0) return;
        found = found == 0 ? labels[neighbour] : sets.join(found, labels[neighbour]);
      };
      touch(x > 0, at - 1);
      touch(y > 0, at - mask.width);
      touch(diagonal && y > 0 && x > 0, at - mask.width - 1);
      touch(diagonal && y > 0 && x + 1 < mask.width, at - mask.width + 1);
      labels[at] = found == 0 ? sets.add() : found;
    }
  }

  std::vector<int32_t> final(sets.count(), 0);
  std::vector<Component> components;
  for (int64_t y = 0; y < mask.height; ++y) {
    for (int64_t x = 0; x < mask.width; ++x) {
      int32_t& pixel = labels[y * mask.width + x];
      if (pixel == 0) continue;
      int32_t& number = final[sets.find(pixel)];
      if (number == 0) {
        components.push_back({0, {x, y, x, y}});
        number = static_cast<int32_t>(components.size());
      }
      pixel = number;
      Component& component = components[number - 1];
      ++component.area;
      component.box.include(x, y);
    }
  }
  return components;
}

}  // namespace

std::vector<Component> connectedComponents(const Mask& mask, Connectivity connectivity, int32_t* labels) {
  return label(mask, true, connectivity, labels);
}

void fillHoles(const Mask& mask, int64_t maxArea, uint8_t* filled) {
  std::vector<int32_t> labels(mask.size());
  const std::vector<Component> regions = label(mask, false, Connectivity::kFour, labels.data());
  std::vector<bool> isHole(regions.size() + 1, false);
  for (size_t i = 0; i < regions.size(); ++i) {
    const Box& box = regions[i].box;
    const bool touchesBorder = box.x0 == 0 || box.y0 == 0 || box.x1 == mask.width - 1 || box.y1 == mask.height - 1;
    isHole[i + 1] = !touchesBorder && (maxArea == 0 || regions[i].area <= maxArea);
  }
  for (int64_t i = 0; i < mask.size(); ++i) filled[i] = mask.pixels[i] != 0 || isHole[labels[i]] ? 1 : 0;
}

}  // namespace segsam
