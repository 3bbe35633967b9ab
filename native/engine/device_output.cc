#include <algorithm>
#include <cstring>
#include <utility>

#include "engine/decode_output.h"

namespace segsam {

namespace {

/// Memory of the logits at the original size that are held at a time.
constexpr int64_t kUpscaledBytes = int64_t{256} << 20;

/// Tensors of a device, whose values are copied to arrays of the host together.
class Delivery {
 public:
  template <class T>
  void add(const at::Tensor& values, T* target) {
    const at::Tensor bytes = values.contiguous().flatten().view(at::kByte);
    parts_.emplace_back(bytes, target);
  }

  void copy() const {
    std::vector<at::Tensor> bytes;
    for (const auto& [part, target] : parts_) bytes.push_back(part);
    const at::Tensor onDevice = at::cat(bytes);
    // Page-locked, or the driver would copy through a buffer of its own.
    const at::Tensor onHost =
        at::empty(onDevice.sizes(), at::TensorOptions(at::kByte).pinned_memory(!onDevice.is_cpu()));
    onHost.copy_(onDevice);
    const uint8_t* source = onHost.const_data_ptr<uint8_t>();
    for (const auto& [part, target] : parts_) {
      std::memcpy(target, source, part.numel());
      source += part.numel();
    }
  }

 private:
  std::vector<std::pair<at::Tensor, void*>> parts_;
};

/// (n, side, side) logits to (n, H, W) masks of 0 and 1. Source: as `MaskUpscaler`.
at::Tensor upscaled(const at::Tensor& logits, const Frame& frame, float threshold) {
  const int64_t bytesOfOne = frame.width * frame.height * static_cast<int64_t>(sizeof(float));
  const int64_t atATime = std::max<int64_t>(1, kUpscaledBytes / bytesOfOne);
  std::vector<at::Tensor> masks;
  for (const at::Tensor& some : logits.split(atATime)) {
    const std::array<int64_t, 2> input = {frame.side, frame.side};
    const std::array<int64_t, 2> original = {frame.height, frame.width};
    const at::Tensor covered = at::upsample_bilinear2d(some.unsqueeze(1), input, false)
                                   .narrow(2, 0, frame.resizedHeight)
                                   .narrow(3, 0, frame.resizedWidth)
                                   .contiguous();
    masks.push_back(at::upsample_bilinear2d(covered, original, false).squeeze(1).gt(threshold).to(at::kByte));
  }
  return masks.size() == 1 ? masks[0] : at::cat(masks);
}

/// IoU of masks (P, M, H, W) with their prompts' semantic masks (P, H, W): (P, M); 1 where both are empty.
at::Tensor agreementOf(const at::Tensor& masks, const at::Tensor& semantic) {
  const at::Tensor other = semantic.unsqueeze(1);
  const at::Tensor both = masks.bitwise_and(other).sum({2, 3}, false, at::kLong);
  const at::Tensor any = masks.bitwise_or(other).sum({2, 3}, false, at::kLong);
  const at::Tensor iou = both.to(at::kDouble) / any.to(at::kDouble);
  return at::where(any.eq(0), at::ones_like(iou), iou).to(at::kFloat);
}

}  // namespace

void writeOnDevice(const ChunkOutput& output, const std::vector<DecodeRequest>& requests, const Frame& frame) {
  Delivery delivery;
  int64_t begin = 0;
  for (const DecodeRequest& request : requests) {
    const DecodedViews& out = request.out;
    const int64_t count = request.prompts.count;
    const at::Tensor logits = ChunkOutput::wanted(output.logits, begin, request);
    const at::Tensor masks = upscaled(logits.flatten(0, 1), frame, request.threshold);
    delivery.add(masks, out.masks);
    delivery.add(logits, out.logits);
    delivery.add(ChunkOutput::wanted(output.iou, begin, request), out.iou);
    if (output.isNamed()) {
      const at::Tensor semanticLogits = output.semanticLogits.narrow(0, begin, count);
      const at::Tensor semantic = upscaled(semanticLogits, frame, request.threshold);
      delivery.add(semantic, out.semanticMasks);
      delivery.add(semanticLogits, out.semanticLogits);
      delivery.add(agreementOf(masks.unflatten(0, {count, out.masksPerPrompt}), semantic), out.agreement);
      delivery.add(output.classProbabilities.narrow(0, begin, count), out.classProbabilities);
      delivery.add(output.presence.narrow(0, begin, count), out.presence);
    }
    begin += count;
  }
  delivery.copy();
}

}  // namespace segsam
