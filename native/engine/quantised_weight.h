#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <vector>

namespace segsam {

// Linear layers in 8 bits: weights symmetric for each feature, quantised once; inputs between the least and the largest
// value of each row, when they come (Jacob et al. 2018, arXiv 1712.05877, section 2.1). Products are summed in 32 bits
// and scaled back to float32.

/// Of the summed dimension, inputs may be quantised in spans of this length.
inline constexpr int64_t kQuantisedSpan = 768;

/// A weight (features, K) of floating point as `QuantisedWeight` takes it; K is a multiple of 4.
/// @return (panels, bytes of a panel) int8: (K / 4, 64, 4) values, then float32 for each of the 64 features: its scale,
///     and the scaled sums of its values in each `kQuantisedSpan`
at::Tensor packQuantised(const at::Tensor& weight);

/// Rows in 8 bits: value = scale * (byte - zero).
struct QuantisedRows {
  std::vector<uint8_t> bytes;
  std::vector<float> scales;
  std::vector<float> zeros;

  /// @param values (rows, width)
  void set(const float* values, int64_t rows, int64_t width);
};

/// The second operand of a linear layer's product.
struct QuantisedWeight {
  const int8_t* values;
  int64_t depth;
  int64_t features;

  /// @param packed what `packQuantised` returned, and outlives this
  QuantisedWeight(const at::Tensor& packed, int64_t depth, int64_t features);

  int64_t panels() const;
  int64_t columns(int64_t panel) const;

  /// out (rows, columns) = x times a panel, or that added to it; of the summed dimension, the `count` values of x from
  /// `first` on: one or more whole spans, or all.
  /// @param out its rows `outStride` apart
  /// @param sums memory of one thread
  void multiply(const QuantisedRows& x, int64_t rows, int64_t panel, int64_t first, int64_t count, float* out,
                int64_t outStride, bool add, std::vector<int32_t>& sums) const;
};

/// Whether oneDNN multiplies such bytes here, with instructions for it (AVX-512 VNNI or AMX).
bool multipliesBytes();

}  // namespace segsam
