#pragma once

#include <torch/csrc/jit/api/module.h>

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace segsam {

/// What takes the place of the method `forward` of a class of TorchScript modules, and what it needs of the class.
struct Replacement {
  const char* className;
  std::vector<const char*> attributes;
  /// Methods whose names begin with `fused_`: `fused_forward` takes the place, the others it or later classes call.
  /// `fused` is this addon's namespace of operators.
  std::string source;
  /// Whether a module of the class has the parts that the source is written for; may throw where it has others.
  std::function<bool(const torch::jit::Module& part)> fits = nullptr;
};

/// A source with `text` wherever it has `name`.
std::string withText(std::string source, const std::string& name, const std::string& text);

/// What the code of a layer passes to the one operation that it is, where that is a constant.
std::optional<torch::jit::IValue> constantOf(const torch::jit::Module& layer, c10::Symbol operation,
                                             const char* argument);

/// Replaces methods of the classes of a module's parts, before it is frozen. Classes are known by their names,
/// attributes, parts and signatures; others of that name stay as they are.
///
/// @param replacements those that a later one calls come first
/// @return how many classes were changed
int64_t replaceClasses(const torch::jit::Module& module, const std::vector<Replacement>& replacements);

}  // namespace segsam
