#include <ATen/Parallel.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <mutex>
#include <vector>

#include "cuda/masks.h"
#include "engine/decode_output.h"
#include "engine/mask_results.h"
#include "ops/mask_bits.h"

namespace segsam {

namespace {

/// Memory of the logits at the original size that are held at a time, where no kernel upscales them.
constexpr int64_t kUpscaledBytes = int64_t{256} << 20;

/// What one thread writes at a time.
constexpr int64_t kBytesOfTask = int64_t{128} << 10;

/// Tensors of a device, whose values are copied to the host together and written to its arrays by all threads.
class Delivery {
 public:
  /// Of 4 bytes a value, so that each part of what is copied is aligned.
  template <class T>
  void add(const at::Tensor& values, T* target) {
    static_assert(sizeof(T) == 4);
    TORCH_CHECK(values.element_size() == sizeof(T), "Expected values of 4 bytes, got ", values.scalar_type());
    parts_.push_back(values.contiguous().flatten().view(at::kByte));
    targets_.push_back(reinterpret_cast<uint8_t*>(target));
  }

  void copy() {
    const at::Tensor onDevice = at::cat(parts_);
    // Page-locked, or the driver would copy through a buffer of its own.
    onHost_ = at::empty(onDevice.sizes(), at::TensorOptions(at::kByte).pinned_memory(!onDevice.is_cpu()));
    onHost_.copy_(onDevice);
  }

  /// Once they have been copied.
  void write() const {
    const uint8_t* source = onHost_.const_data_ptr<uint8_t>();
    for (size_t i = 0; i < parts_.size(); ++i) {
      at::parallel_for(0, parts_[i].numel(), kBytesOfTask, [&](int64_t begin, int64_t end) {
        std::memcpy(targets_[i] + begin, source + begin, static_cast<size_t>(end - begin));
      });
      source += parts_[i].numel();
    }
  }

 private:
  std::vector<at::Tensor> parts_;
  std::vector<uint8_t*> targets_;
  at::Tensor onHost_;
};

/// (n, H * W) masks of 0 and 1 to bits as `maskBitsOnCuda` has them.
at::Tensor packed(const at::Tensor& masks) {
  constexpr int64_t kPixelsOfByte = 8;
  const int64_t words = maskWords(masks.size(1));
  const at::Tensor padded = at::constant_pad_nd(masks, {0, words * kMaskPixelsOfWord - masks.size(1)});
  const auto options = masks.options().dtype(at::kByte);
  const at::Tensor powers =
      at::bitwise_left_shift(at::ones({kPixelsOfByte}, options), at::arange(kPixelsOfByte, options));
  const at::Tensor bytes =
      padded.to(at::kByte).view({-1, words * 4, kPixelsOfByte}).mul(powers).sum(-1, false, at::kByte);
  return bytes.view(at::kInt);
}

/// (n, side, side) logits to bits of masks (n, words) as `maskBitsOnCuda` has them.
at::Tensor maskBits(const at::Tensor& logits, const Frame& frame, float threshold) {
  if (makesMaskBitsOnCuda(logits.device())) return maskBitsOnCuda(logits, frame, threshold);
  const int64_t bytesOfOne = frame.width * frame.height * static_cast<int64_t>(sizeof(float));
  const int64_t atATime = std::max<int64_t>(1, kUpscaledBytes / bytesOfOne);
  std::vector<at::Tensor> bits;
  for (const at::Tensor& some : logits.split(atATime)) {
    const std::array<int64_t, 2> input = {frame.side, frame.side};
    const std::array<int64_t, 2> original = {frame.height, frame.width};
    const at::Tensor covered = at::upsample_bilinear2d(some.unsqueeze(1), input, false)
                                   .narrow(2, 0, frame.resizedHeight)
                                   .narrow(3, 0, frame.resizedWidth)
                                   .contiguous();
    bits.push_back(packed(at::upsample_bilinear2d(covered, original, false).gt(threshold).flatten(1)));
  }
  return bits.size() == 1 ? bits[0] : at::cat(bits);
}

}  // namespace

void writeOnDevice(const ChunkOutput& output, const std::vector<DecodeRequest>& requests, const Frame& frame) {
  Delivery delivery;
  int64_t begin = 0;
  for (const DecodeRequest& request : requests) {
    const DecodedViews& out = request.out;
    const int64_t count = request.prompts.count;
    const at::Tensor logits = ChunkOutput::wanted(output.logits, begin, request).contiguous();
    delivery.add(maskBits(logits.flatten(0, 1), frame, request.threshold), out.masks);
    delivery.add(logits, out.logits);
    delivery.add(ChunkOutput::wanted(output.iou, begin, request), out.iou);
    if (output.isNamed()) {
      const at::Tensor semanticLogits = output.semanticLogits.narrow(0, begin, count);
      delivery.add(maskBits(semanticLogits, frame, request.threshold), out.semanticMasks);
      delivery.add(semanticLogits, out.semanticLogits);
      delivery.add(output.classProbabilities.narrow(0, begin, count), out.classProbabilities);
      delivery.add(output.presence.narrow(0, begin, count), out.presence);
    }
    begin += count;
  }
  delivery.copy();
  // The threads of a GPU's two streams, and of several GPUs, share the cores: each would wait for the others' at the
  // end of every part.
  static std::mutex writing;
  const std::lock_guard lock(writing);
  delivery.write();
  for (const DecodeRequest& request : requests) {
    writeMaskResults(request, frame.width * frame.height, output.isNamed());
  }
}

}  // namespace segsam
