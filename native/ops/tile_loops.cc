#include "ops/tile_loops.h"

#include <cstring>
#include <type_traits>

#include "ops/vector_loops.h"

namespace segsam {

namespace {

template <class A, class T>
SEG_SAM_INLINE void add(const A* a, const float* b, int64_t count, T* sum) {
#pragma omp simd
  for (int64_t i = 0; i < count; ++i) store(load(a + i) + b[i], sum + i);
}

/// Of a vector, here and below, whatever the processor's are.
constexpr int64_t kWide = 16;

using Wide = float __attribute__((vector_size(64)));
using WideWords = uint32_t __attribute__((vector_size(64)));
using WideHalves = uint16_t __attribute__((vector_size(32)));

SEG_SAM_INLINE void read(const float* source, Wide& values) { std::memcpy(&values, source, sizeof(values)); }

SEG_SAM_INLINE void read(const uint16_t* source, Wide& values) {
  WideHalves halves;
  std::memcpy(&halves, source, sizeof(halves));
  const WideWords words = __builtin_convertvector(halves, WideWords) << 16;
  std::memcpy(&values, &words, sizeof(values));
}

SEG_SAM_INLINE void write(const Wide& values, float* target) { std::memcpy(target, &values, sizeof(values)); }

SEG_SAM_INLINE void write(const Wide& values, uint16_t* target) {
  WideWords words;
  std::memcpy(&words, &values, sizeof(values));
  const WideHalves halves = __builtin_convertvector((words + 0x7fff + ((words >> 16) & 1)) >> 16, WideHalves);
  std::memcpy(target, &halves, sizeof(halves));
}

/// Of what is left of a row.
SEG_SAM_INLINE void read(const float* source, float& value) { value = *source; }
SEG_SAM_INLINE void write(float value, float* target) { store(value, target); }
SEG_SAM_INLINE void write(float value, uint16_t* target) { store(value, target); }

constexpr int64_t kLanes = 8;

#if defined(__GNUC__) && !defined(__clang__)

using Lanes = float __attribute__((vector_size(32)));
using Places = int32_t __attribute__((vector_size(32)));
using WidePlaces = int32_t __attribute__((vector_size(64)));

/// Each value with the one `distance` places before or after it, a bit of the place. In a register: memory that was
/// written as two vectors is slow to be read as one.
template <int64_t distance>
SEG_SAM_INLINE void exchange(const Wide& values, Wide& exchanged) {
  constexpr WidePlaces kPlaces = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
  exchanged = __builtin_shuffle(values, kPlaces ^ static_cast<int32_t>(distance));
}

/// Of 8 x 8 values, `stride` and `resultStride` apart: in three steps, each of which exchanges a bit of row and column.
template <class T>
SEG_SAM_INLINE void transposeSquare(const float* values, int64_t stride, T* transposed, int64_t resultStride) {
  constexpr Places kLower[] = {{0, 8, 2, 10, 4, 12, 6, 14}, {0, 1, 8, 9, 4, 5, 12, 13}, {0, 1, 2, 3, 8, 9, 10, 11}};
  constexpr Places kUpper[] = {{1, 9, 3, 11, 5, 13, 7, 15}, {2, 3, 10, 11, 6, 7, 14, 15}, {4, 5, 6, 7, 12, 13, 14, 15}};
  Lanes rows[kLanes];
  for (int64_t i = 0; i < kLanes; ++i) std::copy_n(values + i * stride, kLanes, reinterpret_cast<float*>(&rows[i]));
  for (int step = 0; step < 3; ++step) {
    const int64_t bit = int64_t{1} << step;
    Lanes exchanged[kLanes];
    for (int64_t i = 0; i < kLanes; ++i) {
      const int64_t lower = i & ~bit;
      exchanged[i] = __builtin_shuffle(rows[lower], rows[lower + bit], i == lower ? kLower[step] : kUpper[step]);
    }
    std::copy_n(exchanged, kLanes, rows);
  }
  for (int64_t i = 0; i < kLanes; ++i) {
    const float* row = reinterpret_cast<const float*>(&rows[i]);
#pragma omp simd
    for (int64_t j = 0; j < kLanes; ++j) store(row[j], transposed + i * resultStride + j);
  }
}

#else

template <int64_t distance>
SEG_SAM_INLINE void exchange(const Wide& values, Wide& exchanged) {
  for (int64_t i = 0; i < kWide; ++i) exchanged[i] = values[i ^ distance];
}

template <class T>
SEG_SAM_INLINE void transposeSquare(const float* values, int64_t stride, T* transposed, int64_t resultStride) {
  for (int64_t i = 0; i < kLanes; ++i) {
    for (int64_t j = 0; j < kLanes; ++j) store(values[j * stride + i], transposed + i * resultStride + j);
  }
}

#endif

template <class T>
SEG_SAM_INLINE void transposeOf(const float* values, int64_t rows, int64_t columns, int64_t stride, T* transposed) {
  const int64_t wholeRows = rows / kLanes * kLanes;
  const int64_t wholeColumns = columns / kLanes * kLanes;
  for (int64_t row = 0; row < wholeRows; row += kLanes) {
    for (int64_t column = 0; column < wholeColumns; column += kLanes) {
      transposeSquare(values + row * stride + column, stride, transposed + column * rows + row, rows);
    }
  }
  for (int64_t row = 0; row < rows; ++row) {
    for (int64_t column = row < wholeRows ? wholeColumns : 0; column < columns; ++column) {
      store(values[row * stride + column], transposed + column * rows + row);
    }
  }
}

/// Of values that belong to `kGroups` groups side by side, again and again: what those of a group are together, in all
/// its places.
template <int64_t kGroups, class Join>
SEG_SAM_INLINE void joinGroups(Wide& values, const Join& join) {
  if constexpr (kGroups < kWide) {
    Wide others;
    exchange<kGroups>(values, others);
    join(values, others);
    joinGroups<2 * kGroups>(values, join);
  }
}

struct Greater {
  SEG_SAM_INLINE void operator()(Wide& values, const Wide& others) const { values = values > others ? values : others; }
};

struct Sum {
  SEG_SAM_INLINE void operator()(Wide& values, const Wide& others) const { values += others; }
};

SEG_SAM_INLINE void exponentials(Wide& values) {
#pragma omp simd
  for (int64_t i = 0; i < kWide; ++i) values[i] = exponential(values[i]);
}

/// Rows of whole vectors.
template <int64_t kGroups>
SEG_SAM_INLINE void softmaxGroupsOf(float* scores, int64_t rows, int64_t members) {
  const int64_t count = members * kGroups;
  for (int64_t row = 0; row < rows; ++row) {
    float* values = scores + row * count;
    Wide maximum, value;
    Wide sum{};
    read(values, maximum);
    for (int64_t i = kWide; i < count; i += kWide) {
      read(values + i, value);
      Greater{}(maximum, value);
    }
    joinGroups<kGroups>(maximum, Greater{});
    for (int64_t i = 0; i < count; i += kWide) {
      read(values + i, value);
      value -= maximum;
      exponentials(value);
      sum += value;
      write(value, values + i);
    }
    joinGroups<kGroups>(sum, Sum{});
    sum = 1.0f / sum;
    for (int64_t i = 0; i < count; i += kWide) {
      read(values + i, value);
      write(value * sum, values + i);
    }
  }
}

/// Of any number of groups.
SEG_SAM_INLINE void softmaxGroupsOf(float* scores, int64_t rows, int64_t members, int64_t groups) {
  for (int64_t group = 0; group < rows * groups; ++group) {
    float* values = scores + group / groups * members * groups + group % groups;
    float maximum = values[0];
    for (int64_t i = 1; i < members; ++i) maximum = std::max(maximum, values[i * groups]);
    float sum = 0.0f;
    for (int64_t i = 0; i < members; ++i) sum += values[i * groups] = exponential(values[i * groups] - maximum);
    for (int64_t i = 0; i < members; ++i) values[i * groups] /= sum;
  }
}

/// result = change(product + bias, index into the result). The changed values are rounded apart from their computation:
/// a loop that does both is not made of vectors.
template <class T, class Change>
SEG_SAM_INLINE void eachValue(const ProductRows& product, T* result, int64_t resultStride, const Change& change) {
  constexpr int64_t kBlock = 64;
  for (int64_t row = 0; row < product.rows; ++row) {
    for (int64_t column = 0; column < product.width; column += kBlock) {
      const float* values = product.values + row * product.stride + column;
      const float* bias = product.bias + column;
      const int64_t first = row * resultStride + column;
      const int64_t count = std::min(kBlock, product.width - column);
      float changed[kBlock];
#pragma omp simd
      for (int64_t i = 0; i < count; ++i) changed[i] = change(values[i] + bias[i], first + i);
#pragma omp simd
      for (int64_t i = 0; i < count; ++i) store(changed[i], result + first + i);
    }
  }
}

template <class T>
SEG_SAM_INLINE void scaleGeluOf(const float* values, int64_t rows, int64_t channels, const float* scales,
                                const float* shifts, T* result) {
  constexpr int64_t kBlock = 32;
  for (int64_t row = 0; row < rows; ++row) {
    for (int64_t first = 0; first < channels; first += kBlock) {
      const int64_t count = std::min(kBlock, channels - first);
      const int64_t at = row * channels + first;
      float changed[kBlock];
#pragma omp simd
      for (int64_t i = 0; i < count; ++i) changed[i] = gelu(values[at + i] * scales[first + i] + shifts[first + i]);
#pragma omp simd
      for (int64_t i = 0; i < count; ++i) store(changed[i], result + at + i);
    }
  }
}

SEG_SAM_INLINE float sumOf(const Wide& values) {
  Wide sums = values;
  joinGroups<1>(sums, Sum{});
  return sums[0];
}

template <class T>
SEG_SAM_INLINE float meanOf(const T* values, int64_t width) {
  const int64_t whole = width / kWide * kWide;
  Wide sums{};
  for (int64_t i = 0; i < whole; i += kWide) {
    Wide value;
    read(values + i, value);
    sums += value;
  }
  float sum = sumOf(sums);
  for (int64_t i = whole; i < width; ++i) sum += load(values + i);
  return sum / static_cast<float>(width);
}

/// What brings a row of this mean to a variance of 1.
template <class T>
SEG_SAM_INLINE float scaleOf(const T* values, int64_t width, float mean, float epsilon) {
  const int64_t whole = width / kWide * kWide;
  Wide squares{};
  for (int64_t i = 0; i < whole; i += kWide) {
    Wide value;
    read(values + i, value);
    value -= mean;
    squares += value * value;
  }
  float sum = sumOf(squares);
  for (int64_t i = whole; i < width; ++i) sum += (load(values + i) - mean) * (load(values + i) - mean);
  return 1.0f / std::sqrt(sum / static_cast<float>(width) + epsilon);
}

/// values += x + bias
/// @return their mean
template <class T>
SEG_SAM_INLINE float addRow(const T* x, const float* bias, int64_t width, float* values) {
  const int64_t whole = width / kWide * kWide;
  Wide sums{};
  for (int64_t i = 0; i < whole; i += kWide) {
    Wide value, added, ofBias;
    read(x + i, value);
    read(values + i, added);
    read(bias + i, ofBias);
    value += added + ofBias;
    write(value, values + i);
    sums += value;
  }
  float sum = sumOf(sums);
  for (int64_t i = whole; i < width; ++i) {
    values[i] += load(x + i) + bias[i];
    sum += values[i];
  }
  return sum / static_cast<float>(width);
}

/// @param sink takes the index of a vector of values and the values, or that of one value
template <class T, class Sink>
SEG_SAM_INLINE void scaleRow(const T* values, int64_t width, float mean, float scale, const RowNorm& norm,
                             const Sink& sink) {
  const int64_t whole = width / kWide * kWide;
  for (int64_t i = 0; i < whole; i += kWide) {
    Wide value, weight, bias;
    read(values + i, value);
    read(norm.weight + i, weight);
    read(norm.bias + i, bias);
    value = (value - mean) * scale * weight + bias;
    sink(i, value);
  }
  for (int64_t i = whole; i < width; ++i) sink(i, (load(values + i) - mean) * scale * norm.weight[i] + norm.bias[i]);
}

/// Rows of which each step is done before the next one, or a row would wait for its sums.
constexpr int64_t kNormedRows = 4;

template <class T, class Result>
SEG_SAM_INLINE void normalise(const T* values, int64_t rows, int64_t width, const RowNorm& norm, Result* result) {
  for (int64_t first = 0; first < rows; first += kNormedRows) {
    const int64_t count = std::min(kNormedRows, rows - first);
    const T* source = values + first * width;
    float means[kNormedRows];
    float scales[kNormedRows];
    for (int64_t i = 0; i < count; ++i) means[i] = meanOf(source + i * width, width);
    for (int64_t i = 0; i < count; ++i) scales[i] = scaleOf(source + i * width, width, means[i], norm.epsilon);
    for (int64_t i = 0; i < count; ++i) {
      Result* target = result + (first + i) * width;
      scaleRow(source + i * width, width, means[i], scales[i], norm,
               [=](int64_t at, const auto& value) SEG_SAM_ALWAYS_INLINE { write(value, target + at); });
    }
  }
}

template <class T, class Result>
SEG_SAM_INLINE void normaliseSumsOf(const T* x, const Addends& addends, int64_t rows, int64_t width,
                                    const RowNorm& norm, Result* result, Result* positioned) {
  for (int64_t first = 0; first < rows; first += kNormedRows) {
    const int64_t count = std::min(kNormedRows, rows - first);
    float* values = addends.values + first * width;
    float means[kNormedRows];
    float scales[kNormedRows];
    for (int64_t i = 0; i < count; ++i) {
      means[i] = addRow(x + (first + i) * width, addends.bias, width, values + i * width);
    }
    for (int64_t i = 0; i < count; ++i) scales[i] = scaleOf(values + i * width, width, means[i], norm.epsilon);
    for (int64_t i = 0; i < count; ++i) {
      const int64_t row = (first + i) * width;
      scaleRow(values + i * width, width, means[i], scales[i], norm,
               [&](int64_t at, const auto& value) SEG_SAM_ALWAYS_INLINE {
                 std::remove_cvref_t<decltype(value)> position;
                 read(addends.positions + row + at, position);
                 write(value, result + row + at);
                 write(value + position, positioned + row + at);
               });
    }
  }
}

}  // namespace

SEG_SAM_CLONES
void addValues(const float* a, const float* b, int64_t count, float* sum) { add(a, b, count, sum); }

SEG_SAM_CLONES
void addValues(const float* a, const float* b, int64_t count, uint16_t* sum) { add(a, b, count, sum); }

SEG_SAM_CLONES
void addValues(const uint16_t* a, const float* b, int64_t count, uint16_t* sum) { add(a, b, count, sum); }

SEG_SAM_CLONES
void addValue(const float* a, float b, int64_t count, float* sum) {
#pragma omp simd
  for (int64_t i = 0; i < count; ++i) sum[i] = a[i] + b;
}

void fillRows(const float* row, int64_t rows, int64_t width, float* target, int64_t stride) {
  for (int64_t i = 0; i < rows; ++i) std::copy_n(row, width, target + i * stride);
}

SEG_SAM_CLONES
void geluValues(float* values, int64_t count) {
#pragma omp simd
  for (int64_t i = 0; i < count; ++i) values[i] = gelu(values[i]);
}

SEG_SAM_CLONES
void reluValues(float* values, int64_t count) {
#pragma omp simd
  for (int64_t i = 0; i < count; ++i) values[i] = values[i] < 0.0f ? 0.0f : values[i];
}

SEG_SAM_CLONES
void roundValues(const float* values, int64_t count, uint16_t* result) {
#pragma omp simd
  for (int64_t i = 0; i < count; ++i) result[i] = rounded(values[i]);
}

SEG_SAM_CLONES
void sumChannels(const float* values, int64_t rows, int64_t channels, const float* origin, float* sums) {
  float* squares = sums + channels;
  std::fill_n(sums, 2 * channels, 0.0f);
  for (int64_t row = 0; row < rows; ++row) {
    const float* own = values + row * channels;
#pragma omp simd
    for (int64_t i = 0; i < channels; ++i) {
      const float value = own[i] - origin[i];
      sums[i] += value;
      squares[i] += value * value;
    }
  }
}

SEG_SAM_CLONES
void scaleGelu(const float* values, int64_t rows, int64_t channels, const float* scales, const float* shifts,
               float* result) {
  scaleGeluOf(values, rows, channels, scales, shifts, result);
}

SEG_SAM_CLONES
void scaleGelu(const float* values, int64_t rows, int64_t channels, const float* scales, const float* shifts,
               uint16_t* result) {
  scaleGeluOf(values, rows, channels, scales, shifts, result);
}

SEG_SAM_CLONES
void transpose(const float* values, int64_t rows, int64_t columns, int64_t stride, float* transposed) {
  transposeOf(values, rows, columns, stride, transposed);
}

SEG_SAM_CLONES
void transpose(const float* values, int64_t rows, int64_t columns, int64_t stride, uint16_t* transposed) {
  transposeOf(values, rows, columns, stride, transposed);
}

SEG_SAM_CLONES
void interleave(const float* values, int64_t rows, int64_t columns, int64_t stride, uint16_t* interleaved) {
  for (int64_t row = 0; row < rows; row += 2) {
    const float* first = values + row * stride;
    const float* second = first + stride;
    auto* target = reinterpret_cast<uint32_t*>(interleaved + row * columns);
    if (row + 1 == rows) {
#pragma omp simd
      for (int64_t i = 0; i < columns; ++i) target[i] = rounded(first[i]);
      return;
    }
#pragma omp simd
    for (int64_t i = 0; i < columns; ++i) {
      target[i] = static_cast<uint32_t>(rounded(first[i])) | static_cast<uint32_t>(rounded(second[i])) << 16;
    }
  }
}

SEG_SAM_CLONES
void interleave(const uint16_t* values, int64_t rows, int64_t columns, int64_t stride, uint16_t* interleaved) {
  for (int64_t row = 0; row < rows; row += 2) {
    const uint16_t* first = values + row * stride;
    auto* target = reinterpret_cast<uint32_t*>(interleaved + row * columns);
    if (row + 1 == rows) {
#pragma omp simd
      for (int64_t i = 0; i < columns; ++i) target[i] = first[i];
      return;
    }
#pragma omp simd
    for (int64_t i = 0; i < columns; ++i) target[i] = first[i] | static_cast<uint32_t>(first[stride + i]) << 16;
  }
}

SEG_SAM_CLONES
void softmaxColumns(float* scores, int64_t rows, int64_t columns, float* maximum, float* sum, float* correction) {
  for (int64_t i = 0; i < columns; ++i) correction[i] = maximum[i];
  for (int64_t row = 0; row < rows; ++row) {
    const float* values = scores + row * columns;
#pragma omp simd
    for (int64_t i = 0; i < columns; ++i) maximum[i] = values[i] > maximum[i] ? values[i] : maximum[i];
  }
#pragma omp simd
  for (int64_t i = 0; i < columns; ++i) {
    correction[i] = exponential(correction[i] - maximum[i]);
    sum[i] *= correction[i];
  }
  for (int64_t row = 0; row < rows; ++row) {
    float* values = scores + row * columns;
#pragma omp simd
    for (int64_t i = 0; i < columns; ++i) {
      values[i] = exponential(values[i] - maximum[i]);
      sum[i] += values[i];
    }
  }
}

SEG_SAM_CLONES
void softmaxGroups(float* scores, int64_t rows, int64_t members, int64_t groups) {
  const bool isWide = members * groups % kWide == 0;
  if (groups == 4 && isWide) {
    softmaxGroupsOf<4>(scores, rows, members);
  } else if (groups == 8 && isWide) {
    softmaxGroupsOf<8>(scores, rows, members);
  } else {
    softmaxGroupsOf(scores, rows, members, groups);
  }
}

SEG_SAM_CLONES
void biasRows(const ProductRows& product, float* result, int64_t resultStride) {
  eachValue(product, result, resultStride, [](float value, int64_t) SEG_SAM_ALWAYS_INLINE { return value; });
}

SEG_SAM_CLONES
void biasRows(const ProductRows& product, uint16_t* result, int64_t resultStride) {
  eachValue(product, result, resultStride, [](float value, int64_t) SEG_SAM_ALWAYS_INLINE { return value; });
}

SEG_SAM_CLONES
void geluRows(const ProductRows& product, float* result, int64_t resultStride) {
  eachValue(product, result, resultStride, [](float value, int64_t) SEG_SAM_ALWAYS_INLINE { return gelu(value); });
}

SEG_SAM_CLONES
void geluRows(const ProductRows& product, uint16_t* result, int64_t resultStride) {
  eachValue(product, result, resultStride, [](float value, int64_t) SEG_SAM_ALWAYS_INLINE { return gelu(value); });
}

SEG_SAM_CLONES
void addRows(const ProductRows& product, const float* x, float* result, int64_t resultStride) {
  eachValue(product, result, resultStride,
            [=](float value, int64_t at) SEG_SAM_ALWAYS_INLINE { return value + load(x + at); });
}

SEG_SAM_CLONES
void addRows(const ProductRows& product, const uint16_t* x, uint16_t* result, int64_t resultStride) {
  eachValue(product, result, resultStride,
            [=](float value, int64_t at) SEG_SAM_ALWAYS_INLINE { return value + load(x + at); });
}

SEG_SAM_CLONES
void normaliseRows(const float* values, int64_t rows, int64_t width, const RowNorm& norm, float* result) {
  normalise(values, rows, width, norm, result);
}

SEG_SAM_CLONES
void normaliseRows(const uint16_t* values, int64_t rows, int64_t width, const RowNorm& norm, uint16_t* result) {
  normalise(values, rows, width, norm, result);
}

SEG_SAM_CLONES
void normaliseRows(const uint16_t* values, int64_t rows, int64_t width, const RowNorm& norm, float* result) {
  normalise(values, rows, width, norm, result);
}

SEG_SAM_CLONES
void normaliseSums(const float* x, const Addends& addends, int64_t rows, int64_t width, const RowNorm& norm,
                   float* result, float* positioned) {
  normaliseSumsOf(x, addends, rows, width, norm, result, positioned);
}

SEG_SAM_CLONES
void normaliseSums(const float* x, const Addends& addends, int64_t rows, int64_t width, const RowNorm& norm,
                   uint16_t* result, uint16_t* positioned) {
  normaliseSumsOf(x, addends, rows, width, norm, result, positioned);
}

SEG_SAM_CLONES
void normaliseSums(const uint16_t* x, const Addends& addends, int64_t rows, int64_t width, const RowNorm& norm,
                   uint16_t* result, uint16_t* positioned) {
  normaliseSumsOf(x, addends, rows, width, norm, result, positioned);
}

SEG_SAM_CLONES
void widenValues(const uint16_t* values, int64_t count, float* result) {
#pragma omp simd
  for (int64_t i = 0; i < count; ++i) result[i] = load(values + i);
}

SEG_SAM_CLONES
void quantiseRows(const float* values, int64_t rows, int64_t width, uint8_t* bytes, float* scales, float* zeros) {
  constexpr float kLargest = 255.0f;
  constexpr float kLeastRange = 1e-20f;
  constexpr int64_t kBlock = 64;
  for (int64_t row = 0; row < rows; ++row) {
    const float* source = values + row * width;
    float least = 0.0f;
    float largest = 0.0f;
    // Not a number where a value is none or is infinite.
    float invalid = 0.0f;
#pragma omp simd reduction(min : least) reduction(max : largest) reduction(+ : invalid)
    for (int64_t i = 0; i < width; ++i) {
      invalid += source[i] - source[i];
      least = source[i] < least ? source[i] : least;
      largest = source[i] > largest ? source[i] : largest;
    }
    const float scale = std::max(largest - least, kLeastRange) / kLargest + invalid;
    const float factor = 1.0f / scale;
    // A whole number, so that 0 stays 0.
    const float zero = std::floor(0.5f - least * factor);
    scales[row] = scale;
    zeros[row] = zero;
    for (int64_t column = 0; column < width; column += kBlock) {
      const int64_t count = std::min(kBlock, width - column);
      uint8_t* target = bytes + row * width + column;
      int32_t whole[kBlock];
#pragma omp simd
      for (int64_t i = 0; i < count; ++i) {
        const float value = source[column + i] * factor + zero + 0.5f;
        whole[i] = static_cast<int32_t>(value < kLargest ? value : kLargest);
      }
#pragma omp simd
      for (int64_t i = 0; i < count; ++i) target[i] = static_cast<uint8_t>(whole[i]);
    }
  }
}

SEG_SAM_CLONES
void scaleSums(const ByteProduct& product, const ByteFactors& ofRows, const ByteFactors& ofColumns, float* result,
               int64_t resultStride, bool add) {
  const float* scales = ofColumns.scales;
  const float* shifts = ofColumns.shifts;
  for (int64_t row = 0; row < product.rows; ++row) {
    const int32_t* sums = product.sums + row * product.stride;
    const float scale = ofRows.scales[row];
    const float zero = ofRows.shifts[row];
    float* target = result + row * resultStride;
    if (add) {
#pragma omp simd
      for (int64_t i = 0; i < product.width; ++i) {
        target[i] += scale * (scales[i] * static_cast<float>(sums[i]) - zero * shifts[i]);
      }
    } else {
#pragma omp simd
      for (int64_t i = 0; i < product.width; ++i) {
        target[i] = scale * (scales[i] * static_cast<float>(sums[i]) - zero * shifts[i]);
      }
    }
  }
}

}  // namespace segsam
