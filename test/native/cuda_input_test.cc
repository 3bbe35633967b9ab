/// The kernel of native/cuda that makes the model's input, run on the CPU, against the CPU's own path.

#include <ATen/ATen.h>

#include <cmath>
#include <vector>

#include "check.h"
#include "emulated_grid.h"

#include "cuda/image_input.h"
#include "engine/image.h"
#include "ops/window.h"

using namespace segsam::cuda;

namespace {

constexpr int kSide = 16;

/// The greatest difference of inputs from images of a kind, which need no resizing.
template <class Pixel, class T>
double differenceOf(segsam::PixelType pixelType, at::ScalarType type, int width, int height, int channels,
                    std::array<double, 2> window, double scale) {
  at::manual_seed(6);
  std::vector<Pixel> pixels(static_cast<size_t>(width) * height * channels);
  const at::Tensor random = at::rand({static_cast<int64_t>(pixels.size())}).mul(scale);
  for (size_t i = 0; i < pixels.size(); ++i) pixels[i] = static_cast<Pixel>(random.data_ptr<float>()[i]);
  if constexpr (std::is_same_v<Pixel, float>) pixels[3] = NAN;
  const segsam::Image image = {pixels.data(), pixelType, width, height, channels, window};
  segsam::Frame frame = segsam::Frame::of(width, height, kSide, segsam::ResizeMode::kLongest);
  const segsam::Normalisation normalisation = {{123.7f, 116.3f, 103.5f}, {58.4f, 57.1f, 57.4f}};
  const at::Tensor expected = segsam::toInput(image, frame, normalisation);
  const at::Tensor out = at::full({3, kSide, kSide}, NAN, type);
  ImageInput arguments = {pixels.data(),
                          1,
                          width * channels,
                          channels,
                          out.data_ptr(),
                          std::min(channels, 3),
                          height,
                          width,
                          kSide,
                          kSide,
                          static_cast<float>(window[0]),
                          segsam::scaleOf(window),
                          {123.7f, 116.3f, 103.5f},
                          {58.4f, 57.1f, 57.4f}};
  runGrid({1, 3, 1}, 256, [&] { writeInput<Pixel, T>(arguments); });
  return (out.to(at::kFloat) - expected).abs().max().item<double>();
}

}  // namespace

TEST("the model's input made on CUDA is the CPU's") {
  using segsam::PixelType;
  EXPECT_NEAR((differenceOf<unsigned char, Float32>(PixelType::kUint8, at::kFloat, 16, 11, 3, {0, 255}, 255)), 0, 1e-6);
  EXPECT_NEAR((differenceOf<unsigned char, Float16>(PixelType::kUint8, at::kHalf, 9, 16, 4, {10, 200}, 255)), 0, 2e-3);
  EXPECT_NEAR((differenceOf<short, BFloat16>(PixelType::kInt16, at::kBFloat16, 16, 16, 1, {-50, 300}, 400)), 0, 2e-2);
  EXPECT_NEAR((differenceOf<unsigned short, Float32>(PixelType::kUint16, at::kFloat, 16, 7, 1, {5, 5}, 60000)), 0,
              1e-6);
  EXPECT_NEAR((differenceOf<float, Float32>(PixelType::kFloat32, at::kFloat, 5, 16, 1, {0, 1}, 1)), 0, 1e-6);
}
