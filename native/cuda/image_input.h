#pragma once

#include "cuda/arguments.h"
#include "cuda/warp.h"

namespace segsam::cuda {

/// Two values that lie beside each other.
template <class T>
SEG_SAM_DEVICE void storePair(void* values, int64 pair, float first, float second) {
  static_cast<uint32*>(values)[pair] = T::pack(first, second);
}

struct Float32 {};

template <>
SEG_SAM_DEVICE void storePair<Float32>(void* values, int64 pair, float first, float second) {
  static_cast<TwoFloats*>(values)[pair] = {{first, second}};
}

/// Pixels to planes: windowed to 0 to 255, where NaN is 0, and normalised; 0 beyond the image. One block: 256 pairs of
/// neighbours of plane blockY, by 256 threads.
template <class Pixel, class T>
SEG_SAM_DEVICE void writeInput(const ImageInput& a) {
  const int pairsOfRow = a.outWidth / 2;
  const int64 pair = static_cast<int64>(blockX()) * 256 + threadIndex();
  if (pair >= static_cast<int64>(pairsOfRow) * a.outHeight) return;
  const int y = static_cast<int>(pair / pairsOfRow);
  const int x = static_cast<int>(pair % pairsOfRow) * 2;
  const int plane = blockY();
  const int channel = plane < a.channels ? plane : a.channels - 1;
  const Pixel* const row =
      static_cast<const Pixel*>(a.pixels) + channel * a.channelStride + static_cast<int64>(y) * a.rowStride;
  // Not an index into the arguments, which would be copied to memory for it.
  const float mean = plane == 0 ? a.mean[0] : plane == 1 ? a.mean[1] : a.mean[2];
  const float deviation = plane == 0 ? a.deviation[0] : plane == 1 ? a.deviation[1] : a.deviation[2];
  const auto valueAt = [&](int column) {
    if (y >= a.height || column >= a.width) return 0.0f;
    const float value = (static_cast<float>(row[static_cast<int64>(column) * a.columnStride]) - a.low) * a.scale;
    // NaN is not above 0.
    const float windowed = value > 0.0f ? (value < 255.0f ? value : 255.0f) : 0.0f;
    return (windowed - mean) / deviation;
  };
  storePair<T>(a.out, plane * (static_cast<int64>(pairsOfRow) * a.outHeight) + pair, valueAt(x), valueAt(x + 1));
}

}  // namespace segsam::cuda
