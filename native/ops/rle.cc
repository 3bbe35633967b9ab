#include "ops/rle.h"

#include <bit>
#include <limits>
#include <numeric>
#include <utility>

#include "error.h"

namespace segsam {

namespace {

constexpr int kFirstCharacter = '0';
constexpr int64_t kPayload = 0x1f;
constexpr int64_t kSign = 0x10;
constexpr int64_t kContinues = 0x20;

/// Of the pixels of a row from x on, each with the one before it, going down the columns: the last one of the column
/// before for those of the first row, background for the very first.
uint64_t pixelsBefore(const BitMask& mask, int64_t x, int64_t y, int64_t pixels) {
  if (y > 0) return mask.piece((y - 1) * mask.width + x, pixels);
  const int64_t last = (mask.height - 1) * mask.width;
  return x > 0 ? mask.piece(last + x - 1, pixels) : mask.piece(last, pixels - 1) << 1;
}

/// The positions of pixels that differ from the one before, going down the columns; before the first is background.
/// Found row by row, as memory lies, and put in the order of columns: they are few.
std::vector<uint32_t> changesByColumn(const BitMask& mask) {
  std::vector<std::pair<uint32_t, uint32_t>> found;
  std::vector<size_t> next(mask.width + 1);
  for (int64_t y = 0; y < mask.height; ++y) {
    mask.eachPiece([&](int64_t begin, int64_t pixels) {
      uint64_t changes = mask.piece(y * mask.width + begin, pixels) ^ pixelsBefore(mask, begin, y, pixels);
      for (; changes != 0; changes &= changes - 1) {
        const int64_t x = begin + std::countr_zero(changes);
        found.emplace_back(static_cast<uint32_t>(x), static_cast<uint32_t>(y));
        ++next[x + 1];
      }
    });
  }
  std::partial_sum(next.begin(), next.end(), next.begin());
  std::vector<uint32_t> changes(found.size());
  for (const auto& [x, y] : found) changes[next[x]++] = static_cast<uint32_t>(x * mask.height + y);
  return changes;
}

}  // namespace

std::vector<uint32_t> encodeRle(const BitMask& mask) {
  if (mask.size() > std::numeric_limits<uint32_t>::max()) {
    throw Error(kInvalidArgument, "Expected a mask of at most 4294967295 pixels, got " + std::to_string(mask.size()));
  }
  std::vector<uint32_t> counts;
  uint32_t begin = 0;
  for (const uint32_t change : changesByColumn(mask)) {
    counts.push_back(change - begin);
    begin = change;
  }
  counts.push_back(static_cast<uint32_t>(mask.size()) - begin);
  return counts;
}

void decodeRle(const std::vector<uint32_t>& counts, int64_t width, int64_t height, uint8_t* pixels) {
  uint64_t sum = 0;
  for (uint32_t count : counts) sum += count;
  if (sum != static_cast<uint64_t>(width) * static_cast<uint64_t>(height)) {
    throw Error(kInvalidArgument, "Expected run lengths that add up to " + std::to_string(width * height) +
                                      " (width * height), got a sum of " + std::to_string(sum));
  }
  int64_t x = 0;
  int64_t y = 0;
  uint8_t value = 0;
  for (uint32_t count : counts) {
    for (uint32_t i = 0; i < count; ++i) {
      pixels[y * width + x] = value;
      if (++y == height) {
        y = 0;
        ++x;
      }
    }
    value = 1 - value;
  }
}

std::string compressRle(const std::vector<uint32_t>& counts) {
  std::string text;
  for (size_t i = 0; i < counts.size(); ++i) {
    int64_t value = counts[i];
    if (i > 2) value -= counts[i - 2];
    for (bool more = true; more;) {
      int64_t group = value & kPayload;
      value >>= 5;
      more = (group & kSign) != 0 ? value != -1 : value != 0;
      if (more) group |= kContinues;
      text.push_back(static_cast<char>(group + kFirstCharacter));
    }
  }
  return text;
}

std::vector<uint32_t> decompressRle(const std::string& text) {
  std::vector<uint32_t> counts;
  for (size_t at = 0; at < text.size();) {
    int64_t value = 0;
    int shift = 0;
    for (bool more = true; more;) {
      if (at == text.size()) throw Error(kInvalidArgument, "The run-length string ends within a number");
      const int group = static_cast<unsigned char>(text[at]) - kFirstCharacter;
      if (group < 0 || group > (kContinues | kPayload) || shift > 35) {
        throw Error(kInvalidArgument,
                    "Not a COCO run-length string: unexpected byte at position " + std::to_string(at));
      }
      value |= (group & kPayload) << shift;
      more = (group & kContinues) != 0;
      shift += 5;
      if (!more && (group & kSign) != 0) value |= -(int64_t{1} << shift);
      ++at;
    }
    if (counts.size() > 2) value += counts[counts.size() - 2];
    if (value < 0 || value > std::numeric_limits<uint32_t>::max()) {
      throw Error(kInvalidArgument, "Not a COCO run-length string: a run of " + std::to_string(value) + " pixels");
    }
    counts.push_back(static_cast<uint32_t>(value));
  }
  return counts;
}

}  // namespace segsam
