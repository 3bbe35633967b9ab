#include "ops/rle.h"

#include <algorithm>
#include <limits>

#include "error.h"

namespace segsam {

namespace {

constexpr int kFirstCharacter = '0';
constexpr int64_t kPayload = 0x1f;
constexpr int64_t kSign = 0x10;
constexpr int64_t kContinues = 0x20;

}  // namespace

std::vector<uint32_t> encodeRle(const Mask& mask) {
  if (mask.size() > std::numeric_limits<uint32_t>::max()) {
    throw Error(kInvalidArgument, "Expected a mask of at most 4294967295 pixels, got " + std::to_string(mask.size()));
  }
  std::vector<uint32_t> counts;
  bool current = false;
  uint32_t run = 0;
  for (int64_t x = 0; x < mask.width; ++x) {
    for (int64_t y = 0; y < mask.height; ++y) {
      const bool pixel = mask.pixels[y * mask.width + x] != 0;
      if (pixel != current) {
        counts.push_back(run);
        run = 0;
        current = pixel;
      }
      ++run;
    }
  }
  counts.push_back(run);
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
