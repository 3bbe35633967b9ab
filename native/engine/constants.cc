#include "engine/constants.h"

#include <torch/csrc/jit/ir/ir.h>

namespace segsam {

namespace {

using torch::jit::AttributeKind;
using torch::jit::attr::value;

}  // namespace

void ConstantMover::move(torch::jit::Block& block) {
  for (torch::jit::Node* node : block.nodes()) {
    for (torch::jit::Block* inner : node->blocks()) move(*inner);
    if (node->kind() != torch::jit::prim::Constant || !node->hasAttribute(value)) continue;
    if (node->kindOf(value) == AttributeKind::t) {
      node->t_(value, moved(node->t(value)));
      node->output()->inferTypeFrom(node->t(value));
    } else if (node->kindOf(value) == AttributeKind::ival && !node->ival(value).isObject()) {
      node->ival_(value, node->ival(value).deepcopy(device_));
    } else if (node->output()->type() == c10::DeviceObjType::get() && at::Device(node->s(value)).is_cpu()) {
      node->s_(value, device_.str());
    }
  }
}

void ConstantMover::move(const torch::jit::Module& module) {
  for (const torch::jit::IValue& attribute : module.attributes(/*recurse=*/true)) {
    if (!attribute.isTensor() || !attribute.toTensor().defined()) continue;
    at::Tensor tensor = attribute.toTensor();
    tensor.set_data(moved(tensor));
  }
}

at::Tensor ConstantMover::moved(const at::Tensor& tensor) {
  if (!tensor.defined()) return tensor;
  const auto [entry, isNew] = tensors_.try_emplace(tensor.unsafeGetTensorImpl(), tensor, at::Tensor());
  if (isNew) entry->second.second = tensor.to(device_);
  return entry->second.second;
}

}  // namespace segsam
