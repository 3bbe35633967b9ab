#include "engine/token_attention.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <limits>
#include <utility>
#include <vector>

#include "engine/brgemm_context.h"
#include "engine/host_float.h"
#include "engine/packed_matrix.h"
#include "engine/partial_sums.h"
#include "ops/tile_loops.h"

namespace segsam {

namespace {

/// oneDNN compiles a kernel for each number of rows and of columns, so only multiples of these occur.
constexpr int64_t kColumns = 16;
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
      : image(isHostBfloat16(image) ? image.contiguous() : hostFloat(image)),
        positions(hostFloat(positions)),
        length(image.size(1)),
        width(image.size(2)) {
    expect(image.dim() == 3 && (image.size(0) == prompts || image.size(0) == 1), "one image, or one for each prompt");
    expect(positions.dim() == 3 && positions.size(0) == 1 && positions.sizes().slice(1) == image.sizes().slice(1),
           "positions of the image");
  }

  template <class Value>
  const Value* at(int64_t prompt, int64_t position) const {
    return static_cast<const Value*>(image.const_data_ptr()) +
           ((image.size(0) == 1 ? 0 : prompt) * length + position) * width;
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
      transpose(rows.const_data_ptr<float>() + prompt * columns * width, columns, width, width, transposed.data());
      packed[prompt].pack(transposed.data(), width, columns);
    }
  });
  return packed;
}

/// Memory of one thread.
template <class T>
struct Scratch {
  std::vector<T> positioned, weights;
  std::vector<float> scores, correction, sums;
  PackedMatrix<T> tile;

  Scratch(int64_t width, int64_t columns)
      : positioned(kTile * width),
        weights(kTile * columns),
        scores(kTile * columns),
        correction(columns),
        sums(kTile * width) {}
};

/// Adds `count` positions of the image, whose sums with their places are in the scratch, to a part.
template <class T, class Value>
void attendTile(const Value* image, int64_t count, int64_t width, const PackedMatrix<T>& queries, PartialSums& part,
                Scratch<T>& scratch) {
  const int64_t columns = queries.columns();
  queries.multiply(scratch.positioned.data(), count, width, scratch.scores.data(), false);
  part.weigh(scratch.scores.data(), count, scratch.correction.data(), scratch.weights.data());
  scratch.tile.pack(image, count, width);
  part.add(scratch.weights.data(), scratch.tile, count, 0, columns);
}

template <class T>
PartialSums attendPart(const Image& image, int64_t prompt, int64_t begin, int64_t end, const PackedMatrix<T>& queries,
                       Scratch<T>& scratch) {
  PartialSums part(queries.columns(), image.width);
  for (int64_t first = begin; first < end; first += kTile) {
    const int64_t count = std::min(kTile, end - first);
    addValues(image.at<float>(prompt, first), image.positionsAt(first), count * image.width, scratch.positioned.data());
    attendTile(image.at<float>(prompt, first), count, image.width, queries, part, scratch);
  }
  return part;
}

/// Calls `work` with the prompt, the index and the positions [begin, end) of each part of the image, and with memory of
/// its thread. A part of all prompts comes before the next part: they share its positions, and perhaps the image.
template <class T, class Work>
void eachPart(const Image& image, int64_t prompts, int64_t columns, const Work& work) {
  const int64_t parts = at::divup(image.length, kPart);
  at::parallel_for(0, prompts * parts, 1, [&](int64_t first, int64_t last) {
    const BrgemmContext context(kIsRounded<T>);
    Scratch<T> scratch(image.width, columns);
    for (int64_t task = first; task < last; ++task) {
      const int64_t part = task / prompts;
      const int64_t begin = part * kPart;
      work(task % prompts, part, begin, std::min(image.length, begin + kPart), scratch);
    }
  });
}

template <class T>
at::Tensor attendImageIn(const at::Tensor& queries, const Image& image) {
  const int64_t prompts = queries.size(0);
  const std::vector<PackedMatrix<T>> packed = packColumns<T>(padRows(hostFloat(queries), kColumns));
  PartsOfPrompts sums(prompts, std::vector<PartialSums>(at::divup(image.length, kPart)));
  eachPart<T>(image, prompts, packed[0].columns(),
              [&](int64_t prompt, int64_t part, int64_t begin, int64_t end, Scratch<T>& scratch) {
                sums[prompt][part] = attendPart<T>(image, prompt, begin, end, packed[prompt], scratch);
              });
  return mergeParts(sums, queries.size(1), queries.options());
}

