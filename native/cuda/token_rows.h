#pragma once

#include "cuda/arguments.h"
#include "cuda/lanes.h"
#include "cuda/warp.h"
#include "cuda/wide_rows.h"

namespace segsam::cuda {

/// The layer norm of rows of tokens, or of their sums with others; and the same with the tokens' positions added. One
/// block: 4 rows by 128 threads, a warp each.
SEG_SAM_DEVICE void normTokens(const TokenNorm& a) {
  const int lane = threadIndex() % 32;
  const int row = blockX() * 4 + threadIndex() / 32;
  if (row >= a.rows) return;
  const int64 place = static_cast<int64>(row) * kWide + lane * 8;
  const Vector own = vectorAt(a.x + place);
  float values[8];
  float sum = 0.0f;
  SEG_SAM_UNROLL
  for (int i = 0; i < 8; ++i) values[i] = valueOf(own, i);
  if (a.added != nullptr) {
    const Vector added = vectorAt(a.added + place);
    SEG_SAM_UNROLL
    for (int i = 0; i < 8; ++i) values[i] += valueOf(added, i);
  }
  SEG_SAM_UNROLL
  for (int i = 0; i < 8; ++i) sum += values[i];
  const float mean = laneSum<32>(sum) / kWide;
  float squares = 0.0f;
  SEG_SAM_UNROLL
  for (int i = 0; i < 8; ++i) {
    values[i] -= mean;
    squares += values[i] * values[i];
  }
  const float scale = inverseRoot(laneSum<32>(squares) / kWide + a.epsilon);
  const Vector weight = vectorAt(a.weight + lane * 8);
  const Vector bias = vectorAt(a.bias + lane * 8);
  Vector out;
  SEG_SAM_UNROLL
  for (int i = 0; i < 4; ++i) {
    out.words[i] = Float16::pack(values[2 * i] * scale * valueOf(weight, 2 * i) + valueOf(bias, 2 * i),
                                 values[2 * i + 1] * scale * valueOf(weight, 2 * i + 1) + valueOf(bias, 2 * i + 1));
  }
  *reinterpret_cast<Vector*>(a.out + place) = out;
  if (a.positions != nullptr) {
    *reinterpret_cast<Vector*>(a.positioned + place) = sumOf(out, vectorAt(a.positions + place));
  }
}

/// Tokens of points (models/seg_sam/prompt_encoder.py): random Fourier features of scale 1 (Tancik et al. 2020, arXiv
/// 2006.10739), and what their label adds or puts in their place. One block: a point by 128 threads.
SEG_SAM_DEVICE void embedPoints(const PointTokens& a) {
  constexpr float kTurn = 6.28318530717958647692f;
  const int point = blockX();
  const int64 label = a.labels[point];
  const float x = 2.0f * (a.points[2 * point] + 0.5f) / a.side - 1.0f;
  const float y = 2.0f * (a.points[2 * point + 1] + 0.5f) / a.side - 1.0f;
  for (int i = threadIndex(); i < a.halfWidth; i += 128) {
    const float angle = kTurn * (x * a.matrix[i] + y * a.matrix[a.halfWidth + i]);
    for (int half = 0; half < 2; ++half) {
      const int channel = half * a.halfWidth + i;
      float value = half == 0 ? sine(angle) : cosine(angle);
      if (label == -1) value = 0.0f;
      if (label >= -1 && label < 4) value += a.table[(label == -1 ? 4 : label) * 2 * a.halfWidth + channel];
      a.out[static_cast<int64>(point) * 2 * a.halfWidth + channel] = value;
    }
  }
}

}  // namespace segsam::cuda
