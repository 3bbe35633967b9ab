#include "ops/input_rows.h"

#include <algorithm>
#include <cmath>
#include <type_traits>

#include "ops/vector_loops.h"
#include "ops/window.h"

namespace segsam {

namespace {

/// The values of a row of the image, all channels side by side (alpha too, which nobody reads then), and their weight.
template <class Pixel>
struct WeighedRow {
  const Pixel* pixels;
  int64_t count;
  float weight;
};

/// Intensities to the 0-255 scale.
struct Windowing {
  float low;
  float scale;

  SEG_SAM_INLINE float operator()(float intensity) const {
    const float value = (intensity - low) * scale;
    // NaN is not above 0.
    const float positive = value > 0.0f ? value : 0.0f;
    return positive < 255.0f ? positive : 255.0f;
  }
};

/// 8-bit pixels whose window is [0, 255].
struct AsIs {
  SEG_SAM_INLINE float operator()(float intensity) const { return intensity; }
};

template <class Pixel, class Window>
SEG_SAM_INLINE void addRow(const WeighedRow<Pixel>& row, const Window& window, float* sums) {
  const Pixel* pixels = row.pixels;
  const float weight = row.weight;
  const int64_t count = row.count;
#pragma omp simd
  for (int64_t i = 0; i < count; ++i) sums[i] += weight * window(static_cast<float>(pixels[i]));
}

SEG_SAM_CLONES
void add(const WeighedRow<uint8_t>& row, const AsIs& window, float* sums) { addRow(row, window, sums); }

SEG_SAM_CLONES
void add(const WeighedRow<uint8_t>& row, const Windowing& window, float* sums) { addRow(row, window, sums); }

SEG_SAM_CLONES
void add(const WeighedRow<uint16_t>& row, const Windowing& window, float* sums) { addRow(row, window, sums); }

SEG_SAM_CLONES
void add(const WeighedRow<int16_t>& row, const Windowing& window, float* sums) { addRow(row, window, sums); }

SEG_SAM_CLONES
void add(const WeighedRow<float>& row, const Windowing& window, float* sums) { addRow(row, window, sums); }

SEG_SAM_CLONES
void normalise(const float* values, float mean, float deviation, int64_t count, float* target) {
#pragma omp simd
  for (int64_t i = 0; i < count; ++i) target[i] = (values[i] - mean) / deviation;
}

}  // namespace

InputRows::Axis::Axis(int64_t from, int64_t to) {
  const double scale = static_cast<double>(from) / static_cast<double>(to);
  const double radius = std::max(scale, 1.0);
  for (int64_t output = 0; output < to; ++output) {
    const double centre = (static_cast<double>(output) + 0.5) * scale - 0.5;
    const auto first = std::max<int64_t>(0, static_cast<int64_t>(std::floor(centre - radius)) + 1);
    const auto end = std::min(from, static_cast<int64_t>(std::ceil(centre + radius)));
    const auto weightOf = [&](int64_t source) { return 1.0 - std::abs(static_cast<double>(source) - centre) / radius; };
    double sum = 0;
    for (int64_t source = first; source < end; ++source) sum += weightOf(source);
    first_.push_back(first);
    begin_.push_back(std::ssize(weights_));
    for (int64_t source = first; source < end; ++source) weights_.push_back(static_cast<float>(weightOf(source) / sum));
  }
  begin_.push_back(std::ssize(weights_));
}

InputRows::InputRows(const Image& image, const Frame& frame, const Normalisation& normalisation)
    : image_(image),
      window_(windowOf(image)),
      frame_(frame),
      normalisation_(normalisation),
      columns_(frame.width, frame.resizedWidth),
      rows_(frame.height, frame.resizedHeight) {}

template <class Pixel>
void InputRows::sumRowsOf(int64_t y, float* sums) const {
  const int64_t values = image_.width * image_.channels;
  const auto* pixels = static_cast<const Pixel*>(image_.pixels) + rows_.first(y) * values;
  const float* weights = rows_.weights(y);
  const Windowing windowing{static_cast<float>(window_[0]), scaleOf(window_)};
  const bool asIs = windowing.low == 0.0f && windowing.scale == 1.0f;
  std::fill_n(sums, values, 0.0f);
  for (int64_t i = 0; i < rows_.count(y); ++i) {
    const WeighedRow<Pixel> row{pixels + i * values, values, weights[i]};
    if constexpr (std::is_same_v<Pixel, uint8_t>) {
      if (asIs) {
        add(row, AsIs{}, sums);
        continue;
      }
    }
    add(row, windowing, sums);
  }
}

void InputRows::sumRows(int64_t y, float* sums) const {
  switch (image_.type) {
    case PixelType::kUint8:
      return sumRowsOf<uint8_t>(y, sums);
    case PixelType::kUint16:
      return sumRowsOf<uint16_t>(y, sums);
    case PixelType::kInt16:
      return sumRowsOf<int16_t>(y, sums);
    case PixelType::kFloat32:
      return sumRowsOf<float>(y, sums);
  }
}

void InputRows::sumColumns(const float* row, int64_t channel, float* resized) const {
  const int64_t stride = image_.channels;
  for (int64_t x = 0; x < frame_.resizedWidth; ++x) {
    const float* source = row + columns_.first(x) * stride + channel;
    const float* weights = columns_.weights(x);
    const int64_t count = columns_.count(x);
    float sum = 0;
    for (int64_t i = 0; i < count; ++i) sum += weights[i] * source[i * stride];
    resized[x] = sum;
  }
}

void InputRows::write(int64_t begin, int64_t end, float* input) const {
  const int64_t side = frame_.side;
  const int64_t width = frame_.resizedWidth;
  const int64_t colours = std::min(image_.channels, 3);
  std::vector<float> sums(image_.width * image_.channels);
  std::vector<float> resized(width);
  for (int64_t y = begin; y < end; ++y) {
    const bool covered = y < frame_.resizedHeight;
    if (covered) sumRows(y, sums.data());
    for (int64_t channel = 0; channel < 3; ++channel) {
      float* target = input + (channel * side + y) * side;
      const int64_t filled = covered ? width : 0;
      std::fill(target + filled, target + side, 0.0f);
      if (!covered) continue;
      if (channel < colours) sumColumns(sums.data(), channel, resized.data());
      normalise(resized.data(), normalisation_.mean[channel], normalisation_.std[channel], width, target);
    }
  }
}

}  // namespace segsam
