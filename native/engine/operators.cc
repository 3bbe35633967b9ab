#include "engine/operators.h"

#include <torch/library.h>

#include <cstdint>
#include <string>

#include "engine/attention.h"
#include "engine/linear.h"

namespace segsam {

namespace {

constexpr auto kKey = c10::DispatchKey::CompositeExplicitAutograd;

Operators registerAll() {
  static const char anchor = 0;
  static const std::string name = "segsam_" + std::to_string(reinterpret_cast<uintptr_t>(&anchor));
  // Never destroyed: it would take the operators from modules that outlive it when the process exits.
  static auto* const library = new torch::Library(torch::Library::FRAGMENT, name, std::nullopt, __FILE__, __LINE__);
  library->def("attend_grid(Tensor q, Tensor k, Tensor v, Tensor bias_h, Tensor bias_w, float scale) -> Tensor",
               torch::dispatch(kKey, &attendGrid));
  library->def("linear_packed(Tensor x, Tensor packed, Tensor? bias, int features) -> Tensor",
               torch::dispatch(kKey, &linearPacked));
  return {c10::Symbol::fromQualString(name + "::attend_grid"), c10::Symbol::fromQualString(name + "::linear_packed")};
}

}  // namespace

const Operators& Operators::registered() {
  static const Operators operators = registerAll();
  return operators;
}

}  // namespace segsam
