#include "ops/upscale.h"

#include <algorithm>
#include <cstddef>
#include <utility>

namespace segsam {

namespace {

/// The rows of an image, resized horizontally, of which the last two asked for are kept.
template <class Axis>
class RowPair {
 public:
  RowPair(const float* source, int64_t stride, const Axis& columns)
      : source_(source), stride_(stride), columns_(columns) {
    for (auto& row : rows_) row.resize(columns.first.size());
  }

  /// The resized rows `first` and `second`.
  std::pair<const float*, const float*> at(int64_t first, int64_t second) {
    if (index_[1] == first) {
      std::swap(rows_[0], rows_[1]);
      std::swap(index_[0], index_[1]);
    }
    load(0, first);
    load(1, second);
    return {rows_[0].data(), rows_[1].data()};
  }

 private:
  void load(int slot, int64_t index) {
    if (index_[slot] == index) return;
    columns_.interpolate(source_ + index * stride_, rows_[slot].data());
    index_[slot] = index;
  }

  const float* source_;
  int64_t stride_;
  const Axis& columns_;
  std::vector<float> rows_[2];
  int64_t index_[2] = {-1, -1};
};

}  // namespace

MaskUpscaler::Axis::Axis(int64_t from, int64_t to, int64_t count) : first(count), second(count), weight(count) {
  // In single precision, as ATen computes it, so that the same pixels lie above the threshold.
  const float scale = static_cast<float>(from) / static_cast<float>(to);
  for (int64_t i = 0; i < count; ++i) {
    const float position = std::max(0.0f, scale * (static_cast<float>(i) + 0.5f) - 0.5f);
    const int64_t index = std::min(static_cast<int64_t>(position), from - 1);
    first[i] = static_cast<int32_t>(index);
    second[i] = static_cast<int32_t>(std::min(index + 1, from - 1));
    weight[i] = std::min(1.0f, position - static_cast<float>(index));
  }
}

void MaskUpscaler::Axis::interpolate(const float* source, float* target) const {
  for (size_t i = 0; i < first.size(); ++i) {
    target[i] = (1.0f - weight[i]) * source[first[i]] + weight[i] * source[second[i]];
  }
}

MaskUpscaler::MaskUpscaler(int64_t logitsSide, const Frame& frame)
    : frame_(frame),
      logitsSide_(logitsSide),
      inputColumns_(logitsSide, frame.side, frame.resizedWidth),
      inputRows_(logitsSide, frame.side, frame.resizedHeight),
      columns_(frame.resizedWidth, frame.width, frame.width),
      rows_(frame.resizedHeight, frame.height, frame.height) {}

std::vector<float> MaskUpscaler::toInput(const float* logits) const {
  const int64_t width = frame_.resizedWidth;
  std::vector<float> input(width * frame_.resizedHeight);
  RowPair<Axis> source(logits, logitsSide_, inputColumns_);
  for (int64_t y = 0; y < frame_.resizedHeight; ++y) {
    const auto [above, below] = source.at(inputRows_.first[y], inputRows_.second[y]);
    const float weight = inputRows_.weight[y];
    float* target = input.data() + y * width;
    for (int64_t x = 0; x < width; ++x) target[x] = (1.0f - weight) * above[x] + weight * below[x];
  }
  return input;
}

void MaskUpscaler::writeRows(const std::vector<float>& input, float threshold, int64_t begin, int64_t end,
                             uint8_t* mask) const {
  RowPair<Axis> source(input.data(), frame_.resizedWidth, columns_);
  for (int64_t y = begin; y < end; ++y) {
    const auto [above, below] = source.at(rows_.first[y], rows_.second[y]);
    const float weight = rows_.weight[y];
    uint8_t* target = mask + y * frame_.width;
    for (int64_t x = 0; x < frame_.width; ++x) {
      target[x] = (1.0f - weight) * above[x] + weight * below[x] > threshold ? 1 : 0;
    }
  }
}

}  // namespace segsam
