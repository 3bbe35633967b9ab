#include "ops/input_rows.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <limits>
#include <random>
#include <type_traits>
#include <utility>
#include <vector>

#include "check.h"
#include "ops/window.h"

using namespace segsam;

namespace {

const Normalisation kPlain{{0, 0, 0}, {1, 1, 1}};
constexpr float kNotANumber = std::numeric_limits<float>::quiet_NaN();
constexpr float kInfinity = std::numeric_limits<float>::infinity();

template <class Pixel>
constexpr PixelType kTypeOf = PixelType::kUint8;
template <>
constexpr PixelType kTypeOf<uint16_t> = PixelType::kUint16;
template <>
constexpr PixelType kTypeOf<int16_t> = PixelType::kInt16;
template <>
constexpr PixelType kTypeOf<float> = PixelType::kFloat32;

template <class Pixel>
Image imageOf(const std::vector<Pixel>& pixels, int64_t width, int64_t height, int channels) {
  return {pixels.data(), kTypeOf<Pixel>, width, height, channels, std::nullopt};
}

/// Values of the type's whole range, of floats between -20000 and 40000.
template <class Pixel>
std::vector<Pixel> noise(size_t count) {
  std::mt19937 random(3);
  std::vector<Pixel> pixels(count);
  for (auto& pixel : pixels) {
    if constexpr (std::is_same_v<Pixel, float>) {
      pixel = static_cast<float>(random() % 600000) / 10 - 20000;
    } else {
      pixel = static_cast<Pixel>(random());
    }
  }
  return pixels;
}

/// A (3, side, side) input, its rows written in two parts over memory that held something else.
struct Input {
  std::vector<float> values;
  int64_t side;

  Input(const Image& image, const Frame& frame, const Normalisation& normalisation = kPlain)
      : values(3 * frame.side * frame.side, kNotANumber), side(frame.side) {
    const InputRows rows(image, frame, normalisation);
    rows.write(side / 3, side, values.data());
    rows.write(0, side / 3, values.data());
  }

  float at(int64_t channel, int64_t x, int64_t y) const { return values[(channel * side + y) * side + x]; }
};

/// Slow reference of one axis: a triangle as wide as the reduction, as Pillow's BILINEAR.
std::vector<double> resizeAxis(const std::vector<double>& source, int64_t to) {
  const auto from = static_cast<int64_t>(source.size());
  const double scale = std::max(1.0, static_cast<double>(from) / to);
  std::vector<double> result;
  for (int64_t i = 0; i < to; ++i) {
    const double centre = (i + 0.5) * from / to;
    double sum = 0;
    double weights = 0;
    for (int64_t j = 0; j < from; ++j) {
      const double weight = std::max(0.0, 1 - std::abs(j + 0.5 - centre) / scale);
      sum += weight * source[j];
      weights += weight;
    }
    result.push_back(sum / weights);
  }
  return result;
}

/// One channel on the 0-255 scale, resized, by columns.
template <class Pixel>
std::vector<std::vector<double>> resized(const std::vector<Pixel>& pixels, const Image& image, int channel,
                                         const Frame& frame) {
  const auto [low, high] = *image.window;
  std::vector<std::vector<double>> rows;
  for (int64_t y = 0; y < image.height; ++y) {
    std::vector<double> row;
    for (int64_t x = 0; x < image.width; ++x) {
      const double value = pixels[(y * image.width + x) * image.channels + channel];
      row.push_back(std::clamp((value - low) * 255 / (high - low), 0.0, 255.0));
    }
    rows.push_back(resizeAxis(row, frame.resizedWidth));
  }
  std::vector<std::vector<double>> columns;
  for (int64_t x = 0; x < frame.resizedWidth; ++x) {
    std::vector<double> column;
    for (const auto& row : rows) column.push_back(row[x]);
    columns.push_back(resizeAxis(column, frame.resizedHeight));
  }
  return columns;
}

template <class Pixel>
void checkResizing(std::array<double, 2> window) {
  const Normalisation normalisation{{10, 20, 30}, {2, 4, 8}};
  for (const auto& [width, height] : std::vector<std::pair<int64_t, int64_t>>{
           {50, 20}, {5, 9}, {33, 8}, {16, 16}, {200, 3}, {4, 300}, {1, 40}, {1, 5}, {1, 1}}) {
    for (const int channels : {1, 3, 4}) {
      for (const ResizeMode mode : {ResizeMode::kLongest, ResizeMode::kStretch}) {
        const auto pixels = noise<Pixel>(width * height * channels);
        const Frame frame = Frame::of(width, height, 16, mode);
        Image image = imageOf(pixels, width, height, channels);
        image.window = window;
        const Input input(image, frame, normalisation);
        for (int channel = 0; channel < 3; ++channel) {
          const auto expected = resized(pixels, image, std::min(channel, channels - 1), frame);
          for (int64_t x = 0; x < 16; ++x) {
            for (int64_t y = 0; y < 16; ++y) {
              const bool covered = x < frame.resizedWidth && y < frame.resizedHeight;
              const double value =
                  covered ? (expected[x][y] - normalisation.mean[channel]) / normalisation.std[channel] : 0;
              EXPECT_NEAR(input.at(channel, x, y), value, 1e-3);
            }
          }
        }
      }
    }
  }
}

}  // namespace

