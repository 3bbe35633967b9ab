#pragma once

#include "cuda/warp.h"

namespace segsam::cuda {

/// The sum of the values of `Lanes` neighbouring lanes, a power of two; each of them gets it.
template <int Lanes>
SEG_SAM_DEVICE float laneSum(float value) {
  SEG_SAM_UNROLL
  for (int mask = 1; mask < Lanes; mask *= 2) value += exchange(value, mask);
  return value;
}

/// The greatest of them.
template <int Lanes>
SEG_SAM_DEVICE float laneMaximum(float value) {
  SEG_SAM_UNROLL
  for (int mask = 1; mask < Lanes; mask *= 2) value = fmaxf(value, exchange(value, mask));
  return value;
}

}  // namespace segsam::cuda
