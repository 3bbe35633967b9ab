#pragma once

#include <ATen/ATen.h>
#include <torch/csrc/jit/ir/ir.h>

#include <cstdint>
#include <map>
#include <optional>
#include <utility>

namespace segsam {

/// x weight^T + bias, by oneDNN's small products on the weight as `packLinear` has it. libtorch gives float32 to MKL,
/// which on processors of other makers than Intel leaves AVX-512 unused.
///
/// @param x (..., K) float32
/// @param bias (features)
/// @return (..., features)
at::Tensor linearPacked(const at::Tensor& x, const at::Tensor& packed, const std::optional<at::Tensor>& bias,
                        int64_t features);

/// What was packed of the weights of one module, which several of its methods may share: by their memory, with the
/// weights themselves, so that no other tensor takes their place in it.
using PackedWeights = std::map<const void*, std::pair<at::Tensor, at::Tensor>>;

/// Lets the linear layers of a frozen graph whose weights are float32 constants be `linearPacked`, where the processor
/// has AVX-512.
///
/// @return how many were replaced
int64_t packLinears(torch::jit::Graph& graph, PackedWeights& packed);

/// Whether `packLinears` replaces layers here: with AVX-512, in a build with OpenMP.
bool packsLinears();

}  // namespace segsam
