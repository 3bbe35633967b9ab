#include <algorithm>
#include <cstdint>
#include <map>
#include <random>
#include <utility>
#include <vector>

#include "check.h"
#include "ops/bit_mask.h"
#include "ops/components.h"
#include "ops/frame.h"
#include "ops/mask.h"
#include "ops/mask_bits.h"
#include "ops/polygons.h"
#include "ops/rle.h"
#include "ops/tile_loops.h"
#include "ops/upscale.h"

using namespace segsam;

namespace {

struct OwnedMask {
  std::vector<uint8_t> pixels;
  int64_t width;
  int64_t height;

  Mask view() const { return {pixels.data(), width, height}; }
  PackedMask packed() const { return PackedMask(view()); }
  bool at(int64_t x, int64_t y) const {
    return x >= 0 && y >= 0 && x < width && y < height && pixels[y * width + x] != 0;
  }
};

/// Masks of many sizes and densities, with values other than 1, and the extremes.
std::vector<OwnedMask> randomMasks(int count) {
  std::mt19937 random(7);
  std::vector<OwnedMask> masks;
  for (int i = 0; i < count; ++i) {
    // A few of them of more than two pieces a row.
    const int64_t width = 1 + random() % (i % 16 == 1 ? 150 : 17);
    const int64_t height = 1 + random() % 17;
    const unsigned percent = i % 4 == 0 ? 100 * (i % 8 == 0) : 20 + random() % 70;
    OwnedMask mask{std::vector<uint8_t>(width * height), width, height};
    for (auto& pixel : mask.pixels) pixel = random() % 100 < percent ? 1 + random() % 255 : 0;
    masks.push_back(std::move(mask));
  }
  return masks;
}

OwnedMask parse(const std::vector<std::string>& rows) {
  OwnedMask mask{{}, static_cast<int64_t>(rows[0].size()), static_cast<int64_t>(rows.size())};
  for (const auto& row : rows) {
    for (char c : row) mask.pixels.push_back(c == '#' ? 1 : 0);
  }
  return mask;
}

/// Slow reference: repeated relabelling until nothing changes, then numbers in scan order.
std::vector<int32_t> slowLabels(const OwnedMask& mask, bool foreground, bool diagonal) {
  std::vector<int64_t> least(mask.pixels.size(), -1);
  for (size_t i = 0; i < least.size(); ++i) {
    if ((mask.pixels[i] != 0) == foreground) least[i] = static_cast<int64_t>(i);
  }
  for (bool changed = true; changed;) {
    changed = false;
    for (int64_t y = 0; y < mask.height; ++y) {
      for (int64_t x = 0; x < mask.width; ++x) {
        int64_t& here = least[y * mask.width + x];
        if (here < 0) continue;
        for (int64_t dy = -1; dy <= 1; ++dy) {
          for (int64_t dx = -1; dx <= 1; ++dx) {
            const int64_t nx = x + dx;
            const int64_t ny = y + dy;
            if (nx < 0 || ny < 0 || nx >= mask.width || ny >= mask.height) continue;
            if (!diagonal && dx != 0 && dy != 0) continue;
            const int64_t there = least[ny * mask.width + nx];
            if (there >= 0 && there < here) {
              here = there;
              changed = true;
            }
          }
        }
      }
    }
  }
  std::map<int64_t, int32_t> numbers;
  std::vector<int32_t> labels(least.size(), 0);
  for (size_t i = 0; i < least.size(); ++i) {
    if (least[i] < 0) continue;
    const auto [entry, isNew] = numbers.try_emplace(least[i], static_cast<int32_t>(numbers.size()) + 1);
    labels[i] = entry->second;
  }
  return labels;
}

double signedArea(const std::vector<double>& ring) {
  double sum = 0;
  for (size_t i = 0; i < ring.size(); i += 2) {
    const size_t next = (i + 2) % ring.size();
    sum += ring[i] * ring[next + 1] - ring[next] * ring[i + 1];
  }
  return sum / 2;
}

/// Whether a point lies within a ring, by counting the edges to its left.
bool isInside(const std::vector<double>& ring, double x, double y) {
  bool inside = false;
  for (size_t i = 0; i < ring.size(); i += 2) {
    const size_t next = (i + 2) % ring.size();
    if (ring[i] != ring[next] || ring[i] > x) continue;
    const auto [low, high] = std::minmax(ring[i + 1], ring[next + 1]);
    if (low < y && y < high) inside = !inside;
  }
  return inside;
}

/// Slow reference of bilinear interpolation without corner alignment, one value.
double sample(const std::vector<double>& image, int64_t width, int64_t height, double x, double y) {
  const auto clamp = [](int64_t value, int64_t size) { return std::min(std::max<int64_t>(value, 0), size - 1); };
  x = std::max(x, 0.0);
  y = std::max(y, 0.0);
  const auto x0 = static_cast<int64_t>(x);
  const auto y0 = static_cast<int64_t>(y);
  const double fx = x - static_cast<double>(x0);
  const double fy = y - static_cast<double>(y0);
  const auto at = [&](int64_t column, int64_t row) { return image[clamp(row, height) * width + clamp(column, width)]; };
  return (1 - fy) * ((1 - fx) * at(x0, y0) + fx * at(x0 + 1, y0)) +
         fy * ((1 - fx) * at(x0, y0 + 1) + fx * at(x0 + 1, y0 + 1));
}

std::vector<double> resize(const std::vector<double>& image, int64_t width, int64_t height, int64_t toWidth,
                           int64_t toHeight) {
  std::vector<double> result;
  for (int64_t y = 0; y < toHeight; ++y) {
    for (int64_t x = 0; x < toWidth; ++x) {
      result.push_back(
          sample(image, width, height, (x + 0.5) * width / toWidth - 0.5, (y + 0.5) * height / toHeight - 0.5));
    }
  }
  return result;
}

}  // namespace

