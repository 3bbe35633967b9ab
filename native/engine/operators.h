#pragma once

#include <ATen/core/symbol.h>

#include <string>

namespace segsam {

/// The names of this addon's operators in TorchScript; registered with the first call. A process may hold the addon of
/// several copies of the package with one libtorch, so each copy has a namespace of its own.
struct Operators {
  /// That of all of them.
  std::string nameSpace;
  /// `attendGrid(q, k, v, biasH, biasW, scale)`
  c10::Symbol attendGrid;
  /// `linearPacked(x, packed, bias, features)`
  c10::Symbol linearPacked;

  static const Operators& registered();
};

}  // namespace segsam
