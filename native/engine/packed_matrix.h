#pragma once

#include <ATen/native/CPUBlas.h>

#include <algorithm>
#include <cstdint>
#include <type_traits>
#include <vector>

#include "ops/tile_loops.h"

namespace segsam {

/// What a product takes: float, or bfloat16 as its bits.
template <class T>
inline constexpr bool kIsRounded = std::is_same_v<T, uint16_t>;

/// Values as a product takes them: as they are, or rounded into `buffer`.
template <class T>
const T* operand(const float* values, int64_t count, std::vector<T>& buffer) {
  if constexpr (kIsRounded<T>) {
    roundValues(values, count, buffer.data());
    return buffer.data();
  } else {
    return values;
  }
}

/// Values that are rounded already.
template <class T>
const T* operand(const uint16_t* values, int64_t, std::vector<uint16_t>&) {
  static_assert(kIsRounded<T>);
  return values;
}

/// Columns of a product that are computed at a time.
inline constexpr int64_t kProductPanel = 64;

/// The second operand of products (rows, depth) x (depth, columns) on tiles, in the order in which oneDNN reads it.
template <class T>
class PackedMatrix {
 public:
  PackedMatrix() = default;

  /// @param values (depth, columns)
  PackedMatrix(const float* values, int64_t depth, int64_t columns) { pack(values, depth, columns); }

  /// @param values float32, or as the product takes them
  template <class Value>
  void pack(const Value* values, int64_t depth, int64_t columns) {
    pack(values, depth, columns, columns);
  }

  /// @param stride from one row of the values to the next
  template <class Value>
  void pack(const Value* values, int64_t depth, int64_t columns, int64_t stride) {
    static_assert(kIsRounded<T> || std::is_same_v<Value, float>);
    depth_ = kIsRounded<T> ? depth + (depth & 1) : depth;
    columns_ = columns;
    values_.resize(static_cast<size_t>(depth_ * columns));
    for (int64_t column = 0; column < columns; column += kProductPanel) {
      T* panel = values_.data() + column * depth_;
      const int64_t width = std::min(kProductPanel, columns - column);
      if constexpr (kIsRounded<T>) {
        interleave(values + column, depth, width, stride, panel);
      } else {
        for (int64_t row = 0; row < depth; ++row) {
          std::copy_n(values + row * stride + column, width, panel + row * width);
        }
      }
    }
  }

  int64_t columns() const { return columns_; }

  /// product (rows, columns) = x times this, or that added to it.
  /// @param x (rows, depth), its rows `stride` apart
  void multiply(const T* x, int64_t rows, int64_t stride, float* product, bool add) const {
    multiply(x, rows, stride, product, columns_, add);
  }

  /// @param productStride from one row of the product to the next
  void multiply(const T* x, int64_t rows, int64_t stride, float* product, int64_t productStride, bool add) const {
    namespace cpublas = at::native::cpublas;
    for (int64_t column = 0; column < columns_; column += kProductPanel) {
      const T* panel = values_.data() + column * depth_;
      const int64_t width = std::min(kProductPanel, columns_ - column);
      if constexpr (kIsRounded<T>) {
        cpublas::brgemm(rows, width, depth_, stride, width, productStride, add,
                        reinterpret_cast<const c10::BFloat16*>(x), reinterpret_cast<const c10::BFloat16*>(panel),
                        product + column, /*is_vnni=*/true);
      } else {
        cpublas::brgemm(rows, width, depth_, stride, width, productStride, add, x, panel, product + column,
                        /*is_vnni=*/false);
      }
    }
  }

 private:
  int64_t depth_ = 0;
  int64_t columns_ = 0;
  std::vector<T> values_;
};

}  // namespace segsam