TEST("maskStats counts pixels and finds the box around them") {
  for (const auto& mask : randomMasks(200)) {
    int64_t area = 0;
    Box box{mask.width, mask.height, -1, -1};
    for (int64_t y = 0; y < mask.height; ++y) {
      for (int64_t x = 0; x < mask.width; ++x) {
        if (!mask.at(x, y)) continue;
        ++area;
        box = {std::min(box.x0, x), std::min(box.y0, y), std::max(box.x1, x), std::max(box.y1, y)};
      }
    }
    const MaskStats stats = maskStats(mask.packed().view());
    EXPECT_EQUAL(stats.area, area);
    EXPECT_EQUAL(stats.box.has_value(), area > 0);
    if (stats.box) {
      EXPECT(stats.box->x0 == box.x0 && stats.box->y0 == box.y0 && stats.box->x1 == box.x1 && stats.box->y1 == box.y1);
    }
  }
}

TEST("connected components equal a slow flood, numbered in scan order") {
  for (const auto& mask : randomMasks(400)) {
    for (const bool diagonal : {false, true}) {
      std::vector<int32_t> labels(mask.pixels.size(), -7);
      const auto components =
          connectedComponents(mask.view(), diagonal ? Connectivity::kEight : Connectivity::kFour, labels.data());
      const auto expected = slowLabels(mask, true, diagonal);
      EXPECT_EQUAL(labels, expected);
      EXPECT_EQUAL(components.size(), static_cast<size_t>(*std::max_element(expected.begin(), expected.end())));
      for (size_t i = 0; i < components.size(); ++i) {
        OwnedMask one{std::vector<uint8_t>(mask.pixels.size()), mask.width, mask.height};
        for (size_t p = 0; p < one.pixels.size(); ++p) one.pixels[p] = expected[p] == static_cast<int32_t>(i) + 1;
        const MaskStats stats = maskStats(one.packed().view());
        EXPECT_EQUAL(components[i].area, stats.area);
        EXPECT(components[i].box.x0 == stats.box->x0 && components[i].box.y1 == stats.box->y1);
        EXPECT(components[i].box.x1 == stats.box->x1 && components[i].box.y0 == stats.box->y0);
      }
    }
  }
}

