#pragma once

#include <ATen/ATen.h>

#include <vector>

namespace segsam {

/// What a part of an image adds to the sums of rows that attend to it: for each row the greatest score, the sum of the
/// exponentials relative to it, and that of the values so weighted.
struct PartialSums {
  std::vector<float> maximum, sum, values;

  PartialSums() = default;

  /// Of no positions yet.
  PartialSums(int64_t rows, int64_t width);
};

using PartsOfPrompts = std::vector<std::vector<PartialSums>>;

/// The means of the parts of each prompt, as if they were one: (P, rows, width).
at::Tensor mergeParts(const PartsOfPrompts& sums, int64_t rows, int64_t width, const at::TensorOptions& options);

}  // namespace segsam
