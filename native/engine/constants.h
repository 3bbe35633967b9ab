#pragma once

#include <torch/csrc/jit/api/module.h>

#include <unordered_map>
#include <utility>
#include <vector>

namespace segsam {

/// Moves the constants of a module that was frozen on the CPU to the device that it shall run on. What several graphs
/// share stays shared.
class ConstantMover {
 public:
  explicit ConstantMover(at::Device device) : device_(device) {}

  /// Those of a graph's block and of the blocks in it: tensors, lists of them, and the device of tensors.
  void move(torch::jit::Block& block);

  /// What freezing left as an attribute.
  void move(const torch::jit::Module& module);

 private:
  at::Tensor moved(const at::Tensor& tensor);

  at::Device device_;
  /// By what they were moved from, which lives meanwhile.
  std::unordered_map<const void*, std::pair<at::Tensor, at::Tensor>> tensors_;
};

/// Makes large constants one tensor that are equal in several graphs of a module: each graph folds for itself what the
/// module computes of its weights alone, such as the positions of an image. Of constants on the CPU.
class EqualConstants {
 public:
  /// Those of a graph's block and of the blocks in it, by those of the blocks before.
  void unite(torch::jit::Block& block);

 private:
  std::vector<at::Tensor> tensors_;
};

}  // namespace segsam
