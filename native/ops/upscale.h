#pragma once

#include <cstdint>
#include <vector>

#include "ops/frame.h"

namespace segsam {

/// Low-resolution mask logits to masks of the original image: bilinearly to the model's input, cropped to the part the
/// image covers, bilinearly to the original size, thresholded. No more than one mask at input size and two rows at the
/// original size are held at a time.
/// Source: segment-anything, `modeling/sam.py` (postprocess_masks).
class MaskUpscaler {
 public:
  /// @param logitsSide side of the low-resolution logits
  MaskUpscaler(int64_t logitsSide, const Frame& frame);

  /// (logitsSide, logitsSide) logits to the logits of the cropped input, (resizedHeight, resizedWidth).
  std::vector<float> toInput(const float* logits) const;

  /// Rows [begin, end) of the (height, width) mask: 1 where the logit exceeds `threshold`. Safe to call from several
  /// threads for different rows of the same mask.
  /// @param input the result of `toInput`
  /// @param mask the first pixel of the whole mask
  void writeRows(const std::vector<float>& input, float threshold, int64_t begin, int64_t end, uint8_t* mask) const;

  const Frame& frame() const { return frame_; }

 private:
  /// For each output position along one axis: the two source positions and the weight of the second.
  struct Axis {
    std::vector<int32_t> first;
    std::vector<int32_t> second;
    std::vector<float> weight;

    /// `count` positions of an axis that is resized from `from` to `to`.
    Axis(int64_t from, int64_t to, int64_t count);
    void interpolate(const float* source, float* target) const;
  };

  Frame frame_;
  int64_t logitsSide_;
  Axis inputColumns_;
  Axis inputRows_;
  Axis columns_;
  Axis rows_;
};

}  // namespace segsam
