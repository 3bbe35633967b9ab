#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>
#include <cstring>
#include <optional>
#include <vector>

#include "ops/mask.h"
#include "ops/mask_bits.h"

namespace segsam {

/// A mask of a bit per pixel (ops/mask_bits.h), row-major, one row right behind the other, not owned.
struct BitMask {
  /// Pixels that can be had at once, wherever they begin: 64 bits from a byte on, less up to 7 before the first.
  static constexpr int64_t kPixelsOfPiece = 56;

  const uint32_t* words;
  int64_t width;
  int64_t height;

  int64_t size() const { return width * height; }

  bool isSet(int64_t index) const { return words[index / kMaskPixelsOfWord] >> index % kMaskPixelsOfWord & 1; }

  /// Of a mask's pixels those from index `first` on, the first the least significant bit; 0 to kPixelsOfPiece of them.
  uint64_t piece(int64_t first, int64_t pixels) const {
    static_assert(std::endian::native == std::endian::little);
    const int64_t begin = first / 8;
    const int64_t left = maskWords(size()) * static_cast<int64_t>(sizeof(uint32_t)) - begin;
    uint64_t bits = 0;
    const auto* bytes = reinterpret_cast<const uint8_t*>(words) + begin;
    if (left >= static_cast<int64_t>(sizeof(bits))) {
      std::memcpy(&bits, bytes, sizeof(bits));
    } else {
      std::memcpy(&bits, bytes, left);
    }
    return bits >> first % 8 & ((uint64_t{1} << pixels) - 1);
  }

  /// Calls `visit(x, pixels)` for pieces that make up a row.
  template <class Visit>
  void eachPiece(const Visit& visit) const {
    for (int64_t x = 0; x < width; x += kPixelsOfPiece) visit(x, std::min(kPixelsOfPiece, width - x));
  }
};

/// A mask of bytes as bits.
class PackedMask {
 public:
  explicit PackedMask(const Mask& mask);

  BitMask view() const { return {words_.data(), width_, height_}; }

 private:
  std::vector<uint32_t> words_;
  int64_t width_;
  int64_t height_;
};

struct MaskStats {
  int64_t area;
  /// Around the pixels set; none where the mask is empty.
  std::optional<Box> box;
};

MaskStats maskStats(const BitMask& mask);

}  // namespace segsam
