#include "engine/encoder_block.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "engine/brgemm_context.h"
#include "engine/host_float.h"
#include "engine/packed_weight.h"
#include "engine/row_blocks.h"
#include "ops/tile_loops.h"

namespace segsam {

namespace {

/// Hidden features of the MLP that are held of a block of rows at a time.
constexpr int64_t kHidden = 768;

void expect(bool holds, const char* what) { TORCH_CHECK(holds, "a block of the image encoder: expected ", what); }

/// Rows in a block: all it takes must fit a core's second-level cache, and each core should have one.
template <class T>
int64_t largestBlock(int64_t rows) {
  constexpr int64_t kLargest = kIsRounded<T> ? 128 : 64;
  return std::clamp<int64_t>(rows / at::get_num_threads(), 16, kLargest);
}

/// Calls `compute(block)` for each block of rows, on all cores.
template <class T, class Compute>
void eachBlock(int64_t rows, const Compute& compute) {
  const std::vector<RowBlock> blocks = rowBlocks(rows, largestBlock<T>(rows));
  at::parallel_for(0, static_cast<int64_t>(blocks.size()), 1, [&](int64_t begin, int64_t end) {
    const BrgemmContext context(kIsRounded<T>);
    compute(blocks.data() + begin, blocks.data() + end);
  });
}

/// A linear layer whose values outlive this.
template <class T>
struct Layer {
  PackedWeight<T> weight;
  const float* bias;

  Layer(const PackedLinear& linear, int64_t depth)
      : weight(linear.weight, linear.bias.numel()), bias(linear.bias.const_data_ptr<float>()) {
    expect(weight.depth == depth, "a weight as deep as its input");
    expect(linear.bias.dim() == 1 && linear.bias.is_contiguous(), "a bias");
  }

  /// Calls `use(product, column)` for each panel of features, with its product for a block of rows.
  template <class Use>
  void eachPanel(const T* x, int64_t rows, std::vector<float>& product, const Use& use) const {
    product.resize(rows * kPanel);
    for (int64_t panel = 0; panel < weight.panels(); ++panel) {
      weight.multiply(x, rows, weight.depth, panel, product.data(), kPanel, false);
      const int64_t column = panel * kPanel;
      use(ProductRows{product.data(), rows, weight.columns(panel), kPanel, bias + column}, column);
    }
  }
};

RowNorm rowNorm(const NormWeights& norm, int64_t width) {
  for (const at::Tensor& values : {norm.weight, norm.bias}) {
    expect(values.dim() == 1 && values.size(0) == width && values.is_contiguous(), "a norm as wide as x");
  }
  return {norm.weight.const_data_ptr<float>(), norm.bias.const_data_ptr<float>(), static_cast<float>(norm.epsilon)};
}

/// Where the positions of images (batch, height, width) lie when the windows follow each other.
struct Windows {
  int64_t batch, height, width, windowHeight, windowWidth;

  int64_t down() const { return at::divup(height, windowHeight); }
  int64_t across() const { return at::divup(width, windowWidth); }
  int64_t count() const { return batch * down() * across(); }
  int64_t positions() const { return windowHeight * windowWidth; }

  /// Calls `use(offset, slot, length)` for runs of positions that also follow each other in their window; the offset
  /// is that from `first`.
  template <class Use>
  void eachRun(int64_t first, int64_t count, const Use& use) const {
    for (int64_t position = first; position < first + count;) {
      const int64_t column = position % width;
      const int64_t row = position / width % height;
      const int64_t image = position / (width * height);
      const int64_t left = column % windowWidth;
      const int64_t length = std::min({windowWidth - left, width - column, first + count - position});
      const int64_t window = (image * down() + row / windowHeight) * across() + column / windowWidth;
      use(position - first, window * positions() + row % windowHeight * windowWidth + left, length);
      position += length;
    }
  }

