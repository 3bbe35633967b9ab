/// Constants of frozen modules: on another device, that of tensors without values, which every libtorch has, and equal
/// ones.

#include "engine/constants.h"

#include <ATen/ATen.h>
#include <torch/csrc/jit/passes/freeze_module.h>
#include <torch/csrc/jit/passes/frozen_graph_optimizations.h>

#include <vector>

#include "check.h"

using torch::jit::Module;

namespace {

Module frozenModule() {
  Module module("Module");
  module.register_buffer("weight", at::ones({2, 2}));
  module.register_attribute("pair", c10::ListType::ofTensors(), c10::List<at::Tensor>({at::ones({2}), at::ones({2})}));
  module.define(R"(
    def forward(self, x: Tensor, index: int) -> Tensor:
        if index > 0:
            x = x + self.weight + self.pair[index]
        return x + torch.arange(index, device=self.weight.device)
    def other(self, x: Tensor) -> Tensor:
        return x.matmul(self.weight)
  )");
  module.eval();
  return torch::jit::freeze_module(module, {"other"});
}

void collectTensors(torch::jit::Block& block, std::vector<at::Tensor>& tensors) {
  for (torch::jit::Node* node : block.nodes()) {
    for (torch::jit::Block* inner : node->blocks()) collectTensors(*inner, tensors);
    const auto value = torch::jit::attr::value;
    if (node->kind() == torch::jit::prim::Constant && node->hasAttribute(value) &&
        node->kindOf(value) == torch::jit::AttributeKind::t) {
      tensors.push_back(node->t(value));
    }
  }
}

}  // namespace

TEST("a module that was frozen on the CPU computes on the device that its constants are moved to") {
  Module module = frozenModule();
  segsam::ConstantMover mover(at::kMeta);
  mover.move(module);
  std::vector<at::Tensor> tensors;
  for (const torch::jit::Method& method : module.get_methods()) {
    mover.move(*method.graph()->block());
    collectTensors(*method.graph()->block(), tensors);
  }
  // The weight alone, by both methods.
  EXPECT(tensors.size() >= 2);
  for (const at::Tensor& tensor : tensors) {
    EXPECT(tensor.is_meta());
    if (tensor.dim() == 2) EXPECT(tensor.is_same(tensors[0]));
  }
  const at::Tensor x = at::ones({2, 2}, at::TensorOptions(at::kMeta));
  EXPECT(module.forward({x, 1}).toTensor().is_meta());
  EXPECT(module.get_method("other")({x}).toTensor().is_meta());
}

TEST("large constants that are equal in several methods are one tensor, and compute what they did") {
  Module module("Module");
  module.register_buffer("weight", at::arange(40000, at::kFloat));
  module.define(R"(
    def forward(self, x: Tensor) -> Tensor:
        return x + (self.weight * 2 + 1)
    def same(self, x: Tensor, twice: bool) -> Tensor:
        if twice:
            x = x * 2
        return x * (self.weight * 2 + 1)
    def other(self, x: Tensor) -> Tensor:
        return x + (self.weight * 2 + 3)
    def small(self, x: Tensor) -> Tensor:
        return x + torch.ones([2])
  )");
  module.eval();
  module = torch::jit::freeze_module(module, {"same", "other", "small"});
  segsam::EqualConstants constants;
  std::vector<std::vector<at::Tensor>> large;
  for (const char* method : {"forward", "same", "other", "small"}) {
    auto graph = module.get_method(method).graph();
    torch::jit::OptimizeFrozenGraph(graph);
    constants.unite(*graph->block());
    std::vector<at::Tensor> tensors;
    collectTensors(*graph->block(), tensors);
    std::erase_if(tensors, [](const at::Tensor& tensor) { return tensor.numel() < 40000; });
    large.push_back(tensors);
  }
  EXPECT(large[0].size() == 1 && large[1].size() == 1 && large[2].size() == 1 && large[3].empty());
  EXPECT(large[0][0].is_same(large[1][0]) && !large[0][0].is_same(large[2][0]));
  const at::Tensor x = at::full({40000}, 3.0f);
  const at::Tensor doubled = at::arange(40000, at::kFloat) * 2;
  EXPECT(at::equal(module.forward({x}).toTensor(), x + (doubled + 1)));
  EXPECT(at::equal(module.get_method("same")({x, true}).toTensor(), x * 2 * (doubled + 1)));
  EXPECT(at::equal(module.get_method("other")({x}).toTensor(), x + (doubled + 3)));
}
