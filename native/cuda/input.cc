#include "cuda/input.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <array>
#include <string>

#include "cuda/arguments.h"
#include "cuda/halves.h"
#include "cuda/kernel.h"
#include "ops/window.h"

namespace segsam {

namespace {

constexpr int kThreads = 256;

const char* nameOf(PixelType type) {
  switch (type) {
    case PixelType::kUint8:
      return "unsigned char";
    case PixelType::kUint16:
      return "unsigned short";
    case PixelType::kInt16:
      return "short";
    case PixelType::kFloat32:
      return "float";
  }
  return "";
}

constexpr std::array<at::ScalarType, 3> kTypes = {at::kFloat, at::kBFloat16, at::kHalf};

Kernel makeKernel(PixelType pixel, at::ScalarType type) {
  const std::string out = type == at::kFloat ? "Float32" : halfName(type);
  return {
      "cuda/image_input.h",     std::string("writeInput<") + nameOf(pixel) + ", " + out + ">", "ImageInput", kThreads,
      /*blocksPerProcessor=*/4,
      /*sharedBytes=*/0};
}

const Kernel& kernelOf(PixelType pixel, at::ScalarType type) {
  using OfPixel = std::array<Kernel, kTypes.size()>;
  const auto all = [](PixelType of) {
    return OfPixel{makeKernel(of, kTypes[0]), makeKernel(of, kTypes[1]), makeKernel(of, kTypes[2])};
  };
  static const std::array<OfPixel, 4> kernels = {all(PixelType::kUint8), all(PixelType::kUint16),
                                                 all(PixelType::kInt16), all(PixelType::kFloat32)};
  const auto index = std::find(kTypes.begin(), kTypes.end(), type) - kTypes.begin();
  return kernels[static_cast<size_t>(pixel)].at(index);
}

bool resizes(const Frame& frame) { return frame.resizedHeight != frame.height || frame.resizedWidth != frame.width; }

/// Writes all planes of `out` (planes, height, width).
void write(const Kernel& kernel, cuda::ImageInput arguments, const at::Tensor& out) {
  arguments.out = out.data_ptr();
  arguments.outHeight = static_cast<int>(out.size(1));
  arguments.outWidth = static_cast<int>(out.size(2));
  const int64_t pairs = out.size(1) * out.size(2) / 2;
  const auto blocks = static_cast<unsigned>(at::divup(pairs, kThreads));
  launchKernel(kernel, out.device(), {blocks, static_cast<unsigned>(out.size(0)), 1}, &arguments);
}

}  // namespace

bool makesInputOnCuda(at::Device device, const Image& image, const Frame& frame, at::ScalarType type) {
  if (frame.side % 2 != 0) return false;
  if (!resizes(frame)) return canRun(kernelOf(image.type, type), device);
  return canRun(kernelOf(image.type, at::kFloat), device) && canRun(kernelOf(PixelType::kFloat32, type), device);
}

std::string whyNoInput(at::Device device, at::ScalarType type) {
  return whyNot(kernelOf(PixelType::kUint8, type), device);
}

at::Tensor inputOnCuda(const at::Tensor& pixels, const Image& image, const Frame& frame,
                       const Normalisation& normalisation, at::ScalarType type) {
  const std::array<double, 2> window = windowOf(image);
  const int channels = std::min(image.channels, 3);
  cuda::ImageInput arguments{};
  arguments.pixels = pixels.data_ptr();
  arguments.channelStride = 1;
  arguments.rowStride = image.width * image.channels;
  arguments.columnStride = image.channels;
  arguments.channels = channels;
  arguments.height = static_cast<int>(image.height);
  arguments.width = static_cast<int>(image.width);
  arguments.low = static_cast<float>(window[0]);
  arguments.scale = scaleOf(window);
  std::fill_n(arguments.deviation, 3, 1.0f);
  PixelType source = image.type;
  const auto floats = at::TensorOptions(at::kFloat).device(pixels.device());
  at::Tensor planes;
  if (resizes(frame)) {
    // Pairs need an even width.
    const at::Tensor wide = at::empty({channels, image.height, image.width + image.width % 2}, floats);
    write(kernelOf(source, at::kFloat), arguments, wide);
    planes = resize(wide.narrow(2, 0, image.width).unsqueeze(0).contiguous(), frame)[0].contiguous();
    source = PixelType::kFloat32;
    arguments.pixels = planes.data_ptr();
    arguments.channelStride = planes.stride(0);
    arguments.rowStride = planes.stride(1);
    arguments.columnStride = 1;
    arguments.height = static_cast<int>(frame.resizedHeight);
    arguments.width = static_cast<int>(frame.resizedWidth);
    arguments.low = 0.0f;
    arguments.scale = 1.0f;
  }
  std::copy_n(normalisation.mean.begin(), 3, arguments.mean);
  std::copy_n(normalisation.std.begin(), 3, arguments.deviation);
  at::Tensor input = at::empty({3, frame.side, frame.side}, floats.dtype(type));
  write(kernelOf(source, type), arguments, input);
  return input;
}

}  // namespace segsam