  /// Calls `use(slot)` for the positions that fill up a window.
  template <class Use>
  void eachPadding(int64_t window, const Use& use) const {
    const int64_t rows = std::min(windowHeight, height - window / across() % down() * windowHeight);
    const int64_t columns = std::min(windowWidth, width - window % across() * windowWidth);
    for (int64_t row = 0; row < windowHeight; ++row) {
      for (int64_t column = row < rows ? columns : 0; column < windowWidth; ++column) {
        use(window * positions() + row * windowWidth + column);
      }
    }
  }
};

template <class T>
T* valuesOf(const at::Tensor& tensor) {
  return static_cast<T*>(tensor.data_ptr());
}

/// (windows, positions, 3C): queries, keys and values of all windows.
template <class T>
at::Tensor project(const at::Tensor& x, const RowNorm& norm, const PackedLinear& qkv, const Windows& windows) {
  const int64_t width = x.size(3);
  const int64_t features = 3 * width;
  const Layer<T> layer(qkv, width);
  expect(layer.weight.features == features, "queries, keys and values as wide as x");
  at::Tensor result = at::empty({windows.count(), windows.positions(), features}, x.options());
  T* target = valuesOf<T>(result);
  eachBlock<T>(x.numel() / width, [&](const RowBlock* begin, const RowBlock* end) {
    std::vector<T> rows;
    std::vector<float> product;
    for (const RowBlock* block = begin; block < end; ++block) {
      rows.resize(block->count * width);
      normaliseRows(valuesOf<T>(x) + block->first * width, block->count, width, norm, rows.data());
      layer.eachPanel(rows.data(), block->count, product, [&](const ProductRows& all, int64_t column) {
        windows.eachRun(block->first, block->count, [&](int64_t offset, int64_t slot, int64_t length) {
          const ProductRows run{all.values + offset * all.stride, length, all.width, all.stride, all.bias};
          biasRows(run, target + slot * features + column, features);
        });
      });
    }
  });
  std::vector<T> padding(features);
  const std::vector<float> zeros(features);
  biasRows({zeros.data(), 1, features, features, layer.bias}, padding.data(), features);
  for (int64_t window = 0; window < windows.count(); ++window) {
    windows.eachPadding(window,
                        [&](int64_t slot) { std::copy(padding.begin(), padding.end(), target + slot * features); });
  }
  return result;
}

/// x + the projection of what was attended, (windows, positions, C).
template <class T>
at::Tensor addProjection(const at::Tensor& x, const at::Tensor& attended, const PackedLinear& proj,
                         const Windows& windows) {
  const int64_t width = x.size(3);
  const Layer<T> layer(proj, width);
  expect(layer.weight.features == width, "a projection as wide as x");
  at::Tensor result = at::empty_like(x, at::MemoryFormat::Contiguous);
  const T* source = valuesOf<T>(attended);
  eachBlock<T>(x.numel() / width, [&](const RowBlock* begin, const RowBlock* end) {
    std::vector<T> rows;
    std::vector<float> product;
    for (const RowBlock* block = begin; block < end; ++block) {
      rows.resize(block->count * width);
      windows.eachRun(block->first, block->count, [&](int64_t offset, int64_t slot, int64_t length) {
        std::copy_n(source + slot * width, length * width, rows.data() + offset * width);
      });
      const int64_t first = block->first * width;
      layer.eachPanel(rows.data(), block->count, product, [&](const ProductRows& all, int64_t column) {
        addRows(all, valuesOf<T>(x) + first + column, valuesOf<T>(result) + first + column, width);
      });
    }
  });
  return result;
}

template <class T>
at::Tensor addAttentionIn(const at::Tensor& x, const NormWeights& norm, const PackedLinear& qkv,
                          const PositionTables& tables, const PackedLinear& proj, int64_t heads, int64_t window) {
  const Windows windows{x.size(0), x.size(1), x.size(2), window > 0 ? window : x.size(1),
                        window > 0 ? window : x.size(2)};
  const int64_t headWidth = x.size(3) / heads;
  const at::Tensor projected = project<T>(x, rowNorm(norm, x.size(3)), qkv, windows)
                                   .view({windows.count(), windows.positions(), 3, heads, headWidth});
  const auto part = [&](int64_t index) { return projected.select(2, index).transpose(1, 2); };
  const double scale = 1.0 / std::sqrt(static_cast<double>(headWidth));
  const at::Tensor attended = attendRelative(part(0), part(1), part(2), tables, scale);
  return addProjection<T>(x, attended.transpose(1, 2), proj, windows);
}

template <class T>
at::Tensor addMlpIn(const at::Tensor& x, const NormWeights& norm, const PackedLinear& lin1, const PackedLinear& lin2) {
  const int64_t width = x.size(-1);
  const RowNorm rowNorm = segsam::rowNorm(norm, width);
  const Layer<T> first(lin1, width);
  const Layer<T> second(lin2, first.weight.features);
  expect(second.weight.features == width, "an MLP as wide as x");
  at::Tensor result = at::empty_like(x, at::MemoryFormat::Contiguous);
  eachBlock<T>(x.numel() / width, [&](const RowBlock* begin, const RowBlock* end) {
    std::vector<T> rows, hidden;
    std::vector<float> product, sums;
    for (const RowBlock* block = begin; block < end; ++block) {
      const int64_t count = block->count;
      rows.resize(count * width);
      hidden.resize(count * kHidden);
      product.resize(count * kPanel);
      sums.resize(count * width);
      const int64_t start = block->first * width;
      normaliseRows(valuesOf<T>(x) + start, count, width, rowNorm, rows.data());
      for (int64_t from = 0; from < first.weight.features; from += kHidden) {
        const int64_t features = std::min(kHidden, first.weight.features - from);
        for (int64_t column = 0; column < features; column += kPanel) {
          const int64_t panel = (from + column) / kPanel;
          first.weight.multiply(rows.data(), count, width, panel, product.data(), kPanel, false);
          geluRows({product.data(), count, first.weight.columns(panel), kPanel, first.bias + from + column},
                   hidden.data() + column, features);
        }
        for (int64_t panel = 0; panel < second.weight.panels(); ++panel) {
          second.weight.multiply(hidden.data(), count, features, panel, from, features, sums.data() + panel * kPanel,
                                 width, from > 0);
        }
      }
      addRows({sums.data(), count, width, width, second.bias}, valuesOf<T>(x) + start, valuesOf<T>(result) + start,
              width);
    }
  });
  return result;
}

void expectValues(const at::Tensor& x) {
  expect(x.device().is_cpu() && x.dim() > 0 && x.numel() > 0, "values on the CPU");
  const bool isRounded = x.scalar_type() == at::kBFloat16 && multipliesPackedBf16() && x.size(-1) % 2 == 0;
  expect(x.scalar_type() == at::kFloat || isRounded, "float32 or bfloat16");
}

}  // namespace

at::Tensor addAttention(const at::Tensor& x, const NormWeights& norm, const PackedLinear& qkv,
                        const PositionTables& tables, const PackedLinear& proj, int64_t heads, int64_t window) {
  expectValues(x);
  expect(x.dim() == 4 && heads > 0 && x.size(3) % heads == 0, "(B, H, W, C) with C a multiple of the heads");
  const auto add = x.scalar_type() == at::kFloat ? addAttentionIn<float> : addAttentionIn<uint16_t>;
  return add(x.contiguous(), norm, qkv, tables, proj, heads, window);
}

at::Tensor addMlp(const at::Tensor& x, const NormWeights& norm, const PackedLinear& lin1, const PackedLinear& lin2) {
  expectValues(x);
  const auto add = x.scalar_type() == at::kFloat ? addMlpIn<float> : addMlpIn<uint16_t>;
  return add(x.contiguous(), norm, lin1, lin2);
}

}  // namespace segsam
