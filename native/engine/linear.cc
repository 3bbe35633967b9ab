#include "engine/linear.h"

#include <ATen/Parallel.h>
#include <torch/csrc/jit/ir/constants.h>
#include <torch/csrc/jit/passes/dead_code_elimination.h>

#include <algorithm>
#include <vector>

#include "engine/brgemm_context.h"
#include "engine/operators.h"
#include "engine/packed_weight.h"
#include "engine/row_blocks.h"
#include "ops/tile_loops.h"

namespace segsam {

namespace {

using torch::jit::Node;

/// Multiplications below which a second thread costs more than it saves.
constexpr int64_t kLeastOfThread = 1 << 19;

struct Product {
  const float* x;
  int64_t stride;
  PackedWeight<float> weight;
  const float* bias;
  float* out;
};

/// The columns of one panel of the rows of one block.
void multiply(const Product& product, const RowBlock& rows, int64_t panel) {
  const PackedWeight<float>& weight = product.weight;
  const int64_t columns = weight.columns(panel);
  float* out = product.out + rows.first * weight.features + panel * kPanel;
  if (product.bias != nullptr) {
    fillRows(product.bias + panel * kPanel, rows.count, columns, out, weight.features);
  }
  weight.multiply(product.x + rows.first * product.stride, rows.count, product.stride, panel, out, weight.features,
                  product.bias != nullptr);
}

const at::Tensor& packedOf(const at::Tensor& weight, PackedWeights& packed) {
  auto& [kept, result] = packed[weight.const_data_ptr()];
  if (!kept.defined() || kept.sizes() != weight.sizes() || kept.strides() != weight.strides()) {
    kept = weight;
    result = packLinear(weight);
  }
  return result;
}

bool isBias(const torch::jit::Value& value, int64_t features) {
  const auto bias = torch::jit::toIValue(&value);
  if (!bias) return false;
  if (bias->isNone()) return true;
  if (!bias->isTensor()) return false;
  const at::Tensor tensor = bias->toTensor();
  return tensor.dim() == 1 && tensor.size(0) == features && tensor.scalar_type() == at::kFloat;
}

/// The weight of a linear layer that can be packed, else none.
std::optional<at::Tensor> packable(const Node& node) {
  if (node.kind() != c10::aten::linear) return std::nullopt;
  const auto weight = torch::jit::toIValue(node.input(1));
  if (!weight || !weight->isTensor()) return std::nullopt;
  const at::Tensor tensor = weight->toTensor();
  const bool fits = tensor.dim() == 2 && tensor.scalar_type() == at::kFloat && tensor.device().is_cpu();
  return fits && isBias(*node.input(2), tensor.size(0)) ? std::optional(tensor) : std::nullopt;
}

int64_t packLinears(torch::jit::Block& block, PackedWeights& packedWeights) {
  int64_t replaced = 0;
  const std::vector<Node*> nodes(block.nodes().begin(), block.nodes().end());
  for (Node* node : nodes) {
    for (torch::jit::Block* inner : node->blocks()) replaced += packLinears(*inner, packedWeights);
    const auto weight = packable(*node);
    if (!weight) continue;
    torch::jit::Graph& graph = *node->owningGraph();
    const torch::jit::WithInsertPoint here(node);
    torch::jit::Value* packed = graph.insertConstant(packedOf(*weight, packedWeights));
    torch::jit::Value* features = graph.insertConstant(weight->size(0));
    Node* call = graph.create(Operators::registered().linearPacked, {node->input(0), packed, node->input(2), features});
    graph.insertNode(call)->output()->copyMetadata(node->output());
    node->output()->replaceAllUsesWith(call->output());
    node->destroy();
    ++replaced;
  }
  return replaced;
}

}  // namespace

at::Tensor linearPacked(const at::Tensor& x, const at::Tensor& packed, const std::optional<at::Tensor>& bias,
                        int64_t features) {
  TORCH_CHECK(features > 0, "linear_packed: expected features, got ", features);
  const PackedWeight<float> weight(packed, features);
  TORCH_CHECK(!bias || (bias->dim() == 1 && bias->size(0) == features && bias->scalar_type() == at::kFloat),
              "linear_packed: expected a float32 bias of ", features, " values");
  const int64_t depth = weight.depth;
  TORCH_CHECK(x.dim() > 0 && x.size(-1) == depth, "linear_packed: expected (..., ", depth, "), got ", x.sizes());
  TORCH_CHECK(x.scalar_type() == at::kFloat && x.device().is_cpu(), "linear_packed: expected float32 on the CPU");
  at::Tensor flat = x.reshape({-1, depth});
  if (flat.stride(1) != 1 || flat.stride(0) < depth) flat = flat.contiguous();
  std::vector<int64_t> sizes = x.sizes().vec();
  sizes.back() = features;
  at::Tensor out = at::empty(sizes, x.options());
  const std::vector<RowBlock> blocks = rowBlocks(flat.size(0));
  if (blocks.empty()) return out;
  const at::Tensor flatBias = bias ? bias->contiguous() : at::Tensor();
  const Product product{flat.const_data_ptr<float>(), flat.stride(0), weight,
                        bias ? flatBias.const_data_ptr<float>() : nullptr, out.data_ptr<float>()};
  const auto count = static_cast<int64_t>(blocks.size());
  const int64_t tasks = count * packed.size(0);
  const int64_t perTask = std::max<int64_t>(1, flat.size(0) * depth * features / tasks);
  at::parallel_for(0, tasks, at::divup(kLeastOfThread, perTask), [&](int64_t begin, int64_t end) {
    const BrgemmContext context(/*packed=*/false);
    for (int64_t task = begin; task < end; ++task) multiply(product, blocks[task % count], task / count);
  });
  return out;
}

bool packsLinears() {
// Without OpenMP this code would compute on one core what libtorch computes on all.
#if defined(__x86_64__) && defined(__GNUC__) && defined(_OPENMP)
  return __builtin_cpu_supports("avx512f") != 0;
#else
  return false;
#endif
}

int64_t packLinears(torch::jit::Graph& graph, PackedWeights& packed) {
  if (!packsLinears()) return 0;
  const int64_t replaced = packLinears(*graph.block(), packed);
  torch::jit::EliminateDeadCode(graph.block());
  return replaced;
}

}  // namespace segsam
