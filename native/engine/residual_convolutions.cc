#include "engine/residual_convolutions.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "engine/brgemm_context.h"
#include "engine/host_float.h"
#include "engine/packed_matrix.h"
#include "ops/tile_loops.h"

namespace segsam {

namespace {

constexpr int64_t kSide = 3;
constexpr int64_t kTaps = kSide * kSide;

void expect(bool holds, const char* what) { TORCH_CHECK(holds, "add_convolutions: expected ", what); }

struct Size {
  int64_t height;
  int64_t width;
  int64_t channels;
  int64_t groups;
  double epsilon;

  /// Of a row, with the pixels beside it.
  int64_t paddedRow() const { return (width + kSide - 1) * channels; }
  int64_t row() const { return width * channels; }
};

template <class T>
struct Layer {
  at::Tensor normWeight, normBias, bias;
  /// One for each place of the kernel, row by row: (C, C) from the input's channels to the output's.
  std::vector<PackedMatrix<T>> taps;

  explicit Layer(const NormedConvolution& layer)
      : normWeight(hostFloat(layer.normWeight)), normBias(hostFloat(layer.normBias)), bias(hostFloat(layer.bias)) {
    const at::Tensor places = hostFloat(layer.weight).permute({2, 3, 1, 0}).contiguous();
    const int64_t channels = places.size(3);
    for (int64_t tap = 0; tap < kTaps; ++tap) {
      taps.emplace_back(places.const_data_ptr<float>() + tap * channels * channels, channels, channels);
    }
  }
};

/// What brings each channel to its group's mean 0 and variance 1, then scales and shifts it.
struct Scaling {
  std::vector<float> scales, shifts;
};

/// @param sums what `sumChannels` gave of each row, (H, 2, C)
/// @param origin with which it did so
Scaling scalingOf(const std::vector<float>& sums, const float* origin, const Size& size, const at::Tensor& weight,
                  const at::Tensor& bias) {
  const int64_t channels = size.channels;
  std::vector<double> total(2 * channels, 0.0);
  for (int64_t row = 0; row < size.height; ++row) {
    for (int64_t i = 0; i < 2 * channels; ++i) total[i] += sums[row * 2 * channels + i];
  }
  Scaling scaling{std::vector<float>(channels), std::vector<float>(channels)};
  const int64_t together = channels / size.groups;
  const auto pixels = static_cast<double>(size.height * size.width);
  const double count = pixels * static_cast<double>(together);
  for (int64_t first = 0; first < channels; first += together) {
    double sum = 0;
    double squares = 0;
    for (int64_t i = first; i < first + together; ++i) {
      const double from = origin[i];
      sum += total[i] + pixels * from;
      squares += total[channels + i] + from * (2 * total[i] + pixels * from);
    }
    const double mean = sum / count;
    const double variance = std::max(0.0, squares / count - mean * mean);
    const double inverse = 1.0 / std::sqrt(variance + size.epsilon);
    for (int64_t i = first; i < first + together; ++i) {
      const double scale = inverse * weight.const_data_ptr<float>()[i];
      scaling.scales[i] = static_cast<float>(scale);
      scaling.shifts[i] = static_cast<float>(bias.const_data_ptr<float>()[i] - mean * scale);
    }
  }
  return scaling;
}

/// Memory for one prompt.
template <class T>
struct Scratch {
  /// (H + 2, W + 2, C), zeros around.
  std::vector<T> padded;
  std::vector<float> middle, sums;

