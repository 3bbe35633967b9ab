#pragma once

#include <cstdint>
#include <vector>

#include "ops/frame.h"

namespace segsam {

/// Positions [begin, end) of an axis.
struct Range {
  int64_t begin = 0;
  int64_t end = 0;

  int64_t size() const { return end - begin; }
};

/// Low-resolution mask logits to masks of the original image: bilinearly to the model's input, cropped to the part the
/// image covers, bilinearly to the original size, thresholded. A few rows are held at a time, in each thread.
/// Source: segment-anything, `modeling/sam.py` (postprocess_masks).
///
/// A value between others exceeds the threshold only where one of them does, so that what is computed at each size is
/// the rectangle around those that do.
class MaskUpscaler {
 public:
  /// Pixels of the original image, outside of which a mask is 0.
  struct Part {
    Range rows;
    Range columns;
  };

  /// @param logitsSide side of the low-resolution logits
  MaskUpscaler(int64_t logitsSide, const Frame& frame);

  /// Empty where no logit exceeds the threshold.
  /// @param logits (logitsSide, logitsSide)
  Part partOf(const float* logits, float threshold) const;

  /// Rows [begin, end) of the mask as bits (mask_bits.h): set where the logit exceeds `threshold`. Safe to call from
  /// several threads for different rows of the same mask.
  /// @param part what `partOf` gave for these logits and this threshold
  /// @param begin a multiple of kMaskPixelsOfWord rows, as `end` is unless it is the height
  /// @param mask the first word of the whole mask
  void writeBits(const float* logits, const Part& part, float threshold, int64_t begin, int64_t end,
                 uint32_t* mask) const;

  /// Pixels of the original image whose logit exceeds `threshold`.
  /// @param logits (logitsSide, logitsSide)
  int64_t areaAbove(const float* logits, float threshold) const;

  /// What these compare with the threshold, for every pixel.
  /// @param logits (logitsSide, logitsSide)
  /// @param target (height, width)
  void writeLogits(const float* logits, float* target) const;

  const Frame& frame() const { return frame_; }
  int64_t logitsSide() const { return logitsSide_; }

 private:
  /// For each output position along one axis: the two source positions and the weight of the second.
  struct Axis {
    std::vector<int32_t> first;
    std::vector<int32_t> second;
    std::vector<float> weight;
    /// Output and source positions are the same.
    bool same;

    /// `count` positions of an axis that is resized from `from` to `to`.
    Axis(int64_t from, int64_t to, int64_t count);
    /// The output positions that some source position of `sources` contributes to.
    Range reachedBy(Range sources) const;
    /// The source positions that contribute to `outputs`, of which there is at least one.
    Range sourcesOf(Range outputs) const;
  };

  template <class Source>
  class Rows;

  /// Gives `write` the rows of [begin, end) that belong to the part: the place of each, and what it lies between.
  template <class Write>
  void eachRow(const float* logits, const Part& part, int64_t begin, int64_t end, Write write) const;

  Frame frame_;
  int64_t logitsSide_;
  Axis inputColumns_;
  Axis inputRows_;
  Axis columns_;
  Axis rows_;
};

}  // namespace segsam
