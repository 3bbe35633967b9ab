#include "engine/image.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <type_traits>
#include <vector>

namespace segsam {

namespace {

constexpr double kLowQuantile = 0.005;
constexpr double kHighQuantile = 0.995;
constexpr int64_t kRowsPerTask = 64;

int colourChannels(const Image& image) { return image.channels == 4 ? 3 : image.channels; }

/// Calls `visit` with each colour value of the image.
template <class Pixel, class Visit>
void forEachValue(const Image& image, const Visit& visit) {
  const auto* pixels = static_cast<const Pixel*>(image.pixels);
  const int colours = colourChannels(image);
  const int64_t count = image.width * image.height;
  for (int64_t i = 0; i < count; ++i) {
    for (int channel = 0; channel < colours; ++channel) visit(pixels[i * image.channels + channel]);
  }
}

/// The value at a quantile, interpolated linearly between ranks, where `valueAt` gives the value of a rank.
template <class ValueAt>
double quantile(int64_t count, double q, const ValueAt& valueAt) {
  const double rank = q * static_cast<double>(count - 1);
  const auto below = static_cast<int64_t>(std::floor(rank));
  const double low = valueAt(below);
  const double high = valueAt(std::min(below + 1, count - 1));
  return low + (high - low) * (rank - static_cast<double>(below));
}

template <class Pixel>
std::array<double, 2> percentileWindow(const Image& image) {
  if constexpr (std::is_floating_point_v<Pixel>) {
    std::vector<Pixel> values;
    values.reserve(image.width * image.height * colourChannels(image));
    forEachValue<Pixel>(image, [&](Pixel value) {
      if (std::isfinite(value)) values.push_back(value);
    });
    if (values.empty()) return {0, 0};
    const auto valueAt = [&](int64_t rank) {
      std::nth_element(values.begin(), values.begin() + rank, values.end());
      return static_cast<double>(values[rank]);
    };
    const auto count = static_cast<int64_t>(values.size());
    return {quantile(count, kLowQuantile, valueAt), quantile(count, kHighQuantile, valueAt)};
  } else {
    constexpr int64_t kLowest = std::numeric_limits<Pixel>::min();
    constexpr int64_t kLevels = static_cast<int64_t>(std::numeric_limits<Pixel>::max()) - kLowest + 1;
    std::vector<int64_t> histogram(kLevels, 0);
    forEachValue<Pixel>(image, [&](Pixel value) { ++histogram[value - kLowest]; });
    const auto valueAt = [&](int64_t rank) {
      int64_t level = 0;
      for (int64_t seen = histogram[0]; seen <= rank; seen += histogram[level]) ++level;
      return static_cast<double>(level + kLowest);
    };
    const int64_t count = image.width * image.height * colourChannels(image);
    return {quantile(count, kLowQuantile, valueAt), quantile(count, kHighQuantile, valueAt)};
  }
}

/// One channel on the 0-255 scale, (1, 1, height, width).
template <class Pixel>
at::Tensor windowed(const Image& image, int channel, const std::array<double, 2>& window) {
  at::Tensor plane = at::empty({1, 1, image.height, image.width}, at::kFloat);
  const auto* source = static_cast<const Pixel*>(image.pixels) + channel;
  auto* target = plane.data_ptr<float>();
  const int64_t width = image.width;
  const int64_t stride = image.channels;
  const auto low = static_cast<float>(window[0]);
  const float scale = scaleOf(window);
  at::parallel_for(0, image.height, kRowsPerTask, [=](int64_t begin, int64_t end) {
    for (int64_t i = begin * width; i < end * width; ++i) {
      const float value = (static_cast<float>(source[i * stride]) - low) * scale;
      target[i] = value > 0.0f ? (value < 255.0f ? value : 255.0f) : 0.0f;
    }
  });
  return plane;
}

template <class Pixel>
at::Tensor toInputOf(const Image& image, const Frame& frame, const Normalisation& normalisation) {
  const std::array<double, 2> window = windowOf(image);
  at::Tensor input = at::zeros({3, frame.side, frame.side}, at::kFloat);
  at::Tensor plane;
  for (int channel = 0; channel < 3; ++channel) {
    if (channel < colourChannels(image)) plane = resize(windowed<Pixel>(image, channel, window), frame)[0][0];
    normalise(plane, channel, normalisation, input);
  }
  return input;
}

}  // namespace

std::array<double, 2> windowOf(const Image& image) {
  if (image.window) return *image.window;
  switch (image.type) {
    case PixelType::kUint8:
      return {0, 255};
    case PixelType::kUint16:
      return percentileWindow<uint16_t>(image);
    case PixelType::kInt16:
      return percentileWindow<int16_t>(image);
    case PixelType::kFloat32:
      return percentileWindow<float>(image);
  }
  return {};
}

at::Tensor resize(const at::Tensor& planes, const Frame& frame) {
  if (frame.resizedHeight == frame.height && frame.resizedWidth == frame.width) return planes;
  const std::array<int64_t, 2> size = {frame.resizedHeight, frame.resizedWidth};
  if (frame.resizedWidth > 1) return at::_upsample_bilinear2d_aa(planes, size, false);
  // ATen takes planes of one column for channels-last memory and resizes them wrongly (2.13). One row it does right.
  const std::array<int64_t, 2> transposed = {frame.resizedWidth, frame.resizedHeight};
  return at::_upsample_bilinear2d_aa(planes.transpose(2, 3).contiguous(), transposed, false).transpose(2, 3);
}

void normalise(const at::Tensor& plane, int64_t channel, const Normalisation& normalisation, at::Tensor& input) {
  input[channel]
      .narrow(0, 0, plane.size(0))
      .narrow(1, 0, plane.size(1))
      .copy_((plane - normalisation.mean[channel]) / normalisation.std[channel]);
}

at::Tensor toInput(const Image& image, const Frame& frame, const Normalisation& normalisation) {
  switch (image.type) {
    case PixelType::kUint8:
      return toInputOf<uint8_t>(image, frame, normalisation);
    case PixelType::kUint16:
      return toInputOf<uint16_t>(image, frame, normalisation);
    case PixelType::kInt16:
      return toInputOf<int16_t>(image, frame, normalisation);
    case PixelType::kFloat32:
      return toInputOf<float>(image, frame, normalisation);
  }
  return {};
}

}  // namespace segsam
