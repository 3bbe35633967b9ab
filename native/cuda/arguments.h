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

/// Of two stages of keys and values, and of the queries and then the two biases.
constexpr int gridAttentionBytes(int slots) {
  const int biases = 2 * 128 * (slots + 8);
  return 2 * (4 * 64 * 64 + (biases > 128 * 64 ? biases : 128 * 64));
}

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

}  // namespace segsam::cuda