TEST("holes are filled up to the given area, and never where they touch the border") {
  for (const auto& mask : randomMasks(400)) {
    const auto regions = slowLabels(mask, false, false);
    for (const int64_t maxArea : {0, 1, 3}) {
      std::vector<uint8_t> filled(mask.pixels.size(), 9);
      fillHoles(mask.view(), maxArea, filled.data());
      for (int64_t y = 0; y < mask.height; ++y) {
        for (int64_t x = 0; x < mask.width; ++x) {
          const int32_t region = regions[y * mask.width + x];
          bool expected = mask.at(x, y);
          if (region != 0) {
            bool touches = false;
            int64_t area = 0;
            for (int64_t v = 0; v < mask.height; ++v) {
              for (int64_t u = 0; u < mask.width; ++u) {
                if (regions[v * mask.width + u] != region) continue;
                ++area;
                touches = touches || u == 0 || v == 0 || u == mask.width - 1 || v == mask.height - 1;
              }
            }
            expected = !touches && (maxArea == 0 || area <= maxArea);
          }
          EXPECT_EQUAL(filled[y * mask.width + x], expected ? 1 : 0);
        }
      }
    }
  }
}

TEST("run lengths follow COCO: column-major, background first") {
  const auto mask = parse({".#", ".#", "#."});
  EXPECT_EQUAL(encodeRle(mask.packed().view()), (std::vector<uint32_t>{2, 3, 1}));
  EXPECT_EQUAL(encodeRle(parse({"##"}).packed().view()), (std::vector<uint32_t>{0, 2}));
  EXPECT_EQUAL(encodeRle(parse({".."}).packed().view()), (std::vector<uint32_t>{2}));
}

TEST("run lengths survive the way there and back, plain and compressed") {
  for (const auto& mask : randomMasks(400)) {
    const auto counts = encodeRle(mask.packed().view());
    std::vector<uint8_t> decoded(mask.pixels.size(), 9);
    decodeRle(counts, mask.width, mask.height, decoded.data());
    for (size_t i = 0; i < decoded.size(); ++i) EXPECT_EQUAL(decoded[i] != 0, mask.pixels[i] != 0);
    EXPECT_EQUAL(decompressRle(compressRle(counts)), counts);
  }
  const std::vector<uint32_t> extreme{0, 4294967295U, 1, 4294967295U, 0, 0, 4294967295U};
  EXPECT_EQUAL(decompressRle(compressRle(extreme)), extreme);
}

TEST("compressed run lengths equal worked examples of COCO's coding") {
  // 5 bits a character from '0' on, bit 5 continues; from the fourth run on, differences to the run two before.
  EXPECT_EQUAL(compressRle({0, 15}), std::string("0?"));
  EXPECT_EQUAL(compressRle({16}), std::string("`0"));
  EXPECT_EQUAL(compressRle({1, 2, 3, 2, 1}), std::string("1230N"));
  EXPECT_EQUAL(decompressRle(""), std::vector<uint32_t>{});
}

TEST("run lengths that cannot be are refused") {
  std::vector<uint8_t> pixels(6);
  EXPECT_ERROR("INVALID_ARGUMENT", decodeRle({2, 3}, 2, 3, pixels.data()));
  EXPECT_ERROR("INVALID_ARGUMENT", decodeRle({2, 3, 4294967295U, 2}, 2, 3, pixels.data()));
  for (const std::string text : {"`", "\x7f", " ", "0\n", "N", "oooooooooo0", "\xc3\xa9", "000N"}) {
    EXPECT_ERROR("INVALID_ARGUMENT", decompressRle(text));
  }
}

