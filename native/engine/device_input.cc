#include <algorithm>
#include <array>

#include "cuda/input.h"
#include "engine/image.h"
#include "engine/transfer.h"
#include "ops/window.h"

namespace segsam {

namespace {

at::ScalarType pixelType(PixelType type) {
  switch (type) {
    case PixelType::kUint8:
      return at::kByte;
    case PixelType::kUint16:
      return at::kUInt16;
    case PixelType::kInt16:
      return at::kShort;
    case PixelType::kFloat32:
      return at::kFloat;
  }
  return at::kFloat;
}

}  // namespace

at::Tensor toInputOn(at::Device device, const Image& image, const Frame& frame, const Normalisation& normalisation,
                     at::ScalarType type) {
  const at::Tensor pixels = at::from_blob(const_cast<void*>(image.pixels), {image.height, image.width, image.channels},
                                          pixelType(image.type));
  const at::Tensor uploaded = upload(pixels, device);
  if (makesInputOnCuda(device, image, frame, type)) return inputOnCuda(uploaded, image, frame, normalisation, type);
  const std::array<double, 2> window = windowOf(image);
  const at::Tensor colours =
      uploaded.to(at::kFloat).narrow(2, 0, std::min(image.channels, 3)).permute({2, 0, 1}).unsqueeze(0);
  const at::Tensor windowed = colours.sub(static_cast<float>(window[0])).mul(scaleOf(window));
  const at::Tensor planes = resize(windowed.nan_to_num(0.0).clamp(0, 255).contiguous(), frame)[0];
  at::Tensor input = at::zeros({3, frame.side, frame.side}, at::TensorOptions(at::kFloat).device(device));
  for (int64_t channel = 0; channel < 3; ++channel) {
    const at::Tensor plane = planes[std::min(channel, planes.size(0) - 1)];
    input[channel]
        .narrow(0, 0, plane.size(0))
        .narrow(1, 0, plane.size(1))
        .copy_((plane - normalisation.mean[channel]) / normalisation.std[channel]);
  }
  return input.to(type);
}

}  // namespace segsam
