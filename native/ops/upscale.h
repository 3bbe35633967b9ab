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
/// image covers, bilinearly to the original size, thresholded. No more than one mask at input size and two rows at the
/// original size are held at a time.
/// Source: segment-anything, `modeling/sam.py` (postprocess_masks).
///
/// A value between others exceeds the threshold only where one of them does, so that what is computed at each size is
/// the rectangle around those that do.
class MaskUpscaler {
 public:
  /// The part of a mask outside of which it is 0, and the logits of the cropped input that this part is made of.
  struct Input {
    Range maskRows;
    Range maskColumns;
    Range rows;
    Range columns;
    /// (rows, columns)
    std::vector<float> logits;
  };

  /// @param logitsSide side of the low-resolution logits
  MaskUpscaler(int64_t logitsSide, const Frame& frame);

  /// @param logits (logitsSide, logitsSide)
  Input toInput(const float* logits, float threshold) const;

  /// Rows [begin, end) of the (height, width) mask: 1 where the logit exceeds `threshold`. Safe to call from several
  /// threads for different rows of the same mask.
  /// @param input the result of `toInput` for the same threshold
  /// @param mask the first pixel of the whole mask
  void writeRows(const Input& input, float threshold, int64_t begin, int64_t end, uint8_t* mask) const;

  /// What `writeRows` compares with the threshold, for every pixel.
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

    /// `count` positions of an axis that is resized from `from` to `to`.
    Axis(int64_t from, int64_t to, int64_t count);
    /// The output positions that some source position of `sources` contributes to.
    Range reachedBy(Range sources) const;
    /// The source positions that contribute to `outputs`, of which there is at least one.
    Range sourcesOf(Range outputs) const;
    /// @param source begins with the source position `offset`
    /// @param target begins with the first of `outputs`
    void interpolate(const float* source, int64_t offset, Range outputs, float* target) const;
  };

  class RowPair;

  /// Gives `write` every row of [begin, end) that has a part outside of which the mask is 0: its place, and the logit
  /// of each column of that part.
  template <typename Write>
  void eachRow(const Input& input, int64_t begin, int64_t end, Write write) const;

  Frame frame_;
  int64_t logitsSide_;
  Axis inputColumns_;
  Axis inputRows_;
  Axis columns_;
  Axis rows_;
};

}  // namespace segsam