/// The tokens of all prompts as the image attends to them, ready for products.
template <class T>
struct Tokens {
  std::vector<PackedMatrix<T>> keys, values;
  at::Tensor shifts, bias, normWeight, normBias;
  /// (L, depth) as products take it, if keys do not multiply the image itself.
  std::optional<at::Tensor> sharedImage;
  RowNorm norm;
  int64_t heads, columns, depth;

  explicit Tokens(const AttendedTokens& tokens)
      : bias(hostFloat(tokens.bias)),
        normWeight(hostFloat(tokens.normWeight)),
        normBias(hostFloat(tokens.normBias)),
        norm{normWeight.const_data_ptr<float>(), normBias.const_data_ptr<float>(), static_cast<float>(tokens.epsilon)},
        heads(tokens.heads),
        depth(tokens.keys.size(2)) {
    if (tokens.sharedImage) {
      sharedImage = tokens.sharedImage->to(kIsRounded<T> ? at::kBFloat16 : at::kFloat).contiguous();
    }
    const at::Tensor paddedKeys = padRows(hostFloat(tokens.keys), kTokens * heads);
    const at::Tensor paddedValues = padRows(hostFloat(tokens.values.flatten(2)), kTokens * heads);
    columns = paddedKeys.size(1);
    // A token that does not exist is never attended to.
    shifts = at::constant_pad_nd(hostFloat(tokens.shifts), {0, columns - tokens.keys.size(1)},
                                 -std::numeric_limits<float>::max());
    keys = packColumns<T>(paddedKeys);
    values.resize(keys.size());
    for (int64_t prompt = 0; prompt < paddedValues.size(0); ++prompt) {
      values[prompt].pack(paddedValues.const_data_ptr<float>() + prompt * paddedValues.stride(0), columns,
                          paddedValues.size(2));
    }
  }
};

/// What `count` positions of the image take from the tokens of a prompt, without the bias, into the scratch's sums.
template <class T, class Value>
void sumTokens(const Image& image, int64_t prompt, int64_t first, int64_t count, const Tokens<T>& tokens,
               Scratch<T>& scratch) {
  const int64_t columns = tokens.columns;
  const T* rows = scratch.positioned.data();
  if (tokens.sharedImage) {
    rows = static_cast<const T*>(tokens.sharedImage->const_data_ptr()) + first * tokens.depth;
  } else {
    addValues(image.at<Value>(prompt, first), image.positionsAt(first), count * image.width, scratch.positioned.data());
  }
  fillRows(tokens.shifts.template const_data_ptr<float>() + prompt * columns, count, columns, scratch.scores.data(),
           columns);
  tokens.keys[prompt].multiply(rows, count, tokens.depth, scratch.scores.data(), true);
  softmaxGroups(scratch.scores.data(), count, columns / tokens.heads, tokens.heads);
  const T* weights = operand<T>(scratch.scores.data(), count * columns, scratch.weights);
  tokens.values[prompt].multiply(weights, count, columns, scratch.sums.data(), false);
}

/// @tparam Value of the image that is given, T of the one that is returned
template <class T, class Value>
std::pair<at::Tensor, at::Tensor> attendBothIn(const Image& image, const AttendedTokens& attended,
                                               const at::Tensor& queries) {
  const Tokens<T> tokens(attended);
  const std::vector<PackedMatrix<T>> packed = packColumns<T>(padRows(hostFloat(queries), kColumns));
  const int64_t prompts = queries.size(0);
  const at::ScalarType type = kIsRounded<T> ? at::kBFloat16 : at::kFloat;
  at::Tensor result = at::empty({prompts, image.length, image.width}, image.image.options().dtype(type));
  T* const target = static_cast<T*>(result.data_ptr());
  PartsOfPrompts sums(prompts, std::vector<PartialSums>(at::divup(image.length, kPart)));
  const auto bothOfPart = [&](int64_t prompt, int64_t index, int64_t begin, int64_t end, Scratch<T>& scratch) {
    PartialSums part(packed[prompt].columns(), image.width);
    for (int64_t first = begin; first < end; first += kTile) {
      const int64_t count = std::min(kTile, end - first);
      sumTokens<T, Value>(image, prompt, first, count, tokens, scratch);
      T* const normed = target + (prompt * image.length + first) * image.width;
      const Addends addends{scratch.sums.data(), tokens.bias.template const_data_ptr<float>(),
                            image.positionsAt(first)};
      normaliseSums(image.at<Value>(prompt, first), addends, count, image.width, tokens.norm, normed,
                    scratch.positioned.data());
      attendTile<T>(normed, count, image.width, packed[prompt], part, scratch);
    }
    sums[prompt][index] = std::move(part);
  };
  eachPart<T>(image, prompts, std::max(tokens.columns, packed[0].columns()), bothOfPart);
  return {result, mergeParts(sums, queries.size(1), queries.options())};
}

