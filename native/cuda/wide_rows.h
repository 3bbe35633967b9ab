#pragma once

#include "cuda/warp.h"

/// Rows of 256 values of float16 as operands of products, 16 bytes to a lane: 8 values that lie together are those of
/// one lane in two steps of 16. Which of a row's values a step takes does not matter where both operands agree.
namespace segsam::cuda {

constexpr int kWide = 256;
/// Pieces of 32 values, two steps each.
constexpr int kPieces = kWide / 32;

/// Where 8 values of a row are in shared memory: of 8 rows in turn, and of 4 chunks of 2 rows, each in other banks.
SEG_SAM_DEVICE int placeOf(int row, int chunk) {
  return row * kWide + ((chunk ^ ((row & 1) << 2 | (row >> 1 & 3))) << 3);
}

SEG_SAM_DEVICE Vector vectorAt(const uint16* values) { return *reinterpret_cast<const Vector*>(values); }

SEG_SAM_DEVICE Vector sumOf(const Vector& a, const Vector& b) {
  Vector sum;
  SEG_SAM_UNROLL
  for (int i = 0; i < 4; ++i) sum.words[i] = Float16::add(a.words[i], b.words[i]);
  return sum;
}

/// sums (16 x 8) += a (16 x 32) b (32 x 8), for the lane's part of two rows of `a`, and one row of b'.
SEG_SAM_DEVICE void multiplyPiece(float (&sums)[4], const Vector& upper, const Vector& lower, const Vector& b) {
  SEG_SAM_UNROLL
  for (int step = 0; step < 2; ++step) {
    const uint32 a[4] = {upper.words[2 * step], lower.words[2 * step], upper.words[2 * step + 1],
                         lower.words[2 * step + 1]};
    Float16::multiply(sums, a, b.words[2 * step], b.words[2 * step + 1]);
  }
}

/// Value `index` of the 8.
SEG_SAM_DEVICE float valueOf(const Vector& vector, int index) {
  return index % 2 == 0 ? Float16::first(vector.words[index / 2]) : Float16::second(vector.words[index / 2]);
}

}  // namespace segsam::cuda
