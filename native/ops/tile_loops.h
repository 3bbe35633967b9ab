#pragma once

#include <cstdint>

namespace segsam {

// Loops over tiles of rows in float32 or bfloat16, for the operators of the engine. Values that a product takes in
// bfloat16 are rounded to the nearest, ties to even.

/// sum = a + b, `count` values.
void addValues(const float* a, const float* b, int64_t count, float* sum);
void addValues(const float* a, const float* b, int64_t count, uint16_t* sum);
void addValues(const uint16_t* a, const float* b, int64_t count, uint16_t* sum);

/// sum = a + b, of one b.
void addValue(const float* a, float b, int64_t count, float* sum);

/// `row` in each of `rows` rows of `width` values, which lie `stride` apart.
void fillRows(const float* row, int64_t rows, int64_t width, float* target, int64_t stride);

/// GELU of each value, in place.
void geluValues(float* values, int64_t count);

/// ReLU of each value, in place.
void reluValues(float* values, int64_t count);

void roundValues(const float* values, int64_t count, uint16_t* result);

/// Of (rows, channels), for each channel less its `origin`: the sum of the values, then that of their squares,
/// 2 * channels in all. An origin among the values keeps the squares small.
void sumChannels(const float* values, int64_t rows, int64_t channels, const float* origin, float* sums);

/// result = GELU(value * scale + shift) of (rows, channels), with a scale and a shift for each channel.
void scaleGelu(const float* values, int64_t rows, int64_t channels, const float* scales, const float* shifts,
               float* result);
void scaleGelu(const float* values, int64_t rows, int64_t channels, const float* scales, const float* shifts,
               uint16_t* result);

/// (rows, columns), rows `stride` apart, to (columns, rows).
void transpose(const float* values, int64_t rows, int64_t columns, int64_t stride, float* transposed);
void transpose(const float* values, int64_t rows, int64_t columns, int64_t stride, uint16_t* transposed);

/// (rows, columns), rows `stride` apart, to (rows / 2, columns, 2); a last row that has no partner gets zeros.
void interleave(const float* values, int64_t rows, int64_t columns, int64_t stride, uint16_t* interleaved);
void interleave(const uint16_t* values, int64_t rows, int64_t columns, int64_t stride, uint16_t* interleaved);

/// One step of a softmax down the rows, for each column at once (Milakov and Gimelshein 2018, arXiv 1805.02867): scores
/// become exponentials relative to the maximum so far; `maximum` and `sum` begin at minus infinity and 0, and
/// `correction` is what earlier sums must be multiplied by.
void softmaxColumns(float* scores, int64_t rows, int64_t columns, float* maximum, float* sum, float* correction);

/// A softmax in each row over the members of each group; those of a group lie `groups` apart. Fast with 4 or 8 groups,
/// and rows of a multiple of 16 values.
void softmaxGroups(float* scores, int64_t rows, int64_t members, int64_t groups);

/// What a linear layer's product, (rows, width) with its rows `stride` apart, becomes; the rows of other arrays may lie
/// further apart, too.
struct ProductRows {
  const float* values;
  int64_t rows;
  int64_t width;
  int64_t stride;
  const float* bias;
};

/// result = product + bias
void biasRows(const ProductRows& product, float* result, int64_t resultStride);
void biasRows(const ProductRows& product, uint16_t* result, int64_t resultStride);

/// result = GELU(product + bias)
void geluRows(const ProductRows& product, float* result, int64_t resultStride);
void geluRows(const ProductRows& product, uint16_t* result, int64_t resultStride);

/// result = x + product + bias; the rows of x and result lie equally far apart.
void addRows(const ProductRows& product, const float* x, float* result, int64_t resultStride);
void addRows(const ProductRows& product, const uint16_t* x, uint16_t* result, int64_t resultStride);

/// Rows in 8 bits, value = scale * (byte - zero), each row between its least and its largest value, or 0. The scale of
/// a row with a value that is infinite or no number is no number.
void quantiseRows(const float* values, int64_t rows, int64_t width, uint8_t* bytes, float* scales, float* zeros);

/// Sums of products in 8 bits, (rows, width) with its rows `stride` apart.
struct ByteProduct {
  const int32_t* sums;
  int64_t rows;
  int64_t width;
  int64_t stride;
};

/// For each row, or for each column.
struct ByteFactors {
  const float* scales;
  /// Zeros of rows, or the scaled sums of columns.
  const float* shifts;
};

/// result = scale of the row * (scale of the column * sum - zero of the row * shift of the column), or that added to
/// it.
void scaleSums(const ByteProduct& product, const ByteFactors& ofRows, const ByteFactors& ofColumns, float* result,
               int64_t resultStride, bool add);

void widenValues(const uint16_t* values, int64_t count, float* result);

/// What brings rows to mean 0 and variance 1, then scales and shifts them.
struct RowNorm {
  const float* weight;
  const float* bias;
  float epsilon;
};

/// The result may be the values themselves.
void normaliseRows(const float* values, int64_t rows, int64_t width, const RowNorm& norm, float* result);
void normaliseRows(const uint16_t* values, int64_t rows, int64_t width, const RowNorm& norm, uint16_t* result);
void normaliseRows(const uint16_t* values, int64_t rows, int64_t width, const RowNorm& norm, float* result);

/// What is added to rows before a norm, and positions to its result.
struct Addends {
  /// (rows, width); the sums are written here.
  float* values;
  /// (width)
  const float* bias;
  /// (rows, width)
  const float* positions;
};

/// result = norm(x + values + bias), positioned = that + positions. (rows, width) each.
void normaliseSums(const float* x, const Addends& addends, int64_t rows, int64_t width, const RowNorm& norm,
                   float* result, float* positioned);
void normaliseSums(const float* x, const Addends& addends, int64_t rows, int64_t width, const RowNorm& norm,
                   uint16_t* result, uint16_t* positioned);
void normaliseSums(const uint16_t* x, const Addends& addends, int64_t rows, int64_t width, const RowNorm& norm,
                   uint16_t* result, uint16_t* positioned);

}  // namespace segsam
