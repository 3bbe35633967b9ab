#include "engine/partial_sums.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <cmath>
#include <limits>

namespace segsam {

namespace {

void merge(const std::vector<PartialSums>& parts, int64_t rows, float* result) {
  const int64_t width = parts[0].width;
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

}  // namespace

PartialSums::PartialSums(int64_t rows, int64_t itsWidth)
    : width(itsWidth), maximum(rows, -std::numeric_limits<float>::infinity()), sum(rows), values(rows * itsWidth) {}

at::Tensor mergeParts(const PartsOfPrompts& sums, int64_t rows, const at::TensorOptions& options) {
  const auto prompts = static_cast<int64_t>(sums.size());
  const int64_t width = sums[0][0].width;
  at::Tensor result = at::empty({prompts, rows, width}, options);
  at::parallel_for(0, prompts, 1, [&](int64_t begin, int64_t end) {
    for (int64_t prompt = begin; prompt < end; ++prompt) {
      merge(sums[prompt], rows, result.data_ptr<float>() + prompt * rows * width);
    }
  });
  return result;
}

}  // namespace segsam
