#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "ops/frame.h"
#include "ops/image.h"

namespace segsam {

/// An image as the model's input: windowed to 0-255 and clamped there (ops/window.h), resized bilinearly with
/// antialiasing, normalised, and padded with zeros to the right and below. Pixels that are not a number count as the
/// window's lower end; values between pixels are not rounded to 8 bits.
/// Source of the filter, a triangle as wide as the reduction: Pillow, `Image.Resampling.BILINEAR`.
class InputRows {
 public:
  InputRows(const Image& image, const Frame& frame, const Normalisation& normalisation);

  /// Rows [begin, end) of each channel. Safe to call from several threads for different rows.
  /// @param input (3, side, side)
  void write(int64_t begin, int64_t end, float* input) const;

 private:
  /// Each output position of an axis is a weighted sum of source positions side by side.
  class Axis {
   public:
    Axis(int64_t from, int64_t to);

    int64_t first(int64_t output) const { return first_[output]; }
    int64_t count(int64_t output) const { return begin_[output + 1] - begin_[output]; }
    const float* weights(int64_t output) const { return weights_.data() + begin_[output]; }

   private:
    std::vector<int64_t> first_;
    /// Where the weights of an output begin, and where the last ones end.
    std::vector<int64_t> begin_;
    std::vector<float> weights_;
  };

  /// Row y of the input before its columns are resized: as many values as a row of the image has.
  void sumRows(int64_t y, float* sums) const;
  template <class Pixel>
  void sumRowsOf(int64_t y, float* sums) const;
  /// The columns of one channel of such a row.
  void sumColumns(const float* row, int64_t channel, float* resized) const;

  Image image_;
  std::array<double, 2> window_;
  Frame frame_;
  Normalisation normalisation_;
  Axis columns_;
  Axis rows_;
};

}  // namespace segsam
