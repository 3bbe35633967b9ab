#include "engine/token_attention.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "engine/brgemm_context.h"
#include "engine/host_float.h"
#include "engine/packed_matrix.h"
#include "ops/softmax_tile.h"
#include "ops/tile_loops.h"

namespace segsam {

namespace {

/// Positions of the image in a tile.
constexpr int64_t kTile = 128;
/// Of a prompt's sums that are computed apart: always the same ones, so that the sums are, whatever computes them.
constexpr int64_t kTilesOfPart = 8;
/// oneDNN compiles a kernel for each number of rows and of columns, so only multiples of these occur, and few rows.
constexpr int64_t kColumns = 32;
constexpr int64_t kRows = 128;
constexpr int64_t kTokens = 4;

void expect(bool holds, const char* what) { TORCH_CHECK(holds, "attention between tokens and image: expected ", what); }

/// (P, M, C) with rows of zeros up to a multiple.
at::Tensor padRows(const at::Tensor& rows, int64_t multiple) {
  const int64_t missing = at::divup(rows.size(1), multiple) * multiple - rows.size(1);
  return missing == 0 ? rows : at::constant_pad_nd(rows, {0, 0, 0, missing});
}

/// The image and its positions, which all prompts share, or each prompt's own image.
struct Image {
  at::Tensor image, positions;
  int64_t length, width;

  Image(const at::Tensor& image, const at::Tensor& positions, int64_t prompts)
      : image(hostFloat(image)), positions(hostFloat(positions)), length(image.size(1)), width(image.size(2)) {
    expect(image.dim() == 3 && (image.size(0) == prompts || image.size(0) == 1), "one image, or one for each prompt");
    expect(positions.dim() == 3 && positions.size(0) == 1 && positions.sizes().slice(1) == image.sizes().slice(1),
           "positions of the image");
  }

