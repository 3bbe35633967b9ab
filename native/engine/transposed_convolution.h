#pragma once

#include "engine/host_float.h"
#include "engine/packed_matrix.h"

namespace segsam {

/// The weight (C, A, 2, 2) of a transposed convolution with stride 2 as (C, 4 A): to the four places of a position, row
/// by row, with A channels each.
template <class T>
PackedMatrix<T> packPlaces(const at::Tensor& weight) {
  const at::Tensor columns = hostFloat(weight.permute({0, 2, 3, 1})).flatten(1);
  return {columns.const_data_ptr<float>(), columns.size(0), columns.size(1)};
}

}  // namespace segsam
