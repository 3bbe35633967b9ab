#pragma once

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <ATen/native/CPUBlas.h>

#include <algorithm>
#include <cstdint>

#include "engine/packed_matrix.h"

namespace segsam {

/// Features of a linear layer that a product computes at a time.
inline constexpr int64_t kPanel = 64;

/// A weight (features, K) float32 or bfloat16 as `PackedWeight` takes it: (panels, K, 64), each panel the transpose of
/// 64 rows, the last one filled up with zeros. Of bfloat16, an even K, two rows of a panel are interleaved.
at::Tensor packLinear(const at::Tensor& weight);

/// Of float32 or bfloat16 (as its bits): the second operand of a linear layer's product.
template <class T>
struct PackedWeight {
  const T* values;
  int64_t depth;
  int64_t features;

  /// @param packed what `packLinear` returned, and outlives this
  PackedWeight(const at::Tensor& packed, int64_t features)
      : values(static_cast<const T*>(packed.const_data_ptr())), depth(packed.size(1)), features(features) {
    constexpr auto kType = kIsRounded<T> ? at::kBFloat16 : at::kFloat;
    TORCH_CHECK(packed.dim() == 3 && packed.size(2) == kPanel && packed.is_contiguous() &&
                    packed.scalar_type() == kType && packed.size(0) == at::divup(features, kPanel),
                "expected a weight of packLinear with ", features, " features");
  }

  int64_t panels() const { return at::divup(features, kPanel); }

  int64_t columns(int64_t panel) const { return std::min(kPanel, features - panel * kPanel); }

  /// out (rows, columns) = x times a panel, or that added to it.
  /// @param x (rows, depth), its rows `stride` apart
  /// @param out its rows `outStride` apart
  void multiply(const T* x, int64_t rows, int64_t stride, int64_t panel, float* out, int64_t outStride,
                bool add) const {
    multiply(x, rows, stride, panel, 0, depth, out, outStride, add);
  }

  /// Of the summed dimension, `count` values from `first` on, to which x belongs.
  void multiply(const T* x, int64_t rows, int64_t stride, int64_t panel, int64_t first, int64_t count, float* out,
                int64_t outStride, bool add) const {
    namespace cpublas = at::native::cpublas;
    const T* weight = values + (panel * depth + first) * kPanel;
    for (int64_t k = 0; k < count; k += kDepth) {
      const int64_t part = std::min(kDepth, count - k);
      if constexpr (kIsRounded<T>) {
        cpublas::brgemm(rows, columns(panel), part, stride, kPanel, outStride, add || k > 0,
                        reinterpret_cast<const c10::BFloat16*>(x + k),
                        reinterpret_cast<const c10::BFloat16*>(weight + k * kPanel), out, /*is_vnni=*/true);
      } else {
        cpublas::brgemm(rows, columns(panel), part, stride, kPanel, outStride, add || k > 0, x + k, weight + k * kPanel,
                        out, /*is_vnni=*/false);
      }
    }
  }

 private:
  /// Of the summed dimension at a time: so much of the two operands stays in a core's second-level cache.
  static constexpr int64_t kDepth = 768;
};

}  // namespace segsam