TEST("polygons cover exactly the foreground and turn the right way") {
  for (const auto& mask : randomMasks(400)) {
    const auto polygons = maskPolygons(mask.packed().view());
    double area = 0;
    for (const auto& polygon : polygons) {
      const double signedRing = signedArea(polygon.ring);
      EXPECT_EQUAL(polygon.hole, signedRing < 0);
      area += signedRing;
      const size_t corners = polygon.ring.size() / 2;
      EXPECT(corners >= 4);
      for (size_t i = 0; i < corners; ++i) {
        const size_t next = (i + 1) % corners;
        const bool horizontal = polygon.ring[2 * i + 1] == polygon.ring[2 * next + 1];
        const size_t after = (i + 2) % corners;
        const bool nextHorizontal = polygon.ring[2 * next + 1] == polygon.ring[2 * after + 1];
        EXPECT(horizontal != nextHorizontal);
      }
    }
    EXPECT_EQUAL(area, static_cast<double>(maskStats(mask.packed().view()).area));
    for (int64_t y = 0; y < mask.height; ++y) {
      for (int64_t x = 0; x < mask.width; ++x) {
        int rings = 0;
        for (const auto& polygon : polygons) {
          if (isInside(polygon.ring, static_cast<double>(x), static_cast<double>(y))) rings += polygon.hole ? -1 : 1;
        }
        EXPECT_EQUAL(rings, mask.at(x, y) ? 1 : 0);
      }
    }
  }
}

TEST("each component has one outer ring, and its holes follow it") {
  for (const auto& mask : randomMasks(400)) {
    const auto polygons = maskPolygons(mask.packed().view());
    const auto labels = slowLabels(mask, true, false);
    const auto outer = std::count_if(polygons.begin(), polygons.end(), [](const auto& p) { return !p.hole; });
    EXPECT_EQUAL(outer, *std::max_element(labels.begin(), labels.end()));
    // The ring begins at the top-left corner of a pixel of its component.
    const auto labelOf = [&](const Polygon& polygon) {
      return labels[static_cast<int64_t>(polygon.ring[1] + 0.5) * mask.width +
                    static_cast<int64_t>(polygon.ring[0] + 0.5)];
    };
    int32_t last = 0;
    for (const auto& polygon : polygons) {
      EXPECT_EQUAL(labelOf(polygon), polygon.hole ? last : last + 1);
      last = labelOf(polygon);
    }
  }
}

TEST("a hole follows the ring of what it is in, whatever lies on its left") {
  // The row above the second hole ends at the first one; within the large hole is an island with a hole of its own.
  const auto polygons = maskPolygons(parse({
                                               "#########.#",
                                               "#.#######.#",
                                               "#.##.##...#",
                                               "##########.",
                                               "#########..",
                                               "#.......#.#",
                                               "#.#####.#.#",
                                               "#.#...#.#..",
                                               "#.#.#.#.#..",
                                               "#.#...#.#..",
                                               "#.#####.#..",
                                               "#.......#..",
                                               "#########..",
                                           })
                                         .packed()
                                         .view());
  // The corner that each begins at, and whether it is a hole.
  std::vector<std::vector<double>> begins;
  for (const auto& polygon : polygons) begins.push_back({polygon.ring[0], polygon.ring[1], polygon.hole ? 1.0 : 0.0});
  EXPECT(begins == (std::vector<std::vector<double>>{{-0.5, -0.5, 0},
                                                     {0.5, 2.5, 1},
                                                     {3.5, 2.5, 1},
                                                     {0.5, 11.5, 1},
                                                     {9.5, -0.5, 0},
                                                     {9.5, 4.5, 0},
                                                     {1.5, 5.5, 0},
                                                     {2.5, 9.5, 1},
                                                     {3.5, 7.5, 0}}));
}

