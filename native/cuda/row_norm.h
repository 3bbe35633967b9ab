#pragma once

#include "cuda/arguments.h"
#include "cuda/lanes.h"
#include "cuda/warp.h"

namespace segsam::cuda {

/// GELU(x) = x Phi(x).
SEG_SAM_DEVICE float gelu(float x) { return 0.5f * x * (1.0f + errorFunction(x * 0.70710678118654752440f)); }

/// Layer norm of rows, and GELU of them where asked. One block: the rows of 256 threads, of which `Lanes` (8 or 32)
/// compute each row.
template <class T, int Lanes>
SEG_SAM_DEVICE void normRows(const RowNorm& a) {
  constexpr int kThreads = 256;
  constexpr int kMost = 6;
  const int lane = threadIndex() % Lanes;
  const int64 row = static_cast<int64>(blockX()) * (kThreads / Lanes) + threadIndex() / Lanes;
  const int chunks = a.width / 8;
  // Rows past the end are computed as the last one, as all lanes of a warp exchange values.
  const bool isThere = row < a.rows;
  const uint16* const source = a.x + (isThere ? row : a.rows - 1) * a.width;

  Vector values[kMost];
  float sum = 0.0f;
  SEG_SAM_UNROLL
  for (int i = 0; i < kMost; ++i) {
    const int chunk = i * Lanes + lane;
    if (chunk >= chunks) continue;
    values[i] = *reinterpret_cast<const Vector*>(source + chunk * 8);
    for (int j = 0; j < 4; ++j) sum += T::first(values[i].words[j]) + T::second(values[i].words[j]);
  }
  const float mean = laneSum<Lanes>(sum) / static_cast<float>(a.width);

  float squares = 0.0f;
  SEG_SAM_UNROLL
  for (int i = 0; i < kMost; ++i) {
    if (i * Lanes + lane >= chunks) continue;
    for (int j = 0; j < 4; ++j) {
      const float first = T::first(values[i].words[j]) - mean;
      const float second = T::second(values[i].words[j]) - mean;
      squares += first * first + second * second;
    }
  }
  const float scale = inverseRoot(laneSum<Lanes>(squares) / static_cast<float>(a.width) + a.epsilon);

  if (!isThere) return;
  SEG_SAM_UNROLL
  for (int i = 0; i < kMost; ++i) {
    const int chunk = i * Lanes + lane;
    if (chunk >= chunks) continue;
    Vector result;
    for (int j = 0; j < 4; ++j) {
      const int channel = chunk * 8 + j * 2;
      float first = (T::first(values[i].words[j]) - mean) * scale * a.weight[channel] + a.bias[channel];
      float second = (T::second(values[i].words[j]) - mean) * scale * a.weight[channel + 1] + a.bias[channel + 1];
      if (a.gelu) {
        first = gelu(first);
        second = gelu(second);
      }
      result.words[j] = T::pack(first, second);
    }
    *reinterpret_cast<Vector*>(a.out + row * a.width + chunk * 8) = result;
  }
}

}  // namespace segsam::cuda
