#include "engine/shared_attention.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <vector>

#include "engine/brgemm_context.h"
#include "engine/host_float.h"
#include "engine/packed_matrix.h"
#include "engine/partial_sums.h"

namespace segsam {

namespace {

/// oneDNN compiles a kernel for each number of rows and of columns, so only multiples of this occur.
constexpr int64_t kQueries = 8;

void expect(bool holds, const char* what) { TORCH_CHECK(holds, "attend_shared: expected ", what); }

/// Keys and values of all positions.
template <class T>
struct SharedImage {
  const T* keys;
  const T* values;
  int64_t length, heads, width;

  /// From one position to the next.
  int64_t stride() const { return heads * width; }
};

/// The queries of each head as the columns of a product with its keys.
template <class T>
struct HeadQueries {
  std::vector<PackedMatrix<T>> heads;
  /// Of a head, with those that fill up.
  int64_t count;

  /// @param queries (heads, width, queries)
  explicit HeadQueries(const at::Tensor& queries) : heads(queries.size(0)) {
    const int64_t width = queries.size(1);
    count = at::divup(queries.size(2), kQueries) * kQueries;
    const at::Tensor padded = hostFloat(at::constant_pad_nd(queries, {0, count - queries.size(2)}));
    for (size_t head = 0; head < heads.size(); ++head) {
      heads[head].pack(padded.const_data_ptr<float>() + static_cast<int64_t>(head) * width * count, width, count);
    }
  }

  int64_t columns() const { return static_cast<int64_t>(heads.size()) * count; }
};

/// Memory of one thread.
template <class T>
struct Scratch {
  std::vector<T> weights;
  std::vector<float> scores, correction;
  PackedMatrix<T> values;

  explicit Scratch(int64_t columns) : weights(kTile * columns), scores(kTile * columns), correction(columns) {}
};

/// Adds `count` positions to a part.
template <class T>
void attendTile(const SharedImage<T>& image, int64_t first, int64_t count, const HeadQueries<T>& queries,
                PartialSums& part, Scratch<T>& scratch) {
  const int64_t stride = image.stride();
  for (int64_t head = 0; head < image.heads; ++head) {
    queries.heads[head].multiply(image.keys + first * stride + head * image.width, count, stride,
                                 scratch.scores.data() + head * queries.count, queries.columns(), false);
  }
  part.weigh(scratch.scores.data(), count, scratch.correction.data(), scratch.weights.data());
  for (int64_t head = 0; head < image.heads; ++head) {
    scratch.values.pack(image.values + first * stride + head * image.width, count, image.width, stride);
    part.add(scratch.weights.data(), scratch.values, count, head * queries.count, queries.count);
  }
}

/// @param queries (heads, width, queries)
/// @return (heads, queries, width)
template <class T>
at::Tensor attend(const at::Tensor& queries, const SharedImage<T>& image) {
  const HeadQueries<T> packed(queries);
  const int64_t columns = packed.columns();
  // All prompts are one with as many more queries.
  PartsOfPrompts sums(1, std::vector<PartialSums>(at::divup(image.length, kPart)));
  at::parallel_for(0, static_cast<int64_t>(sums[0].size()), 1, [&](int64_t begin, int64_t end) {
    const BrgemmContext context(kIsRounded<T>);
    Scratch<T> scratch(columns);
    for (int64_t index = begin; index < end; ++index) {
      PartialSums part(columns, image.width);
      const int64_t last = std::min(image.length, (index + 1) * kPart);
      for (int64_t first = index * kPart; first < last; first += kTile) {
        attendTile(image, first, std::min(kTile, last - first), packed, part, scratch);
      }
      sums[0][index] = std::move(part);
    }
  });
  return mergeParts(sums, columns, queries.options())
      .view({image.heads, packed.count, image.width})
      .narrow(1, 0, queries.size(2));
}

}  // namespace

at::Tensor attendShared(const at::Tensor& queries, const at::Tensor& keys, const at::Tensor& values, int64_t heads) {
  expect(queries.dim() == 3 && queries.numel() > 0 && heads > 0 && queries.size(2) % heads == 0,
         "queries (P, M, H * D)");
  expect(keys.dim() == 3 && keys.size(0) == 1 && keys.size(2) == queries.size(2) && keys.numel() > 0 &&
             values.sizes() == keys.sizes() && values.scalar_type() == keys.scalar_type(),
         "keys and values (1, L, H * D)");
  const int64_t length = keys.size(1);
  const int64_t width = keys.size(2) / heads;
  // (heads, width, queries of all prompts)
  const at::Tensor ofHeads = hostFloat(queries).view({-1, heads, width}).permute({1, 2, 0});
  at::Tensor result;
  // Pairs of values must lie side by side in all operands.
  if (isHostBfloat16(keys) && width % 2 == 0 && length % 2 == 0 && multipliesPackedBf16()) {
    const at::Tensor k = keys.contiguous();
    const at::Tensor v = values.contiguous();
    result = attend<uint16_t>(ofHeads, {static_cast<const uint16_t*>(k.const_data_ptr()),
                                        static_cast<const uint16_t*>(v.const_data_ptr()), length, heads, width});
  } else {
    const at::Tensor k = hostFloat(isHostBfloat16(keys) ? keys.to(at::kFloat) : keys);
    const at::Tensor v = hostFloat(isHostBfloat16(values) ? values.to(at::kFloat) : values);
    result = attend<float>(ofHeads, {k.const_data_ptr<float>(), v.const_data_ptr<float>(), length, heads, width});
  }
  return result.transpose(0, 1).reshape(queries.sizes());
}

}  // namespace segsam
