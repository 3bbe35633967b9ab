#include "engine/encoder_block.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "engine/brgemm_context.h"
#include "engine/packed_weight.h"
#include "engine/quantised_weight.h"
#include "engine/row_blocks.h"
#include "ops/tile_loops.h"

namespace segsam {

namespace {

/// Hidden features of the MLP that are held of a block of rows at a time.
constexpr int64_t kHidden = kQuantisedSpan;

void expect(bool holds, const char* what) { TORCH_CHECK(holds, "a block of the image encoder: expected ", what); }

void copyValues(const float* source, int64_t count, float* target) { std::copy_n(source, count, target); }
void copyValues(const uint16_t* source, int64_t count, uint16_t* target) { std::copy_n(source, count, target); }
void copyValues(const uint16_t* source, int64_t count, float* target) { widenValues(source, count, target); }

/// Products of values of T, float or bfloat16, as they are.
template <class T>
class Plain {
 public:
  using Value = T;
  static constexpr bool kPacked = kIsRounded<T>;
  static constexpr int64_t kLargestBlock = kIsRounded<T> ? 128 : 64;

  /// The first operand: rows that `fill` writes.
  class Rows {
   public:
    template <class Fill>
    void set(int64_t count, int64_t width, const Fill& fill) {
      width_ = width;
      values_.resize(count * width);
      fill(values_.data());
    }

   private:
    friend class Plain;
    std::vector<T> values_;
    int64_t width_ = 0;
  };

  Plain(const at::Tensor& packed, int64_t depth, int64_t features) : weight_(packed, features) {
    expect(weight_.depth == depth, "a weight as deep as its input");
  }

  int64_t panels() const { return weight_.panels(); }
  int64_t columns(int64_t panel) const { return weight_.columns(panel); }

  /// A panel's product; of the summed dimension, that of the rows' values from `first` on.
  void multiply(Rows& x, int64_t rows, int64_t panel, int64_t first, float* out, int64_t outStride, bool add) const {
    weight_.multiply(x.values_.data(), rows, x.width_, panel, first, x.width_, out, outStride, add);
  }

 private:
  PackedWeight<T> weight_;
};

/// Products in 8 bits, of values of T.
template <class T>
class Quantised {
 public:
  using Value = T;
  static constexpr bool kPacked = true;
  static constexpr int64_t kLargestBlock = 64;

  class Rows {
   public:
    template <class Fill>
    void set(int64_t count, int64_t width, const Fill& fill) {
      width_ = width;
      values_.resize(count * width);
      fill(values_.data());
      quantised_.set(values_.data(), count, width);
    }

   private:
    friend class Quantised;
    std::vector<float> values_;
    QuantisedRows quantised_;
    std::vector<int32_t> sums_;
    int64_t width_ = 0;
  };

  Quantised(const at::Tensor& packed, int64_t depth, int64_t features) : weight_(packed, depth, features) {}

  int64_t panels() const { return weight_.panels(); }
  int64_t columns(int64_t panel) const { return weight_.columns(panel); }

  void multiply(Rows& x, int64_t rows, int64_t panel, int64_t first, float* out, int64_t outStride, bool add) const {
    weight_.multiply(x.quantised_, rows, panel, first, x.width_, out, outStride, add, x.sums_);
  }

 private:
  QuantisedWeight weight_;
};

/// Calls `compute(begin, end)` for blocks of rows, on all cores: what a block takes must fit a core's second-level
/// cache, and each core should have one.
template <class Products, class Compute>
void eachBlock(int64_t rows, const Compute& compute) {
  const int64_t largest = std::clamp<int64_t>(rows / at::get_num_threads(), 16, Products::kLargestBlock);
  const std::vector<RowBlock> blocks = rowBlocks(rows, largest);
  at::parallel_for(0, static_cast<int64_t>(blocks.size()), 1, [&](int64_t begin, int64_t end) {
    const BrgemmContext context(Products::kPacked);
    compute(blocks.data() + begin, blocks.data() + end);
  });
}

/// A linear layer whose values outlive this.
template <class Products>
struct Layer {
  Products products;
  const float* bias;
  int64_t features;

  Layer(const PackedLinear& linear, int64_t depth)
      : products(linear.weight, depth, linear.bias.numel()),
        bias(linear.bias.const_data_ptr<float>()),
        features(linear.bias.numel()) {
    expect(linear.bias.dim() == 1 && linear.bias.is_contiguous(), "a bias");
  }