  explicit Scratch(const Size& size)
      : padded((size.height + kSide - 1) * size.paddedRow()),
        middle(size.height * size.row()),
        sums(size.height * 2 * size.channels) {}
};

template <class Body>
void eachRow(const Size& size, const Body& body) {
  // Fewer would not be worth a thread.
  constexpr int64_t kValuesOfThread = 1 << 14;
  at::parallel_for(0, size.height, at::divup(kValuesOfThread, size.row()), [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) body(row);
  });
}

/// Norm and GELU of x (H, W, C), whose sums the scratch has, as the convolution takes them.
template <class T>
void activate(const float* x, const float* origin, const Size& size, const Layer<T>& layer, Scratch<T>& scratch) {
  const Scaling scaling = scalingOf(scratch.sums, origin, size, layer.normWeight, layer.normBias);
  eachRow(size, [&](int64_t row) {
    T* target = scratch.padded.data() + (row + 1) * size.paddedRow() + size.channels;
    scaleGelu(x + row * size.row(), size.width, size.channels, scaling.scales.data(), scaling.shifts.data(), target);
  });
}

/// The convolution of one row after the other, without its bias: `store` takes the row and its product (W, C).
template <class T, class Store>
void convolve(const Size& size, const Layer<T>& layer, const Scratch<T>& scratch, const Store& store) {
  constexpr int64_t kValuesOfThread = 1 << 12;
  at::parallel_for(0, size.height, at::divup(kValuesOfThread, size.row()), [&](int64_t begin, int64_t end) {
    const BrgemmContext context(kIsRounded<T>);
    std::vector<float> product(size.row());
    for (int64_t row = begin; row < end; ++row) {
      for (int64_t tap = 0; tap < kTaps; ++tap) {
        const T* values = scratch.padded.data() + (row + tap / kSide) * size.paddedRow() + tap % kSide * size.channels;
        layer.taps[tap].multiply(values, size.width, size.channels, product.data(), tap > 0);
      }
      store(row, ProductRows{product.data(), size.width, size.channels, size.channels,
                             layer.bias.template const_data_ptr<float>()});
    }
  });
}

template <class T>
void addTo(const float* x, const Size& size, const Layer<T>& first, const Layer<T>& second, Scratch<T>& scratch,
           float* result) {
  float* middle = scratch.middle.data();
  float* sums = scratch.sums.data();
  const auto sumRow = [&](const float* image, const float* from, int64_t row) {
    sumChannels(image + row * size.row(), size.width, size.channels, from, sums + row * 2 * size.channels);
  };
  eachRow(size, [&](int64_t row) { sumRow(x, x, row); });
  activate(x, x, size, first, scratch);
  const float* origin = first.bias.template const_data_ptr<float>();
  convolve(size, first, scratch, [&](int64_t row, const ProductRows& product) {
    float* target = middle + row * size.row();
    biasRows(product, target, size.channels);
    sumRow(middle, origin, row);
  });
  activate(middle, origin, size, second, scratch);
  convolve(size, second, scratch, [&](int64_t row, const ProductRows& product) {
    addRows(product, x + row * size.row(), result + row * size.row(), size.channels);
  });
}

template <class T>
at::Tensor addIn(const at::Tensor& x, const Size& size, const NormedConvolution& first,
                 const NormedConvolution& second) {
  const Layer<T> firstLayer(first);
  const Layer<T> secondLayer(second);
  Scratch<T> scratch(size);
  at::Tensor result = at::empty(x.sizes(), x.options());
  const int64_t values = size.height * size.row();
  for (int64_t prompt = 0; prompt < x.size(0); ++prompt) {
    addTo(x.const_data_ptr<float>() + prompt * values, size, firstLayer, secondLayer, scratch,
          result.data_ptr<float>() + prompt * values);
  }
  return result;
}

}  // namespace

at::Tensor addConvolutions(const at::Tensor& x, int64_t width, const NormedConvolution& first,
                           const NormedConvolution& second, int64_t groups, double epsilon, bool rounded) {
  expect(x.dim() == 3 && x.numel() > 0 && width > 0 && x.size(1) % width == 0, "images (P, H * W, C)");
  const int64_t channels = x.size(2);
  expect(groups > 0 && channels % groups == 0, "channels of whole groups");
  for (const NormedConvolution& layer : {first, second}) {
    expect(layer.weight.sizes() == at::IntArrayRef({channels, channels, kSide, kSide}), "kernels (C, C, 3, 3)");
    expect(layer.bias.numel() == channels && layer.normWeight.numel() == channels && layer.normBias.numel() == channels,
           "vectors of C values");
  }
  const Size size{x.size(1) / width, width, channels, groups, epsilon};
  const auto add = rounded && channels % 2 == 0 && multipliesPackedBf16() ? addIn<uint16_t> : addIn<float>;
  return add(hostFloat(x), size, first, second);
}

}  // namespace segsam