TEST("an image of the model's size goes in unchanged, channel by channel, without alpha") {
  const auto pixels = noise<uint8_t>(16 * 16 * 4);
  const Input input(imageOf(pixels, 16, 16, 4), Frame::of(16, 16, 16, ResizeMode::kLongest), {{10, 20, 30}, {2, 4, 8}});
  for (int64_t y = 0; y < 16; ++y) {
    for (int64_t x = 0; x < 16; ++x) {
      for (int c = 0; c < 3; ++c) {
        const float expected = (pixels[(y * 16 + x) * 4 + c] - 10.0f * (c + 1)) / static_cast<float>(2 << c);
        EXPECT_EQUAL(input.at(c, x, y), expected);
      }
    }
  }
}

TEST("a gray image fills three channels, and padding is zero after normalisation") {
  const std::vector<uint8_t> pixels(8 * 4, 200);
  const Input input(imageOf(pixels, 8, 4, 1), Frame::of(8, 4, 16, ResizeMode::kLongest),
                    {{100, 100, 100}, {50, 50, 50}});
  for (int c = 0; c < 3; ++c) {
    EXPECT_NEAR(input.at(c, 15, 7), 2, 1e-5);
    EXPECT_EQUAL(input.at(c, 15, 8), 0.0f);
  }
}

TEST("resizing filters as a triangle as wide as the reduction, whatever the pixels and channels") {
  checkResizing<uint8_t>({0, 255});
  checkResizing<uint8_t>({50, 180});
  checkResizing<uint16_t>({1000, 40000});
  checkResizing<int16_t>({-160, 240});
  checkResizing<float>({-1000, 3000});
}

TEST("a window maps its ends to 0 and 255 and clamps beyond") {
  const std::vector<int16_t> pixels{-1000, -160, 40, 240};
  Image image = imageOf(pixels, 4, 1, 1);
  image.window = {{-160, 240}};
  const Input input(image, Frame::of(4, 1, 4, ResizeMode::kLongest));
  EXPECT_NEAR(input.at(0, 0, 0), 0, 1e-4);
  EXPECT_NEAR(input.at(0, 1, 0), 0, 1e-4);
  EXPECT_NEAR(input.at(0, 2, 0), 127.5, 1e-3);
  EXPECT_NEAR(input.at(0, 3, 0), 255, 1e-3);
}

TEST("without a window 8-bit pixels keep their values, others span the 0.5 to 99.5 percentiles of finite colours") {
  const auto check = [](auto pixels, int channels, const std::vector<float>& broken) {
    const std::array<double, 2> window = windowOf(imageOf(pixels, std::ssize(pixels) / channels, 1, channels));
    std::vector<double> sorted;
    for (size_t i = 0; i < pixels.size(); ++i) {
      if (channels < 4 || i % 4 < 3) sorted.push_back(pixels[i]);
    }
    std::sort(sorted.begin(), sorted.end());
    const auto percentile = [&](double q) {
      const double rank = q * static_cast<double>(sorted.size() - 1);
      const auto below = static_cast<size_t>(rank);
      const size_t above = std::min(below + 1, sorted.size() - 1);
      return sorted[below] + (rank - static_cast<double>(below)) * (sorted[above] - sorted[below]);
    };
    EXPECT_NEAR(window[0], percentile(0.005), 1e-6);
    EXPECT_NEAR(window[1], percentile(0.995), 1e-6);
    if constexpr (std::is_same_v<decltype(pixels), std::vector<float>>) {
      // What is not finite is not counted.
      std::vector<float> more = pixels;
      more.insert(more.begin() + std::ssize(more) / 2, broken.begin(), broken.end());
      EXPECT(windowOf(imageOf(more, std::ssize(more) / channels, 1, channels)) == window);
    }
  };
  const std::vector<float> broken(12, kNotANumber);
  for (const int channels : {1, 3, 4}) {
    check(noise<uint16_t>(1200), channels, {});
    check(noise<int16_t>(1200), channels, {});
    check(noise<float>(1200), channels, broken);
  }
  check(noise<float>(1200), 1, {kInfinity, -kInfinity, kNotANumber, kInfinity});
  // Many equal values, both zeros, very small and very large ones, and few values.
  check(std::vector<float>{0.0f, -0.0f, 0.0f, 1e-40f, -1e-40f, 3e38f, -3e38f, 5.0f}, 1, broken);
  check(std::vector<float>(1000, -7.5f), 1, broken);
  check(std::vector<float>{2.5f}, 1, broken);
  const auto bytes = noise<uint8_t>(12);
  EXPECT((windowOf(imageOf(bytes, 12, 1, 1)) == std::array<double, 2>{0, 255}));
  EXPECT((windowOf(imageOf(broken, 12, 1, 1)) == std::array<double, 2>{0, 0}));
}

TEST("one single intensity is black, and so is what is not a number") {
  const Frame frame = Frame::of(4, 1, 4, ResizeMode::kLongest);
  const auto black = [](const Input& input) {
    return std::all_of(input.values.begin(), input.values.end(), [](float value) { return value == 0.0f; });
  };
  const std::vector<uint16_t> constant(4, 700);
  EXPECT(black(Input(imageOf(constant, 4, 1, 1), frame)));
  const std::vector<float> broken(4, kNotANumber);
  EXPECT(black(Input(imageOf(broken, 4, 1, 1), frame)));
  // Beside others it is the window's lower end.
  const std::vector<float> pixels{1.0f, kNotANumber, 3.0f, kInfinity};
  Image image = imageOf(pixels, 4, 1, 1);
  image.window = {{1, 3}};
  const Input input(image, frame);
  EXPECT((std::vector<float>(input.values.begin(), input.values.begin() + 4) == std::vector<float>{0, 0, 255, 255}));
}