  /// Calls `use(product, column)` for the panels of `count` features from `first` on, with the product of rows.
  template <class Use>
  void eachPanel(typename Products::Rows& x, int64_t rows, int64_t first, int64_t count, std::vector<float>& product,
                 const Use& use) const {
    product.resize(rows * kPanel);
    for (int64_t column = first; column < first + count; column += kPanel) {
      const int64_t panel = column / kPanel;
      products.multiply(x, rows, panel, 0, product.data(), kPanel, false);
      use(ProductRows{product.data(), rows, products.columns(panel), kPanel, bias + column}, column);
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
template <class Products>
at::Tensor project(const at::Tensor& x, const RowNorm& norm, const PackedLinear& qkv, const Windows& windows) {
  using T = typename Products::Value;
  const int64_t width = x.size(3);
  const int64_t features = 3 * width;
  const Layer<Products> layer(qkv, width);
  expect(layer.features == features, "queries, keys and values as wide as x");
  at::Tensor result = at::empty({windows.count(), windows.positions(), features}, x.options());
  T* target = valuesOf<T>(result);
  eachBlock<Products>(x.numel() / width, [&](const RowBlock* begin, const RowBlock* end) {
    typename Products::Rows rows;
    std::vector<float> product;
    for (const RowBlock* block = begin; block < end; ++block) {
      rows.set(block->count, width, [&](auto* values) {
        normaliseRows(valuesOf<T>(x) + block->first * width, block->count, width, norm, values);
      });
      layer.eachPanel(rows, block->count, 0, features, product, [&](const ProductRows& all, int64_t column) {
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
template <class Products>
at::Tensor addProjection(const at::Tensor& x, const at::Tensor& attended, const PackedLinear& proj,
                         const Windows& windows) {
  using T = typename Products::Value;
  const int64_t width = x.size(3);
  const Layer<Products> layer(proj, width);
  expect(layer.features == width, "a projection as wide as x");
  at::Tensor result = at::empty_like(x, at::MemoryFormat::Contiguous);
  const T* source = valuesOf<T>(attended);
  eachBlock<Products>(x.numel() / width, [&](const RowBlock* begin, const RowBlock* end) {
    typename Products::Rows rows;
    std::vector<float> product;
    for (const RowBlock* block = begin; block < end; ++block) {
      rows.set(block->count, width, [&](auto* values) {
        windows.eachRun(block->first, block->count, [&](int64_t offset, int64_t slot, int64_t length) {
          copyValues(source + slot * width, length * width, values + offset * width);
        });
      });
      const int64_t first = block->first * width;
      layer.eachPanel(rows, block->count, 0, width, product, [&](const ProductRows& all, int64_t column) {
        addRows(all, valuesOf<T>(x) + first + column, valuesOf<T>(result) + first + column, width);
      });
    }
  });
  return result;
}

template <class Products>
at::Tensor addAttentionIn(const at::Tensor& x, const NormWeights& norm, const PackedLinear& qkv,
                          const PositionTables& tables, const PackedLinear& proj, int64_t heads, int64_t window) {
  const Windows windows{x.size(0), x.size(1), x.size(2), window > 0 ? window : x.size(1),
                        window > 0 ? window : x.size(2)};
  expect(tables.rows.dim() == 2 && tables.rows.size(1) == 2 * windows.windowHeight - 1 && tables.columns.dim() == 2 &&
             tables.columns.size(1) == 2 * windows.windowWidth - 1,
         "tables of a window");
  const int64_t headWidth = x.size(3) / heads;
  const at::Tensor projected = project<Products>(x, rowNorm(norm, x.size(3)), qkv, windows)
                                   .view({windows.count(), windows.positions(), 3, heads, headWidth});
  const auto part = [&](int64_t index) { return projected.select(2, index).transpose(1, 2); };
  const double scale = 1.0 / std::sqrt(static_cast<double>(headWidth));
  const at::Tensor attended = attendRelative(part(0), part(1), part(2), tables, scale);
  return addProjection<Products>(x, attended.transpose(1, 2), proj, windows);
}

template <class Products>
at::Tensor addMlpIn(const at::Tensor& x, const NormWeights& norm, const PackedLinear& lin1, const PackedLinear& lin2) {
  using T = typename Products::Value;
  const int64_t width = x.size(-1);
  const RowNorm rowNorm = segsam::rowNorm(norm, width);
  const Layer<Products> first(lin1, width);
  const Layer<Products> second(lin2, first.features);
  expect(second.features == width, "an MLP as wide as x");
  at::Tensor result = at::empty_like(x, at::MemoryFormat::Contiguous);
  eachBlock<Products>(x.numel() / width, [&](const RowBlock* begin, const RowBlock* end) {
    typename Products::Rows rows, hidden;
    std::vector<float> product, sums;
    for (const RowBlock* block = begin; block < end; ++block) {
      const int64_t count = block->count;
      const int64_t start = block->first * width;
      sums.resize(count * width);
      rows.set(count, width,
               [&](auto* values) { normaliseRows(valuesOf<T>(x) + start, count, width, rowNorm, values); });
      for (int64_t from = 0; from < first.features; from += kHidden) {
        const int64_t features = std::min(kHidden, first.features - from);
        hidden.set(count, features, [&](auto* values) {
          first.eachPanel(rows, count, from, features, product, [&](const ProductRows& part, int64_t column) {
            geluRows(part, values + (column - from), features);
          });
        });
        for (int64_t panel = 0; panel < second.products.panels(); ++panel) {
          second.products.multiply(hidden, count, panel, from, sums.data() + panel * kPanel, width, from > 0);
        }
      }
      addRows({sums.data(), count, width, width, second.bias}, valuesOf<T>(x) + start, valuesOf<T>(result) + start,
              width);
    }
  });
  return result;
}

/// Calls `compute` with a value of the type of products that a block's values and weights take.
template <class Compute>
at::Tensor inProducts(const at::Tensor& x, const at::Tensor& weight, const Compute& compute) {
  const bool isFloat = x.scalar_type() == at::kFloat;
  if (weight.scalar_type() == at::kChar) {
    expect(multipliesBytes(), "a processor that multiplies bytes");
    return isFloat ? compute.template operator()<Quantised<float>>()
                   : compute.template operator()<Quantised<uint16_t>>();
  }
  return isFloat ? compute.template operator()<Plain<float>>() : compute.template operator()<Plain<uint16_t>>();
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
  return inProducts(x, qkv.weight, [&]<class Products>() {
    return addAttentionIn<Products>(x.contiguous(), norm, qkv, tables, proj, heads, window);
  });
}

at::Tensor addMlp(const at::Tensor& x, const NormWeights& norm, const PackedLinear& lin1, const PackedLinear& lin2) {
  expectValues(x);
  return inProducts(x, lin1.weight,
                    [&]<class Products>() { return addMlpIn<Products>(x.contiguous(), norm, lin1, lin2); });
}

}  // namespace segsam
