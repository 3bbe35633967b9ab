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

/// Of `writeInput`.
struct ImageInput {
  /// (height, width, channels) in these steps, of the kernel's type.
  const void* pixels;
  int64 channelStride;
  int64 rowStride;
  int64 columnStride;
  /// (planes, outHeight, outWidth), of the kernel's type; the width is even. Planes past the channels have the last
  /// one.
  void* out;
  int channels;
  int height;
  int width;
  int outHeight;
  int outWidth;
  float low;
  float scale;
  float mean[3];
  float deviation[3];
};

/// Of `attendImage`; values of 16 bits are float16 here and below.
struct ImageAttention {
  /// (P, rows, 256), scaled; 16 bytes of a row lie together.
  const uint16* queries;
  /// (P, positions, 256), or (1, positions, 256) for all with a stride of 0.
  const uint16* image;
  int64 imageStride;
  /// (positions, 256)
  const uint16* positions;
  /// (P, parts, rows, 256): what each part of the positions adds up to.
  float* sums;
  /// (P, parts, rows, 2): the greatest score of a part, and the sum of its exponentials.
  float* scales;
  int rows;
  int positionCount;
  int parts;
};

/// Of queries, and two stages of image and positions.
constexpr int imageAttentionBytes() { return 2 * (64 + 2 * 2 * 32) * 256; }

/// Of `joinParts`.
struct JoinedParts {
  const float* sums;
  const float* scales;
  /// (P, rows, 256)
  uint16* out;
  int64 allRows;
  int rows;
  int parts;
};

/// Of `attendTokens`.
struct TokenAttention {
  /// (P, positions, 256), or (1, positions, 256) for all with a stride of 0.
  const uint16* image;
  int64 imageStride;
  /// (positions, 256)
  const uint16* positions;
  /// (P, tokens * 8, 256), scaled; the 8 heads of a token lie side by side.
  const uint16* keys;
  /// (P, tokens * 8)
  const uint16* shifts;
  /// (P, tokens * 8, 256), the channels in the order of `channelOf`.
  const uint16* values;
  /// (256)
  const uint16* bias;
  const uint16* normWeight;
  const uint16* normBias;
  /// (P, positions, 256)
  uint16* out;
  int tokens;
  int positionCount;
  /// Of 64 positions, that a block computes.
  int tiles;
  float epsilon;
};

/// Of two stages of keys or values of 8 tokens.
constexpr int tokenAttentionBytes() { return 2 * 2 * 64 * 256; }

/// The channel at a place of `TokenAttention::values`: the products of 4 lanes are then 8 channels each.
constexpr int channelOf(int place) { return place / 32 * 32 + place % 8 / 2 * 8 + place % 32 / 8 * 2 + place % 2; }

/// Of `normTokens`.
struct TokenNorm {
  /// (rows, 256), as all of them.
  const uint16* x;
  /// Null: nothing is added; likewise the positions.
  const uint16* added;
  /// (256)
  const uint16* weight;
  const uint16* bias;
  const uint16* positions;
  uint16* out;
  uint16* positioned;
  int rows;
  float epsilon;
};

/// Of `embedPoints`.
struct PointTokens {
  /// (R, 2) in pixels of the input, and (R): -1 for none, or 0 to 3.
  const float* points;
  const int64* labels;
  /// (2, halfWidth)
  const float* matrix;
  /// (5, 2 * halfWidth): of labels 0 to 3, and of none.
  const float* table;
  /// (R, 2 * halfWidth)
  float* out;
  float side;
  int halfWidth;
};

/// Of `upscaleMasks`.
struct MaskUpscaling {
  /// (P, side * side, 256)
  const uint16* image;
  /// (2, 2, 64, 256) and (64)
  const uint16* weight1;
  const uint16* bias1;
  /// (64)
  const uint16* normWeight;
  const uint16* normBias;
  /// (2, 2, 32, 64) and (32)
  const uint16* weight2;
  const uint16* bias2;
  /// (P, masks, 32)
  const uint16* vectors;
  /// (P, masks, 4 * side, 4 * side)
  float* out;
  int side;
  /// At most 8.
  int masks;
  /// Of 128 positions of all prompts.
  int tiles;
  /// Blocks that share them.
  int blocks;
  float epsilon;
};

/// Of both weights, and of biases and norm.
constexpr int maskUpscalingBytes() { return 2 * (4 * 64 * 256 + 4 * 32 * 64 + 3 * 64 + 32); }

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
