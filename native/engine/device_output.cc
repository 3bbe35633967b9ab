#include <ATen/Parallel.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <functional>
#include <mutex>
#include <utility>

#include "cuda/masks.h"
#include "engine/decode_output.h"
#include "ops/mask_bits.h"

namespace segsam {

namespace {

/// Memory of the logits at the original size that are held at a time, where no kernel upscales them.
constexpr int64_t kUpscaledBytes = int64_t{256} << 20;

/// What one thread writes at a time.
constexpr int64_t kBytesOfTask = int64_t{128} << 10;

void copyBytes(const uint8_t* source, int64_t count, uint8_t* target) {
  at::parallel_for(0, count, kBytesOfTask, [&](int64_t begin, int64_t end) {
    std::memcpy(target + begin, source + begin, static_cast<size_t>(end - begin));
  });
}

/// (n, words) to (n, pixels).
void expandMasks(const uint32_t* bits, int64_t count, int64_t pixels, uint8_t* target) {
  const int64_t tasksOfMask = at::divup(pixels, kBytesOfTask);
  at::parallel_for(0, count * tasksOfMask, 1, [&](int64_t begin, int64_t end) {
    for (int64_t task = begin; task < end; ++task) {
      const int64_t mask = task / tasksOfMask;
      const int64_t first = task % tasksOfMask * kBytesOfTask;
      expandBits(bits + mask * maskWords(pixels) + first / kMaskPixelsOfWord, std::min(kBytesOfTask, pixels - first),
                 target + mask * pixels + first);
    }
  });
}

/// Tensors of a device, whose values are copied to the host together and written to its arrays by all threads.
class Delivery {
 public:
  template <class T>
  void add(const at::Tensor& values, T* target) {
    add(values, [target](const uint8_t* source, int64_t bytes) {
      copyBytes(source, bytes, reinterpret_cast<uint8_t*>(target));
    });
  }

  /// @param bits (n, words)
  /// @param target (n, pixels)
  /// @return for `bitsOf`
  size_t addMasks(const at::Tensor& bits, int64_t pixels, uint8_t* target) {
    add(bits, [=, count = bits.size(0)](const uint8_t* source, int64_t /*bytes*/) {
      expandMasks(reinterpret_cast<const uint32_t*>(source), count, pixels, target);
    });
    return parts_.size() - 1;
  }

  void copy() {
    std::vector<at::Tensor> bytes;
    for (const Part& part : parts_) bytes.push_back(part.bytes);
    const at::Tensor onDevice = at::cat(bytes);
    // Page-locked, or the driver would copy through a buffer of its own.
    onHost_ = at::empty(onDevice.sizes(), at::TensorOptions(at::kByte).pinned_memory(!onDevice.is_cpu()));
    onHost_.copy_(onDevice);
  }

  /// Once they have been copied.
  void write() {
    const uint8_t* source = onHost_.const_data_ptr<uint8_t>();
    for (Part& part : parts_) {
      part.source = source;
      part.write(source, part.bytes.numel());
      source += part.bytes.numel();
    }
  }

  /// Once they have been written: (n, words).
  const uint32_t* bitsOf(size_t masks) const { return reinterpret_cast<const uint32_t*>(parts_[masks].source); }

 private:
  struct Part {
    at::Tensor bytes;
    std::function<void(const uint8_t*, int64_t)> write;
    const uint8_t* source;
  };

  /// Of 4 bytes a value, so that each part of what is copied is aligned.
  void add(const at::Tensor& values, std::function<void(const uint8_t*, int64_t)> write) {
    TORCH_CHECK(values.element_size() == sizeof(uint32_t), "Expected values of 4 bytes, got ", values.scalar_type());
    parts_.push_back({values.contiguous().flatten().view(at::kByte), std::move(write), nullptr});
  }

  std::vector<Part> parts_;
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

/// Masks whose agreement with their prompts' semantic masks is to be written.
struct Agreement {
  const DecodeRequest* request;
  size_t masks;
  size_t semantic;
};

/// IoU of masks (P, M, H, W) with semantic masks (P, H, W): (P, M).
void writeAgreement(const Delivery& delivery, const Agreement& agreement, int64_t pixels) {
  const DecodedViews& out = agreement.request->out;
  const int64_t words = maskWords(pixels);
  const uint32_t* masks = delivery.bitsOf(agreement.masks);
  const uint32_t* semantic = delivery.bitsOf(agreement.semantic);
  const int64_t masksOfTask = std::max<int64_t>(1, kBytesOfTask / (words * static_cast<int64_t>(sizeof(uint32_t))));
  at::parallel_for(0, agreement.request->prompts.count * out.masksPerPrompt, masksOfTask,
                   [&](int64_t begin, int64_t end) {
                     for (int64_t i = begin; i < end; ++i) {
                       const uint32_t* other = semantic + i / out.masksPerPrompt * words;
                       out.agreement[i] = static_cast<float>(bitsIou(masks + i * words, other, words));
                     }
                   });
}

}  // namespace

void writeOnDevice(const ChunkOutput& output, const std::vector<DecodeRequest>& requests, const Frame& frame) {
  const int64_t pixels = frame.width * frame.height;
  Delivery delivery;
  std::vector<Agreement> agreements;
  int64_t begin = 0;
  for (const DecodeRequest& request : requests) {
    const DecodedViews& out = request.out;
    const int64_t count = request.prompts.count;
    const at::Tensor logits = ChunkOutput::wanted(output.logits, begin, request).contiguous();
    const size_t masks = delivery.addMasks(maskBits(logits.flatten(0, 1), frame, request.threshold), pixels, out.masks);
    delivery.add(logits, out.logits);
    delivery.add(ChunkOutput::wanted(output.iou, begin, request), out.iou);
    if (output.isNamed()) {
      const at::Tensor semanticLogits = output.semanticLogits.narrow(0, begin, count);
      const size_t semantic =
          delivery.addMasks(maskBits(semanticLogits, frame, request.threshold), pixels, out.semanticMasks);
      agreements.push_back({&request, masks, semantic});
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
  for (const Agreement& agreement : agreements) writeAgreement(delivery, agreement, pixels);
}

}  // namespace segsam
