/// Constants of frozen modules on another device: that of tensors without values, which every libtorch has.

#include "engine/constants.h"

#include <ATen/ATen.h>
#include <torch/csrc/jit/passes/freeze_module.h>

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
