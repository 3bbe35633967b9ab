#include "ops/upscale.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <utility>

namespace segsam {

namespace {

/// Rounding may carry what lies between two values this far above both, relative to the threshold.
constexpr float kRounding = 1e-5f;

/// The rows and columns around the logits of a square that exceed the threshold, empty where none does.
std::pair<Range, Range> around(const float* logits, int64_t side, float threshold) {
  const float least = threshold - kRounding * std::abs(threshold);
  Range rows{side, side};
  Range columns{side, 0};
  for (int64_t y = 0; y < side; ++y) {
    const float* row = logits + y * side;
    const auto exceeds = [least](float logit) { return logit > least; };
    const float* first = std::find_if(row, row + side, exceeds);
    if (first == row + side) continue;
    rows = {std::min(rows.begin, y), y + 1};
    int64_t last = side - 1;
    while (!exceeds(row[last])) --last;
    columns = {std::min<int64_t>(columns.begin, first - row), std::max(columns.end, last + 1)};
  }
  return {rows, {std::min(columns.begin, columns.end), columns.end}};
}

}  // namespace

/// Rows of a source, resized horizontally, of which the last two asked for are kept.
class MaskUpscaler::RowPair {
 public:
  /// @param source begins with row `rowOffset` and column `columnOffset`
  RowPair(const float* source, int64_t stride, int64_t rowOffset, int64_t columnOffset, const Axis& columns,
          Range outputs)
      : source_(source),
        stride_(stride),
        rowOffset_(rowOffset),
        columnOffset_(columnOffset),
        columns_(columns),
        outputs_(outputs) {
    for (auto& row : rows_) row.resize(outputs.size());
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
    columns_.interpolate(source_ + (index - rowOffset_) * stride_, columnOffset_, outputs_, rows_[slot].data());
    index_[slot] = index;
  }

  const float* source_;
  int64_t stride_;
  int64_t rowOffset_;
  int64_t columnOffset_;
  const Axis& columns_;
  Range outputs_;
  std::vector<float> rows_[2];
  int64_t index_[2] = {-1, -1};
};

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

Range MaskUpscaler::Axis::reachedBy(Range sources) const {
  if (sources.size() == 0) return {};
  // Both grow along the axis.
  const auto begin = std::lower_bound(second.begin(), second.end(), sources.begin);
  const auto end = std::lower_bound(first.begin(), first.end(), sources.end);
  const Range outputs{begin - second.begin(), end - first.begin()};
  return outputs.size() > 0 ? outputs : Range{};
}

Range MaskUpscaler::Axis::sourcesOf(Range outputs) const { return {first[outputs.begin], second[outputs.end - 1] + 1}; }

void MaskUpscaler::Axis::interpolate(const float* source, int64_t offset, Range outputs, float* target) const {
  for (int64_t i = outputs.begin; i < outputs.end; ++i) {
    *target++ = (1.0f - weight[i]) * source[first[i] - offset] + weight[i] * source[second[i] - offset];
  }
}

MaskUpscaler::MaskUpscaler(int64_t logitsSide, const Frame& frame)
    : frame_(frame),
      logitsSide_(logitsSide),
      inputColumns_(logitsSide, frame.side, frame.resizedWidth),
      inputRows_(logitsSide, frame.side, frame.resizedHeight),
      columns_(frame.resizedWidth, frame.width, frame.width),
      rows_(frame.resizedHeight, frame.height, frame.height) {}

MaskUpscaler::Input MaskUpscaler::toInput(const float* logits, float threshold) const {
  const auto [logitRows, logitColumns] = around(logits, logitsSide_, threshold);
  Input input;
  input.maskRows = rows_.reachedBy(inputRows_.reachedBy(logitRows));
  input.maskColumns = columns_.reachedBy(inputColumns_.reachedBy(logitColumns));
  if (input.maskRows.size() == 0 || input.maskColumns.size() == 0) return {};
  input.rows = rows_.sourcesOf(input.maskRows);
  input.columns = columns_.sourcesOf(input.maskColumns);

  const int64_t width = input.columns.size();
  input.logits.resize(input.rows.size() * width);
  RowPair source(logits, logitsSide_, 0, 0, inputColumns_, input.columns);
  float* target = input.logits.data();
  for (int64_t y = input.rows.begin; y < input.rows.end; ++y) {
    const auto [above, below] = source.at(inputRows_.first[y], inputRows_.second[y]);
    const float weight = inputRows_.weight[y];
    for (int64_t x = 0; x < width; ++x) target[x] = (1.0f - weight) * above[x] + weight * below[x];
    target += width;
  }
  return input;
}

template <typename Write>
void MaskUpscaler::eachRow(const Input& input, int64_t begin, int64_t end, Write write) const {
  RowPair source(input.logits.data(), input.columns.size(), input.rows.begin, input.columns.begin, columns_,
                 input.maskColumns);
  for (int64_t y = std::max(begin, input.maskRows.begin); y < std::min(end, input.maskRows.end); ++y) {
    const auto [above, below] = source.at(rows_.first[y], rows_.second[y]);
    write(y, [above = above, below = below, weight = rows_.weight[y]](int64_t x) {
      return (1.0f - weight) * above[x] + weight * below[x];
    });
  }
}

void MaskUpscaler::writeRows(const Input& input, float threshold, int64_t begin, int64_t end, uint8_t* mask) const {
  std::fill(mask + begin * frame_.width, mask + end * frame_.width, uint8_t{0});
  const int64_t width = input.maskColumns.size();
  eachRow(input, begin, end, [&](int64_t y, auto logitAt) {
    uint8_t* target = mask + y * frame_.width + input.maskColumns.begin;
    for (int64_t x = 0; x < width; ++x) target[x] = logitAt(x) > threshold ? 1 : 0;
  });
}

void MaskUpscaler::writeLogits(const float* logits, float* target) const {
  const Input everything = toInput(logits, std::numeric_limits<float>::lowest());
  eachRow(everything, 0, frame_.height, [&](int64_t y, auto logitAt) {
    float* row = target + y * frame_.width;
    for (int64_t x = 0; x < frame_.width; ++x) row[x] = logitAt(x);
  });
}

}  // namespace segsam