TEST("pixels that touch at a corner only have rings of their own") {
  const auto polygons = maskPolygons(parse({"#.", ".#"}).packed().view());
  EXPECT_EQUAL(polygons.size(), size_t{2});
  EXPECT_EQUAL(polygons[0].ring, (std::vector<double>{-0.5, -0.5, 0.5, -0.5, 0.5, 0.5, -0.5, 0.5}));
}

TEST("IoU counts non-zero pixels, and is 1 for two empty masks") {
  const std::vector<uint8_t> a{0, 5, 1, 0};
  const std::vector<uint8_t> b{0, 1, 0, 9};
  EXPECT_NEAR(maskIou(a.data(), b.data(), 4), 1.0 / 3, 1e-12);
  const std::vector<uint8_t> empty(4);
  EXPECT_EQUAL(maskIou(empty.data(), empty.data(), 4), 1.0);
  EXPECT_EQUAL(maskIou(a.data(), empty.data(), 4), 0.0);
}

TEST("masks of a bit per pixel become bytes and come from them, and have the IoU of these") {
  std::mt19937 random(12);
  for (const int64_t count : {1, 31, 32, 33, 64, 1000, 4096, 5003}) {
    const int64_t words = (count + 31) / 32;
    std::vector<std::vector<uint32_t>> bits(2, std::vector<uint32_t>(words));
    // Of a byte more than is written.
    std::vector<std::vector<uint8_t>> expected(2, std::vector<uint8_t>(count + 1));
    std::vector<std::vector<uint8_t>> bytes(2, std::vector<uint8_t>(count + 1, 9));
    for (int mask = 0; mask < 2; ++mask) {
      expected[mask][count] = 9;
      for (int64_t i = 0; i < count; ++i) {
        expected[mask][i] = random() % 3 == 0;
        bits[mask][i / 32] |= static_cast<uint32_t>(expected[mask][i]) << i % 32;
      }
      expandBits(bits[mask].data(), count, bytes[mask].data());
      EXPECT_EQUAL(bytes[mask], expected[mask]);
      std::vector<uint32_t> packed(words, ~0u);
      packBits(bytes[mask].data(), count, packed.data());
      EXPECT_EQUAL(packed, bits[mask]);
    }
    EXPECT_EQUAL(bitsIou(bits[0].data(), bits[1].data(), words), maskIou(bytes[0].data(), bytes[1].data(), count));
  }
  const std::vector<uint32_t> empty(3);
  EXPECT_EQUAL(bitsIou(empty.data(), empty.data(), 3), 1.0);
}

TEST("rows become columns, in float32 and rounded, whatever the size") {
  std::mt19937 random(5);
  std::normal_distribution<float> normal;
  for (const auto& [rows, columns] :
       std::vector<std::pair<int64_t, int64_t>>{{1, 1}, {8, 8}, {128, 64}, {7, 9}, {17, 8}, {8, 23}, {40, 33}}) {
    std::vector<float> values(rows * columns);
    for (float& value : values) value = normal(random);
    std::vector<float> apart(rows * (columns + 3));
    for (int64_t row = 0; row < rows; ++row) {
      std::copy_n(values.begin() + row * columns, columns, apart.begin() + row * (columns + 3));
    }
    std::vector<float> transposed(values.size());
    std::vector<uint16_t> narrow(values.size());
    std::vector<uint16_t> expected(values.size());
    transpose(apart.data(), rows, columns, columns + 3, transposed.data());
    transpose(values.data(), rows, columns, columns, narrow.data());
    roundValues(values.data(), rows * columns, expected.data());
    for (int64_t row = 0; row < rows; ++row) {
      for (int64_t column = 0; column < columns; ++column) {
        EXPECT_EQUAL(transposed[column * rows + row], values[row * columns + column]);
        EXPECT_EQUAL(narrow[column * rows + row], expected[row * columns + column]);
      }
    }
  }
}

