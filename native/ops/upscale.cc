#include "ops/upscale.h"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <utility>

#include "ops/mask.h"
#include "ops/mask_bits.h"
#include "ops/vector_loops.h"

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

/// A row of the result lies between two rows of the source.
struct Between {
  const float* above;
  const float* below;
  /// Of the row below.
  float weight;
};

// These round as ATen does, which neither adds products in one step nor orders the sums otherwise, so that the same
// pixels lie above the threshold (CMakeLists.txt).

SEG_SAM_CLONES
void blend(const Between& rows, int64_t count, float* target) {
  const float* above = rows.above;
  const float* below = rows.below;
  const float ofBelow = rows.weight;
  const float ofAbove = 1.0f - ofBelow;
#pragma omp simd
  for (int64_t x = 0; x < count; ++x) target[x] = ofAbove * above[x] + ofBelow * below[x];
}

/// @param source begins with place `offset`
SEG_SAM_CLONES
void interpolate(const float* source, int32_t offset, const int32_t* first, const int32_t* second, const float* weights,
                 int64_t count, float* target) {
#pragma omp simd
  for (int64_t i = 0; i < count; ++i) {
    target[i] = (1.0f - weights[i]) * source[first[i] - offset] + weights[i] * source[second[i] - offset];
  }
}

/// In blocks, as a loop that compares and narrows in one is not made of vectors.
SEG_SAM_CLONES
void compare(const Between& rows, int64_t count, float threshold, uint8_t* target) {
  constexpr int64_t kBlock = 64;
  const float ofBelow = rows.weight;
  const float ofAbove = 1.0f - ofBelow;
  for (int64_t first = 0; first < count; first += kBlock) {
    const int64_t inBlock = std::min(kBlock, count - first);
    const float* above = rows.above + first;
    const float* below = rows.below + first;
    int32_t exceeds[kBlock];
#pragma omp simd
    for (int64_t x = 0; x < inBlock; ++x) exceeds[x] = ofAbove * above[x] + ofBelow * below[x] > threshold ? 1 : 0;
#pragma omp simd
    for (int64_t x = 0; x < inBlock; ++x) target[first + x] = static_cast<uint8_t>(exceeds[x]);
  }
}

}  // namespace

MaskUpscaler::Axis::Axis(int64_t from, int64_t to, int64_t count)
    : first(count), second(count), weight(count), same(from == to && count <= from) {
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

/// Rows of a source, resized; fast where they are asked for from top to bottom.
template <class Source>
class MaskUpscaler::Rows {
 public:
  /// @param source gives a row of the source, which begins with column `offset` and lasts until it is asked again
  /// @param outputs the columns that are made
  Rows(Source source, int64_t offset, const Axis& rows, const Axis& columns, Range outputs)
      : source_(std::move(source)), offset_(offset), ofRows_(rows), ofColumns_(columns), outputs_(outputs) {
    for (auto& row : rows_) row.resize(outputs.size());
  }

  Between at(int64_t y) {
    const int64_t first = ofRows_.first[y];
    if (index_[1] == first) {
      std::swap(rows_[0], rows_[1]);
      std::swap(index_[0], index_[1]);
    }
    load(0, first);
    load(1, ofRows_.second[y]);
    return {rows_[0].data(), rows_[1].data(), ofRows_.weight[y]};
  }

 private:
  void load(int slot, int64_t index) {
    if (index_[slot] == index) return;
    index_[slot] = index;
    const float* row = source_(index);
    if (ofColumns_.same) {
      std::copy_n(row + outputs_.begin - offset_, outputs_.size(), rows_[slot].data());
      return;
    }
    const int64_t begin = outputs_.begin;
    interpolate(row, static_cast<int32_t>(offset_), ofColumns_.first.data() + begin, ofColumns_.second.data() + begin,
                ofColumns_.weight.data() + begin, outputs_.size(), rows_[slot].data());
  }

  Source source_;
  int64_t offset_;
  const Axis& ofRows_;
  const Axis& ofColumns_;
  Range outputs_;
  std::vector<float> rows_[2];
  int64_t index_[2] = {-1, -1};
};

MaskUpscaler::MaskUpscaler(int64_t logitsSide, const Frame& frame)
    : frame_(frame),
      logitsSide_(logitsSide),
      inputColumns_(logitsSide, frame.side, frame.resizedWidth),
      inputRows_(logitsSide, frame.side, frame.resizedHeight),
      columns_(frame.resizedWidth, frame.width, frame.width),
      rows_(frame.resizedHeight, frame.height, frame.height) {}

MaskUpscaler::Part MaskUpscaler::partOf(const float* logits, float threshold) const {
  const auto [logitRows, logitColumns] = around(logits, logitsSide_, threshold);
  const Part part{rows_.reachedBy(inputRows_.reachedBy(logitRows)),
                  columns_.reachedBy(inputColumns_.reachedBy(logitColumns))};
  return part.rows.size() == 0 || part.columns.size() == 0 ? Part{} : part;
}

template <class Write>
void MaskUpscaler::eachRow(const float* logits, const Part& part, int64_t begin, int64_t end, Write write) const {
  const Range rows{std::max(begin, part.rows.begin), std::min(end, part.rows.end)};
  if (rows.size() <= 0) return;
  const Range columns = columns_.sourcesOf(part.columns);
  const auto logitRow = [&](int64_t y) { return logits + y * logitsSide_; };
  Rows inputs(logitRow, 0, inputRows_, inputColumns_, columns);
  std::vector<float> input(columns.size());
  const auto inputRow = [&](int64_t y) {
    blend(inputs.at(y), columns.size(), input.data());
    return input.data();
  };
  Rows outputs(inputRow, columns.begin, rows_, columns_, part.columns);
  for (int64_t y = rows.begin; y < rows.end; ++y) write(y, outputs.at(y));
}

void MaskUpscaler::writeBits(const float* logits, const Part& part, float threshold, int64_t begin, int64_t end,
                             uint32_t* mask) const {
  // So many rows are whole words, wherever the rows among them end.
  constexpr int64_t kRows = kMaskPixelsOfWord;
  const int64_t width = frame_.width;
  std::fill(mask + begin / kRows * width, mask + maskWords(end * width), 0u);
  // The rows from `first` on.
  std::vector<uint8_t> block;
  int64_t first = begin;
  const auto pack = [&] { packBits(block.data(), std::ssize(block), mask + first / kRows * width); };
  eachRow(logits, part, begin, end, [&](int64_t y, const Between& rows) {
    if (block.empty() || y >= first + kRows) {
      pack();
      first = y / kRows * kRows;
      block.assign(std::min(kRows, end - first) * width, 0);
    }
    compare(rows, part.columns.size(), threshold, block.data() + (y - first) * width + part.columns.begin);
  });
  pack();
}

int64_t MaskUpscaler::areaAbove(const float* logits, float threshold) const {
  const Part part = partOf(logits, threshold);
  std::vector<uint8_t> pixels(part.columns.size());
  int64_t area = 0;
  eachRow(logits, part, 0, frame_.height, [&](int64_t /*y*/, const Between& rows) {
    compare(rows, part.columns.size(), threshold, pixels.data());
    area += countSet(pixels.data(), part.columns.size());
  });
  return area;
}

void MaskUpscaler::writeLogits(const float* logits, float* target) const {
  const Part whole{{0, frame_.height}, {0, frame_.width}};
  eachRow(logits, whole, 0, frame_.height,
          [&](int64_t y, const Between& rows) { blend(rows, frame_.width, target + y * frame_.width); });
}

}  // namespace segsam
