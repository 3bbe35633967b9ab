#include "engine/quantised_weight.h"

#include <ATen/Parallel.h>
#include <ATen/native/CPUBlas.h>

#include <algorithm>
#include <array>
#include <exception>

#include "engine/brgemm_context.h"
#include "engine/packed_weight.h"
#include "ops/tile_loops.h"

namespace segsam {

namespace {

namespace cpublas = at::native::cpublas;

/// Values of the summed dimension that lie side by side, as the instructions want them.
constexpr int64_t kTogether = 4;
constexpr float kLargest = 127.0f;
int64_t spansOf(int64_t depth) { return at::divup(depth, kQuantisedSpan); }

/// Of a panel.
int64_t bytesOf(int64_t depth) {
  return depth * kPanel + (1 + spansOf(depth)) * kPanel * static_cast<int64_t>(sizeof(float));
}

}  // namespace

at::Tensor packQuantised(const at::Tensor& weight) {
  const int64_t features = weight.size(0);
  const int64_t depth = weight.size(1);
  TORCH_CHECK(depth % kTogether == 0, "packQuantised: expected a depth that is a multiple of 4, got ", depth);
  const int64_t panels = at::divup(features, kPanel);
  at::Tensor padded = at::zeros({panels * kPanel, depth}, at::kFloat);
  padded.narrow(0, 0, features).copy_(weight);
  const at::Tensor scales = padded.abs().amax(1, true).clamp_min(1e-20) / kLargest;
  const at::Tensor quantised = at::round(padded / scales);
  const at::Tensor values = quantised.to(at::kChar)
                                .reshape({panels, kPanel, depth / kTogether, kTogether})
                                .transpose(1, 2)
                                .reshape({panels, depth * kPanel});
  std::vector<at::Tensor> factors = {scales.view({panels, kPanel})};
  for (int64_t first = 0; first < depth; first += kQuantisedSpan) {
    const at::Tensor span = quantised.narrow(1, first, std::min(kQuantisedSpan, depth - first));
    factors.push_back((span.sum(1, true) * scales).view({panels, kPanel}));
  }
  return at::cat({values, at::cat(factors, 1).view(at::kChar)}, 1).contiguous();
}

void QuantisedRows::set(const float* values, int64_t rows, int64_t width) {
  bytes.resize(rows * width);
  scales.resize(rows);
  zeros.resize(rows);
  quantiseRows(values, rows, width, bytes.data(), scales.data(), zeros.data());
}

QuantisedWeight::QuantisedWeight(const at::Tensor& packed, int64_t depth, int64_t features)
    : values(static_cast<const int8_t*>(packed.const_data_ptr())), depth(depth), features(features) {
  TORCH_CHECK(packed.dim() == 2 && packed.is_contiguous() && packed.scalar_type() == at::kChar &&
                  packed.size(1) == bytesOf(depth) && packed.size(0) == panels(),
              "expected a weight of packQuantised with ", features, " features of ", depth);
}

int64_t QuantisedWeight::panels() const { return at::divup(features, kPanel); }

int64_t QuantisedWeight::columns(int64_t panel) const { return std::min(kPanel, features - panel * kPanel); }

void QuantisedWeight::multiply(const QuantisedRows& x, int64_t rows, int64_t panel, int64_t first, int64_t count,
                               float* out, int64_t outStride, bool add, std::vector<int32_t>& sums) const {
  const int8_t* ofPanel = values + panel * bytesOf(depth);
  sums.resize(rows * kPanel);
  cpublas::brgemm(rows, kPanel, count, count, kPanel, kPanel, false, x.bytes.data(),
                  reinterpret_cast<const signed char*>(ofPanel + first * kPanel), sums.data(), /*is_vnni=*/true);
  const auto* scales = reinterpret_cast<const float*>(ofPanel + depth * kPanel);
  const float* ofSpans = scales + kPanel;
  std::array<float, kPanel> shifts{};
  for (int64_t span = first / kQuantisedSpan; span * kQuantisedSpan < first + count; ++span) {
    for (int64_t i = 0; i < kPanel; ++i) shifts[i] += ofSpans[span * kPanel + i];
  }
  scaleSums({sums.data(), rows, columns(panel), kPanel}, {x.scales.data(), x.zeros.data()}, {scales, shifts.data()},
            out, outStride, add);
}

bool multipliesBytes() {
  static const bool works = [] {
#if defined(__x86_64__) && defined(__GNUC__)
    if (__builtin_cpu_supports("avx512vnni") == 0) return false;
#else
    return false;
#endif
    const std::vector<uint8_t> a(4, 255);
    const std::vector<signed char> b = {127, 127, 127, 127, -127, -127, -127, -127};
    std::vector<int32_t> product(2);
    try {
      const BrgemmContext context(/*packed=*/true);
      cpublas::brgemm(1, 2, 4, 4, 2, 2, false, a.data(), b.data(), product.data(), /*is_vnni=*/true);
    } catch (const std::exception&) {
      return false;
    }
    return product == std::vector<int32_t>{129540, -129540};
  }();
  return works;
}

}  // namespace segsam
