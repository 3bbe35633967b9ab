#include "engine/constants.h"

#include <torch/csrc/jit/ir/ir.h>

#include <algorithm>
#include <cstring>

namespace segsam {

namespace {

using torch::jit::AttributeKind;
using torch::jit::attr::value;

/// Smaller ones are not looked for.
constexpr size_t kLeastBytes = 64 << 10;

bool areEqual(const at::Tensor& a, const at::Tensor& b) {
  return a.scalar_type() == b.scalar_type() && a.sizes() == b.sizes() && a.strides() == b.strides() &&
         std::memcmp(a.const_data_ptr(), b.const_data_ptr(), a.nbytes()) == 0;
}

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

void EqualConstants::unite(torch::jit::Block& block) {
  for (torch::jit::Node* node : block.nodes()) {
    for (torch::jit::Block* inner : node->blocks()) unite(*inner);
    if (node->kind() != torch::jit::prim::Constant || !node->hasAttribute(value)) continue;
    if (node->kindOf(value) != AttributeKind::t) continue;
    const at::Tensor& tensor = node->t(value);
    if (!tensor.defined() || !tensor.is_cpu() || tensor.layout() != at::kStrided ||
        !tensor.is_non_overlapping_and_dense() || tensor.nbytes() < kLeastBytes) {
      continue;
    }
    const auto known =
        std::find_if(tensors_.begin(), tensors_.end(), [&](const at::Tensor& each) { return areEqual(each, tensor); });
    if (known == tensors_.end()) {
      tensors_.push_back(tensor);
    } else {
      node->t_(value, *known);
    }
  }
}

}  // namespace segsam
