#include <algorithm>

#include "engine/image.h"
#include "engine/upload.h"

namespace segsam {

namespace {

at::ScalarType scalarType(PixelType type) {
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

at::Tensor toInputOn(at::Device device, const Image& image, const Frame& frame, const Normalisation& normalisation) {
  const std::array<double, 2> window = windowOf(image);
  const double scale = 255.0 / (window[1] > window[0] ? window[1] - window[0] : 1.0);
  const at::Tensor pixels = at::from_blob(const_cast<void*>(image.pixels), {image.height, image.width, image.channels},
                                          scalarType(image.type));
  const at::Tensor colours =
      upload(pixels, device).to(at::kFloat).narrow(2, 0, std::min(image.channels, 3)).permute({2, 0, 1}).unsqueeze(0);
  const at::Tensor windowed = colours.sub(static_cast<float>(window[0])).mul(static_cast<float>(scale));
  const at::Tensor planes = windowed.nan_to_num(0.0).clamp(0, 255).contiguous();
  at::Tensor input = at::zeros({3, frame.side, frame.side}, at::TensorOptions(at::kFloat).device(device));
  normalise(resize(planes, frame), frame, normalisation, input);
  return input;
}

}  // namespace segsam