void expectTokens(const AttendedTokens& tokens, const Image& image) {
  const at::Tensor values = tokens.values.flatten(2);
  const at::Tensor& keys = tokens.keys;
  expect(keys.dim() == 3 && keys.numel() > 0 && values.dim() == 3 &&
             values.sizes().slice(0, 2) == keys.sizes().slice(0, 2) && values.size(2) == image.width,
         "keys and values (P, N * heads, C)");
  expect(tokens.shifts.sizes() == keys.sizes().slice(0, 2), "a shift for each key");
  expect(tokens.heads > 0 && keys.size(1) % tokens.heads == 0, "keys of all heads");
  for (const at::Tensor& vector : {tokens.bias, tokens.normWeight, tokens.normBias}) {
    expect(vector.dim() == 1 && vector.size(0) == image.width, "vectors as wide as the image");
  }
  expect(image.length > 0, "an image");
  if (tokens.sharedImage) {
    const at::Tensor& shared = *tokens.sharedImage;
    expect(shared.sizes() == at::IntArrayRef({1, image.length, keys.size(2)}) && shared.device().is_cpu() &&
               (shared.scalar_type() == at::kBFloat16 || shared.scalar_type() == at::kFloat),
           "what prompts share of the image (1, L, K), and keys as wide");
  } else {
    expect(keys.size(2) == image.width, "keys as wide as the image");
  }
}

/// Pairs of values must lie side by side in all operands.
bool canRound(const Image& image) { return image.width % 2 == 0 && image.length % 2 == 0 && multipliesPackedBf16(); }

bool canRound(const Image& image, const AttendedTokens& tokens) {
  return canRound(image) && tokens.keys.size(2) % 2 == 0;
}

}  // namespace

at::Tensor attendImage(const at::Tensor& queries, const at::Tensor& image, const at::Tensor& positions, bool rounded) {
  expect(queries.dim() == 3 && queries.numel() > 0, "queries (P, M, C)");
  const Image whole(image, positions, queries.size(0));
  expect(queries.size(2) == whole.width && whole.length > 0, "queries as wide as the image");
  expect(!isHostBfloat16(whole.image), "an image in float32");
  // Prompts that share an image are one with as many more queries.
  const at::Tensor joined = image.size(0) == 1 ? queries.reshape({1, -1, whole.width}) : queries;
  const auto attend = rounded && canRound(whole) ? attendImageIn<uint16_t> : attendImageIn<float>;
  return attend(joined, whole).reshape(queries.sizes());
}

std::pair<at::Tensor, at::Tensor> attendBoth(const at::Tensor& image, const at::Tensor& positions,
                                             const AttendedTokens& tokens, const at::Tensor& queries, bool rounded) {
  const Image whole(image, positions, tokens.keys.size(0));
  expectTokens(tokens, whole);
  expect(queries.dim() == 3 && queries.numel() > 0 && queries.size(0) == tokens.keys.size(0) &&
             queries.size(2) == whole.width,
         "queries (P, M, C) of the same prompts");
  if (isHostBfloat16(whole.image)) {
    expect(rounded && canRound(whole, tokens), "an image in float32, as products are not rounded here");
    return attendBothIn<uint16_t, uint16_t>(whole, tokens, queries);
  }
  const auto attend = rounded && canRound(whole, tokens) ? attendBothIn<uint16_t, float> : attendBothIn<float, float>;
  return attend(whole, tokens, queries);
}

at::Tensor attendTokens(const at::Tensor& image, const at::Tensor& positions, const AttendedTokens& tokens,
                        bool rounded) {
  expect(!isHostBfloat16(image), "an image in float32");
  return attendBoth(image, positions, tokens, tokens.keys, rounded).first.to(at::kFloat);
}

}  // namespace segsam
