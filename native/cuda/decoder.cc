#include "cuda/decoder.h"

#include <ATen/DeviceGuard.h>
#include <ATen/Parallel.h>

#include <algorithm>
#include <array>
#include <string>

#include "cuda/arguments.h"
#include "cuda/halves.h"
#include "cuda/kernel.h"

namespace segsam {

namespace {

constexpr int64_t kWidth = 256;
constexpr int64_t kHeads = 8;
constexpr int kBlocksOfProcessor = 2;
constexpr int64_t kMostTokens = 32;
constexpr int64_t kMostMasks = 8;

const Kernel& imageAttention() {
  static const Kernel kernel = {"cuda/image_attention.h",   "attendImage", "ImageAttention", 128, kBlocksOfProcessor,
                                cuda::imageAttentionBytes()};
  return kernel;
}

const Kernel& partsJoined() {
  static const Kernel kernel = {"cuda/image_attention.h", "joinParts", "JoinedParts", 128, 4, 0};
  return kernel;
}

/// For up to `tokens`, a multiple of 8.
Kernel tokenKernel(int tokens) {
  return {"cuda/token_attention.h", "attendTokens<" + std::to_string(tokens) + ">",
          "TokenAttention",         128,
          kBlocksOfProcessor,       cuda::tokenAttentionBytes()};
}

const Kernel& tokenAttention(int64_t tokens) {
  static const std::array<Kernel, kMostTokens / 8> kernels = {tokenKernel(8), tokenKernel(16), tokenKernel(24),
                                                              tokenKernel(32)};
  return kernels[(tokens - 1) / 8];
}

const Kernel& tokenNorm() {
  static const Kernel kernel = {"cuda/token_rows.h", "normTokens", "TokenNorm", 128, 4, 0};
  return kernel;
}

const Kernel& pointTokens() {
  static const Kernel kernel = {"cuda/token_rows.h", "embedPoints", "PointTokens", 128, 4, 0};
  return kernel;
}

const Kernel& maskUpscaling() {
  static const Kernel kernel = {"cuda/mask_upscaling.h",   "upscaleMasks", "MaskUpscaling", 256, 1,
                                cuda::maskUpscalingBytes()};
  return kernel;
}

void expectHalves(const at::Tensor& tensor, at::IntArrayRef sizes, const char* name) {
  TORCH_CHECK(tensor.scalar_type() == at::kHalf && tensor.sizes() == sizes && tensor.is_contiguous(), "Expected ", name,
              " in float16 of ", sizes, ", side by side, got ", tensor.scalar_type(), " of ", tensor.sizes());
}

/// @return positions of the image
int64_t expectImage(const at::Tensor& image, const at::Tensor& positions, int64_t prompts) {
  const int64_t length = image.size(1);
  TORCH_CHECK(image.size(0) == prompts || image.size(0) == 1, "Expected one image, or one for each prompt");
  expectHalves(image, {image.size(0), length, kWidth}, "an image");
  expectHalves(positions, {1, length, kWidth}, "positions");
  return length;
}

int64_t strideOf(const at::Tensor& image) { return image.size(0) == 1 ? 0 : image.stride(0); }

}  // namespace

bool decodesOnCuda(int64_t width, int64_t heads, int64_t side) {
  return width == kWidth && heads == kHeads && side % 16 == 0;
}

void prepareDecoder(at::Device device) {
  prepareKernel(imageAttention(), device);
  prepareKernel(partsJoined(), device);
  for (int64_t tokens = 8; tokens <= kMostTokens; tokens += 8) prepareKernel(tokenAttention(tokens), device);
  // Needs more shared memory than many GPUs have, and is done without where it cannot run.
  canRun(maskUpscaling(), device);
  prepareKernel(tokenNorm(), device);
  prepareKernel(pointTokens(), device);
}

at::Tensor promptedImageOnCuda(const at::Tensor& embedding, const at::Tensor& dense, int64_t prompts) {
  const at::DeviceGuard guard(embedding.device());
  const auto toRows = [](const at::Tensor& image) { return image.permute({0, 2, 3, 1}); };
  at::Tensor image = toRows(embedding);
  if (image.size(0) > 1) image = image.repeat_interleave(prompts / image.size(0), 0);
  const int64_t images = std::max(image.size(0), dense.size(0));
  at::Tensor sum = at::empty({images, image.size(1), image.size(2), image.size(3)}, image.options().dtype(at::kHalf));
  at::add_out(sum, image, toRows(dense));
  return sum.flatten(1, 2);
}

at::Tensor embedPointsOnCuda(const at::Tensor& points, const at::Tensor& labels, const at::Tensor& matrix,
                             const at::Tensor& table, double side) {
  const at::DeviceGuard guard(points.device());
  const int64_t halfWidth = matrix.size(1);
  TORCH_CHECK(points.scalar_type() == at::kFloat && labels.scalar_type() == at::kLong && points.is_contiguous() &&
                  labels.is_contiguous() && matrix.is_contiguous() && table.is_contiguous() &&
                  matrix.scalar_type() == at::kFloat && table.scalar_type() == at::kFloat &&
                  points.numel() == 2 * labels.numel() && matrix.size(0) == 2 && table.size(0) == 5 &&
                  table.size(1) == 2 * halfWidth,
              "Expected points (P, N, 2), labels (P, N), a matrix and a table, got ", points.sizes(), labels.sizes(),
              matrix.sizes(), table.sizes());
  at::Tensor out = at::empty({points.size(0), points.size(1), 2 * halfWidth}, points.options());
  cuda::PointTokens arguments = {
      points.data_ptr<float>(),   reinterpret_cast<const cuda::int64*>(labels.data_ptr<int64_t>()),
      matrix.data_ptr<float>(),   table.data_ptr<float>(),
      out.data_ptr<float>(),      static_cast<float>(side),
      static_cast<int>(halfWidth)};
  launchKernel(pointTokens(), points.device(), {static_cast<unsigned>(labels.numel()), 1, 1}, &arguments);
  return out;
}

std::tuple<at::Tensor, at::Tensor> normTokensOnCuda(const at::Tensor& x, const std::optional<at::Tensor>& added,
                                                    const at::Tensor& weight, const at::Tensor& bias, double epsilon,
                                                    const std::optional<at::Tensor>& positions) {
  const at::DeviceGuard guard(x.device());
  expectHalves(x, {x.size(0), x.size(1), kWidth}, "tokens");
  if (added) expectHalves(*added, x.sizes(), "what is added");
  if (positions) expectHalves(*positions, x.sizes(), "positions");
  for (const at::Tensor& vector : {weight, bias}) expectHalves(vector, {kWidth}, "a vector");
  at::Tensor out = at::empty(x.sizes(), x.options());
  at::Tensor positioned = at::empty(positions ? x.sizes() : at::IntArrayRef({0}), x.options());
  const int64_t rows = x.size(0) * x.size(1);
  cuda::TokenNorm arguments = {halvesOf(x),
                               added ? halvesOf(*added) : nullptr,
                               halvesOf(weight),
                               halvesOf(bias),
                               positions ? halvesOf(*positions) : nullptr,
                               halvesOf(out),
                               halvesOf(positioned),
                               static_cast<int>(rows),
                               static_cast<float>(epsilon)};
  constexpr int64_t kRowsOfBlock = 4;
  launchKernel(tokenNorm(), x.device(), {static_cast<unsigned>(at::divup(rows, kRowsOfBlock)), 1, 1}, &arguments);
  return {out, positioned};
}

at::Tensor attendImageOnCuda(const at::Tensor& queries, const at::Tensor& image, const at::Tensor& positions, bool) {
  const at::DeviceGuard guard(image.device());
  const int64_t prompts = queries.size(0);
  const int64_t rows = queries.size(1);
  const int64_t length = expectImage(image, positions, prompts);
  expectHalves(queries, {prompts, rows, kWidth}, "queries");
  constexpr int64_t kRows = 64;
  constexpr int64_t kKeys = 32;
  const int64_t tiles = at::divup(rows, kRows);
  const int64_t parts =
      std::clamp(kBlocksOfProcessor * processorsOf(image.device()) / (prompts * tiles), int64_t{1}, length / kKeys);
  const auto floats = image.options().dtype(at::kFloat);
  const at::Tensor sums = at::empty({prompts, parts, rows, kWidth}, floats);
  const at::Tensor scales = at::empty({prompts, parts, rows, 2}, floats);
  at::Tensor out = at::empty({prompts, rows, kWidth}, image.options());
  cuda::ImageAttention arguments = {halvesOf(queries),      halvesOf(image),          strideOf(image),
                                    halvesOf(positions),    sums.data_ptr<float>(),   scales.data_ptr<float>(),
                                    static_cast<int>(rows), static_cast<int>(length), static_cast<int>(parts)};
  launchKernel(imageAttention(), image.device(),
               {static_cast<unsigned>(parts), static_cast<unsigned>(tiles), static_cast<unsigned>(prompts)},
               &arguments);
  cuda::JoinedParts joined = {sums.data_ptr<float>(), scales.data_ptr<float>(), halvesOf(out),
                              prompts * rows,         static_cast<int>(rows),   static_cast<int>(parts)};
  constexpr int64_t kRowsOfBlock = 4;
  launchKernel(partsJoined(), image.device(), {static_cast<unsigned>(at::divup(prompts * rows, kRowsOfBlock)), 1, 1},
               &joined);
  return out;
}

at::Tensor attendTokensOnCuda(const at::Tensor& image, const at::Tensor& positions, const at::Tensor& keys,
                              const at::Tensor& shifts, const at::Tensor& values, const at::Tensor& bias, int64_t heads,
                              const at::Tensor& normWeight, const at::Tensor& normBias, double epsilon, bool) {
  const at::DeviceGuard guard(image.device());
  const int64_t prompts = keys.size(0);
  const int64_t tokens = keys.size(1) / heads;
  if (tokens > kMostTokens) {
    return attendManyTokens(image, positions, keys, shifts, values.flatten(2), bias, heads, normWeight, normBias,
                            epsilon);
  }
  const int64_t length = expectImage(image, positions, prompts);
  TORCH_CHECK(heads == kHeads, "Expected ", kHeads, " heads, got ", heads);
  expectHalves(keys, {prompts, tokens * heads, kWidth}, "keys");
  expectHalves(shifts, {prompts, tokens * heads}, "shifts");
  for (const at::Tensor& vector : {bias, normWeight, normBias}) expectHalves(vector, {kWidth}, "a vector");
  // As cuda::channelOf has it: of 32 channels, pairs (4, 4, 2) change places.
  const at::Tensor ordered =
      values.reshape({prompts, tokens * heads, kWidth / 32, 4, 4, 2}).transpose(3, 4).contiguous();
  at::Tensor out = at::empty({prompts, length, kWidth}, image.options());
  constexpr int64_t kRows = 64;
  const int64_t tiles = length / kRows;
  const int64_t tilesOfBlock =
      std::clamp(at::divup(prompts * tiles, kBlocksOfProcessor * processorsOf(image.device())), int64_t{1}, tiles);
  cuda::TokenAttention arguments = {halvesOf(image),
                                    strideOf(image),
                                    halvesOf(positions),
                                    halvesOf(keys),
                                    halvesOf(shifts),
                                    halvesOf(ordered),
                                    halvesOf(bias),
                                    halvesOf(normWeight),
                                    halvesOf(normBias),
                                    halvesOf(out),
                                    static_cast<int>(tokens),
                                    static_cast<int>(length),
                                    static_cast<int>(tilesOfBlock),
                                    static_cast<float>(epsilon)};
  launchKernel(tokenAttention(tokens), image.device(),
               {static_cast<unsigned>(at::divup(tiles, tilesOfBlock)), static_cast<unsigned>(prompts), 1}, &arguments);
  return out;
}

at::Tensor attendManyTokens(const at::Tensor& image, const at::Tensor& positions, const at::Tensor& keys,
                            const at::Tensor& shifts, const at::Tensor& values, const at::Tensor& bias, int64_t heads,
                            const at::Tensor& normWeight, const at::Tensor& normBias, double epsilon) {
  const at::Tensor scores = (image + positions).matmul(keys.transpose(1, 2)) + shifts.unsqueeze(1);
  const at::Tensor weights = scores.unflatten(2, {-1, heads}).softmax(2).flatten(2);
  return at::layer_norm(weights.matmul(values) + (image + bias), {image.size(2)}, normWeight, normBias, epsilon);
}

at::Tensor upscaleMasksOnCuda(const at::Tensor& image, int64_t side, const at::Tensor& weight1,
                              const std::optional<at::Tensor>& bias1, const at::Tensor& normWeight,
                              const at::Tensor& normBias, double epsilon, const at::Tensor& weight2,
                              const std::optional<at::Tensor>& bias2, const at::Tensor& masks, bool) {
  const at::DeviceGuard guard(image.device());
  const int64_t prompts = image.size(0);
  const int64_t middle = kWidth / 4;
  const int64_t last = kWidth / 8;
  TORCH_CHECK(bias1 && bias2, "Expected convolutions with a bias");
  TORCH_CHECK(side % 16 == 0 && masks.size(1) <= kMostMasks, "Expected a side of 16 n and at most ", kMostMasks,
              " masks, got ", side, " and ", masks.size(1));
  expectHalves(image, {prompts, side * side, kWidth}, "an image");
  if (!canRun(maskUpscaling(), image.device())) {
    return upscaleByLibtorch(image, side, weight1, *bias1, normWeight, normBias, epsilon, weight2, *bias2, masks);
  }
  const at::Tensor vectors = masks.contiguous();
  expectHalves(vectors, {prompts, masks.size(1), last}, "vectors of masks");
  const at::Tensor laid1 = weight1.permute({2, 3, 1, 0}).contiguous();
  const at::Tensor laid2 = weight2.permute({2, 3, 1, 0}).contiguous();
  expectHalves(laid1, {2, 2, middle, kWidth}, "a convolution's weight");
  expectHalves(laid2, {2, 2, last, middle}, "a convolution's weight");
  for (const at::Tensor& vector : {*bias1, normWeight, normBias}) expectHalves(vector, {middle}, "a vector");
  expectHalves(*bias2, {last}, "a vector");
  at::Tensor out = at::empty({prompts, masks.size(1), 4 * side, 4 * side}, image.options().dtype(at::kFloat));
  constexpr int64_t kPositions = 128;
  const int64_t tiles = prompts * side * side / kPositions;
  const int64_t blocks = std::min<int64_t>(tiles, processorsOf(image.device()));
  cuda::MaskUpscaling arguments = {halvesOf(image),
                                   halvesOf(laid1),
                                   halvesOf(*bias1),
                                   halvesOf(normWeight),
                                   halvesOf(normBias),
                                   halvesOf(laid2),
                                   halvesOf(*bias2),
                                   halvesOf(vectors),
                                   out.data_ptr<float>(),
                                   static_cast<int>(side),
                                   static_cast<int>(masks.size(1)),
                                   static_cast<int>(tiles),
                                   static_cast<int>(blocks),
                                   static_cast<float>(epsilon)};
  launchKernel(maskUpscaling(), image.device(), {static_cast<unsigned>(blocks), 1, 1}, &arguments);
  return out;
}

at::Tensor upscaleByLibtorch(const at::Tensor& image, int64_t side, const at::Tensor& weight1, const at::Tensor& bias1,
                             const at::Tensor& normWeight, const at::Tensor& normBias, double epsilon,
                             const at::Tensor& weight2, const at::Tensor& bias2, const at::Tensor& masks) {
  const int64_t prompts = image.size(0);
  const at::Tensor grid = image.transpose(1, 2).reshape({prompts, image.size(2), side, side});
  const at::Tensor first = at::conv_transpose2d(grid, weight1, bias1, 2).permute({0, 2, 3, 1});
  const at::Tensor normed = at::layer_norm(first, {first.size(3)}, normWeight, normBias, epsilon).permute({0, 3, 1, 2});
  const at::Tensor second = at::gelu(at::conv_transpose2d(at::gelu(normed), weight2, bias2, 2));
  return masks.matmul(second.flatten(2)).view({prompts, masks.size(1), 4 * side, 4 * side}).to(at::kFloat);
}

}  // namespace segsam