TEST("a frame keeps the aspect as SAM does, and never loses an axis") {
  const Frame wide = Frame::of(1800, 1200, 1024, ResizeMode::kLongest);
  EXPECT_EQUAL(wide.resizedWidth, 1024);
  EXPECT_EQUAL(wide.resizedHeight, 683);
  EXPECT_NEAR(wide.inputX(900), 512, 1e-4);
  EXPECT_NEAR(wide.inputY(600), 341.5, 1e-4);
  const Frame strip = Frame::of(20000, 10, 256, ResizeMode::kLongest);
  EXPECT_EQUAL(strip.resizedHeight, 1);
  const Frame stretched = Frame::of(300, 100, 256, ResizeMode::kStretch);
  EXPECT(stretched.resizedWidth == 256 && stretched.resizedHeight == 256);
  EXPECT_NEAR(stretched.inputY(50), 128, 1e-4);
  EXPECT_ERROR("INVALID_ARGUMENT", Frame::of(0, 1, 256, ResizeMode::kLongest));
}

TEST("upscaled masks equal two plain bilinear resizes") {
  std::mt19937 random(11);
  std::normal_distribution<double> normal;
  const std::vector<std::pair<int64_t, int64_t>> sizes{{1, 1},    {40, 30}, {30, 40},  {7, 100},
                                                       {200, 10}, {64, 64}, {2000, 1}, {33, 100}};
  for (const auto& [width, height] : sizes) {
    for (const auto mode : {ResizeMode::kLongest, ResizeMode::kStretch}) {
      const int64_t side = 16;
      const Frame frame = Frame::of(width, height, 64, mode);
      const MaskUpscaler upscaler(side, frame);
      // Noise everywhere, a single logit above the threshold in each place, and none.
      for (int64_t place = -2; place < side * side; ++place) {
        std::vector<float> logits(side * side);
        for (auto& logit : logits) logit = static_cast<float>(normal(random)) - (place == -2 ? 0 : 9);
        if (place >= 0) logits[place] = 3;
        std::vector<uint8_t> mask(width * height, 9);
        const auto part = upscaler.partOf(logits.data(), 0.25f);
        std::vector<uint32_t> bits(maskWords(width * height), ~0u);
        const int64_t blocks = height / 2 / 32 * 32;
        upscaler.writeBits(logits.data(), part, 0.25f, blocks, height, bits.data());
        if (blocks > 0) upscaler.writeBits(logits.data(), part, 0.25f, 0, blocks, bits.data());
        expandBits(bits.data(), width * height, mask.data());
        EXPECT_EQUAL(upscaler.areaAbove(logits.data(), 0.25f), std::count(mask.begin(), mask.end(), 1));
        std::vector<uint32_t> packed(bits.size());
        packBits(mask.data(), width * height, packed.data());
        EXPECT_EQUAL(bits, packed);
        std::vector<float> upscaled(width * height);
        upscaler.writeLogits(logits.data(), upscaled.data());

        const auto whole =
            resize(std::vector<double>(logits.begin(), logits.end()), side, side, frame.side, frame.side);
        std::vector<double> cropped;
        for (int64_t y = 0; y < frame.resizedHeight; ++y) {
          for (int64_t x = 0; x < frame.resizedWidth; ++x) cropped.push_back(whole[y * frame.side + x]);
        }
        const auto expected = resize(cropped, frame.resizedWidth, frame.resizedHeight, width, height);
        for (size_t i = 0; i < mask.size(); ++i) {
          EXPECT_NEAR(upscaled[i], expected[i], 1e-4);
          // In single precision a logit this close to the threshold may fall on either side.
          if (std::abs(expected[i] - 0.25) < 1e-4) continue;
          EXPECT_EQUAL(mask[i], expected[i] > 0.25 ? 1 : 0);
        }
      }
    }
  }
}
