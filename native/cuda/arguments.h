#pragma once

/// What the kernels of this folder take, for them and for what launches them. Values of 16 bits are bfloat16 or
/// float16.
namespace segsam::cuda {

using uint16 = unsigned short;
using uint32 = unsigned int;
using int64 = long long;

/// Of `attendGrid`.
struct GridAttention {
  /// (B, grid, grid, 3, heads, 64): queries, keys and values.
  const uint16* qkv;
  /// (3, heads, 64): what positions beyond the grid have.
  const uint16* bias;
  /// (2 window - 1, 64); row q - k + window - 1 belongs to query q and key k.
  const uint16* tableH;
  const uint16* tableW;
  /// (B, grid, grid, heads, 64)
  uint16* out;
  int grid;
  /// Side of a window; that of the grid where there is one.
  int window;
  int heads;
  float scale;
};

/// Of queries, two stages of keys and values, and the two biases.
constexpr int gridAttentionBytes(int slots) { return 2 * (128 * 64 + 4 * 64 * 64 + 2 * 128 * (slots + 2)); }

/// Of `normRows`.
struct RowNorm {
  /// (rows, width); the width is a multiple of 8 and at most 48 times Lanes.
  const uint16* x;
  const float* weight;
  const float* bias;
  uint16* out;
  int64 rows;
  int width;
  float epsilon;
  bool gelu;
};

/// An axis of masks.
struct MaskAxis {
  /// Of the original image, in pixels.
  int size;
  /// Of the part of the model's input that the image covers, in pixels.
  int covered;
  /// covered / size
  float coveredScale;
  /// Side of the logits / side of the input.
  float logitScale;
};

/// Of `writeMaskBits`.
struct MaskBits {
  /// (n, side, side)
  const float* logits;
  /// (n, words): the pixels in row-major order, 32 a word, the least significant bit first; 0 beyond the last.
  uint32* bits;
  int64 words;
  MaskAxis rows;
  MaskAxis columns;
  int side;
  float threshold;
};

constexpr int kMaskWordsOfBlock = 256;

}  // namespace segsam::cuda