  const float* at(int64_t prompt, int64_t position) const {
    return image.const_data_ptr<float>() + (image.size(0) == 1 ? 0 : prompt) * length * width + position * width;
  }
  const float* positionsAt(int64_t position) const { return positions.const_data_ptr<float>() + position * width; }
};

/// For each prompt, its rows (P, M, C) as the columns of a product with the image.
template <class T>
std::vector<PackedMatrix<T>> packColumns(const at::Tensor& rows) {
  const int64_t columns = rows.size(1);
  const int64_t width = rows.size(2);
  std::vector<PackedMatrix<T>> packed(rows.size(0));
  at::parallel_for(0, rows.size(0), 1, [&](int64_t begin, int64_t end) {
    std::vector<float> transposed(width * columns);
    for (int64_t prompt = begin; prompt < end; ++prompt) {
      transpose(rows.const_data_ptr<float>() + prompt * columns * width, columns, width, transposed.data());
      packed[prompt].pack(transposed.data(), width, columns);
    }
  });
  return packed;
}

/// What a part of the image adds to the sums of one prompt.
struct PartialSums {
  std::vector<float> maximum, sum, values;
};

template <class T>
PartialSums attendPart(const Image& image, int64_t prompt, int64_t begin, int64_t end, const PackedMatrix<T>& queries) {
  const int64_t columns = queries.columns();
  PartialSums part{std::vector<float>(columns, -std::numeric_limits<float>::infinity()), std::vector<float>(columns),
                   std::vector<float>(columns * image.width)};
  std::vector<float> scores(kTile * columns), correction(columns);
  std::vector<T> positioned(kTile * image.width), weights(kTile * columns);
  PackedMatrix<T> tile;
  for (int64_t first = begin; first < end; first += kTile) {
    const int64_t count = std::min(kTile, end - first);
    addValues(image.at(prompt, first), image.positionsAt(first), count * image.width, positioned.data());
    queries.multiply(positioned.data(), count, image.width, scores.data(), false);
    softmaxColumns(scores.data(), count, columns, part.maximum.data(), part.sum.data(), correction.data());
    transpose(scores.data(), count, columns, weights.data());
    if (first > begin) scaleRows(part.values.data(), columns, image.width, correction.data());
    tile.pack(image.at(prompt, first), count, image.width);
    for (int64_t row = 0; row < columns; row += kRows) {
      tile.multiply(weights.data() + row * count, std::min(kRows, columns - row), count,
                    part.values.data() + row * image.width, first > begin);
    }
  }
  return part;
}

/// The mean of the parts, as if they were one.
void merge(const std::vector<PartialSums>& parts, int64_t rows, int64_t width, float* result) {
  for (int64_t row = 0; row < rows; ++row) {
    float maximum = parts[0].maximum[row];
    for (const PartialSums& part : parts) maximum = std::max(maximum, part.maximum[row]);
    float sum = 0;
    for (const PartialSums& part : parts) sum += part.sum[row] * std::exp(part.maximum[row] - maximum);
    float* target = result + row * width;
    std::fill_n(target, width, 0.0f);
    for (const PartialSums& part : parts) {
      const float share = std::exp(part.maximum[row] - maximum) / sum;
      const float* values = part.values.data() + row * width;
      for (int64_t i = 0; i < width; ++i) target[i] += share * values[i];
    }
  }
}

template <class T>
at::Tensor attendImageIn(const at::Tensor& queries, const Image& image) {
  const int64_t prompts = queries.size(0);
  const int64_t rows = queries.size(1);
  const std::vector<PackedMatrix<T>> packed = packColumns<T>(padRows(hostFloat(queries), kColumns));
  at::Tensor result = at::empty_like(queries, at::MemoryFormat::Contiguous);
  const int64_t tiles = at::divup(image.length, kTile);
  const int64_t partsOfPrompt = at::divup(tiles, kTilesOfPart);
  std::vector<std::vector<PartialSums>> sums(prompts, std::vector<PartialSums>(partsOfPrompt));
  at::parallel_for(0, prompts * partsOfPrompt, 1, [&](int64_t begin, int64_t end) {
    const BrgemmContext context(kIsRounded<T>);
    for (int64_t task = begin; task < end; ++task) {
      const int64_t prompt = task / partsOfPrompt;
      const int64_t first = task % partsOfPrompt * kTilesOfPart * kTile;
      const int64_t last = std::min(image.length, first + kTilesOfPart * kTile);
      sums[prompt][task % partsOfPrompt] = attendPart<T>(image, prompt, first, last, packed[prompt]);
    }
  });
  at::parallel_for(0, prompts, 1, [&](int64_t begin, int64_t end) {
    for (int64_t prompt = begin; prompt < end; ++prompt) {
      merge(sums[prompt], rows, image.width, result.data_ptr<float>() + prompt * rows * image.width);
    }
  });
  return result;
}

struct TokenOperands {
  at::Tensor shifts;
  const float* bias;
  RowNorm norm;
  int64_t heads;
};

template <class T>
void attendTokensTile(const Image& image, int64_t prompt, int64_t first, int64_t count, const PackedMatrix<T>& keys,
                      const PackedMatrix<T>& values, const TokenOperands& operands, std::vector<T>& positioned,
                      std::vector<float>& scores, float* result) {
  const int64_t columns = keys.columns();
  addValues(image.at(prompt, first), image.positionsAt(first), count * image.width, positioned.data());
  const float* shifts = operands.shifts.const_data_ptr<float>() + prompt * columns;
  for (int64_t row = 0; row < count; ++row) std::copy_n(shifts, columns, scores.data() + row * columns);
  keys.multiply(positioned.data(), count, image.width, scores.data(), true);
  softmaxGroups(scores.data(), count, columns / operands.heads, operands.heads);
  for (int64_t row = 0; row < count; ++row) {
    addValues(image.at(prompt, first + row), operands.bias, image.width, result + row * image.width);
  }
  const T* weights = operand<T>(scores.data(), count * columns, positioned);
  values.multiply(weights, count, columns, result, true);
  normaliseRows(result, count, image.width, operands.norm, result);
}

template <class T>
at::Tensor attendTokensIn(const Image& image, const at::Tensor& keys, const at::Tensor& values,
                          const TokenOperands& operands) {
  const int64_t prompts = keys.size(0);
  const int64_t columns = keys.size(1);
  at::Tensor result = at::empty({prompts, image.length, image.width}, image.image.options());
  const std::vector<PackedMatrix<T>> packedKeys = packColumns<T>(keys);
  std::vector<PackedMatrix<T>> packedValues(prompts);
  for (int64_t prompt = 0; prompt < prompts; ++prompt) {
    packedValues[prompt].pack(values.const_data_ptr<float>() + prompt * columns * image.width, columns, image.width);
  }
  const int64_t tiles = at::divup(image.length, kTile);
  at::parallel_for(0, prompts * tiles, 1, [&](int64_t begin, int64_t end) {
    const BrgemmContext context(kIsRounded<T>);
    std::vector<T> positioned(kTile * std::max(image.width, columns));
    std::vector<float> scores(kTile * columns);
    for (int64_t task = begin; task < end; ++task) {
      // Prompts go round in a tile, so that its positions stay in the cache.
      const int64_t prompt = task % prompts;
      const int64_t first = task / prompts * kTile;
      attendTokensTile<T>(image, prompt, first, std::min(kTile, image.length - first), packedKeys[prompt],
                          packedValues[prompt], operands, positioned, scores,
                          result.data_ptr<float>() + (prompt * image.length + first) * image.width);
    }
  });
  return result;
}

/// Pairs of values must lie side by side in all operands.
bool canRound(const Image& image) { return image.width % 2 == 0 && image.length % 2 == 0 && multipliesPackedBf16(); }

}  // namespace

at::Tensor attendImage(const at::Tensor& queries, const at::Tensor& image, const at::Tensor& positions, bool rounded) {
  expect(queries.dim() == 3 && queries.numel() > 0, "queries (P, M, C)");
  const Image whole(image, positions, queries.size(0));
  expect(queries.size(2) == whole.width && whole.length > 0, "queries as wide as the image");
  // Prompts that share an image are one with as many more queries.
  const at::Tensor joined = image.size(0) == 1 ? queries.reshape({1, -1, whole.width}) : queries;
  const auto attend = rounded && canRound(whole) ? attendImageIn<uint16_t> : attendImageIn<float>;
  return attend(joined, whole).reshape(queries.sizes());
}

at::Tensor attendTokens(const at::Tensor& image, const at::Tensor& positions, const at::Tensor& keys,
                        const at::Tensor& shifts, const at::Tensor& ofHeads, const at::Tensor& bias, int64_t heads,
                        const at::Tensor& normWeight, const at::Tensor& normBias, double epsilon, bool rounded) {
  const at::Tensor values = ofHeads.flatten(2);
  expect(keys.dim() == 3 && keys.numel() > 0 && values.sizes() == keys.sizes(), "keys and values (P, N * heads, C)");
  expect(shifts.sizes() == keys.sizes().slice(0, 2), "a shift for each key");
  expect(heads > 0 && keys.size(1) % heads == 0, "keys of all heads");
  const Image whole(image, positions, keys.size(0));
  for (const at::Tensor& vector : {bias, normWeight, normBias}) {
    expect(vector.dim() == 1 && vector.size(0) == whole.width, "vectors as wide as the image");
  }
  expect(keys.size(2) == whole.width && whole.length > 0, "keys as wide as the image");
  const at::Tensor paddedKeys = padRows(hostFloat(keys), kTokens * heads);
  const at::Tensor paddedValues = padRows(hostFloat(values), kTokens * heads);
  // A token that does not exist is never attended to.
  const at::Tensor paddedShifts = at::constant_pad_nd(hostFloat(shifts), {0, paddedKeys.size(1) - keys.size(1)},
                                                      -std::numeric_limits<float>::max());
  const at::Tensor plainBias = hostFloat(bias);
  const at::Tensor plainNormWeight = hostFloat(normWeight);
  const at::Tensor plainNormBias = hostFloat(normBias);
  const TokenOperands operands{
      paddedShifts,
      plainBias.const_data_ptr<float>(),
      {plainNormWeight.const_data_ptr<float>(), plainNormBias.const_data_ptr<float>(), static_cast<float>(epsilon)},
      heads};
  const auto attend = rounded && canRound(whole) ? attendTokensIn<uint16_t> : attendTokensIn<float>;
  return attend(whole, paddedKeys, paddedValues, operands);
}

}  // namespace segsam
