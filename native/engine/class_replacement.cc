#include "engine/class_replacement.h"

#include <torch/csrc/jit/frontend/resolver.h>
#include <torch/csrc/jit/frontend/sugared_value.h>
#include <torch/csrc/jit/ir/constants.h>
#include <torch/csrc/jit/passes/constant_propagation.h>
#include <torch/csrc/jit/passes/inliner.h>

#include <algorithm>
#include <exception>
#include <memory>
#include <new>

#include "engine/operators.h"

namespace segsam {

namespace {

using torch::jit::Module;

/// Finds this addon's operators under `fused`.
class OperatorResolver : public torch::jit::Resolver {
 public:
  std::shared_ptr<torch::jit::SugaredValue> resolveValue(const std::string& name, torch::jit::GraphFunction& method,
                                                         const torch::jit::SourceRange& range) override {
    if (name != "fused") return torch::jit::nativeResolver()->resolveValue(name, method, range);
    return std::make_shared<torch::jit::BuiltinModule>(Operators::registered().nameSpace);
  }
};

bool has(const c10::ClassType& type, const std::vector<const char*>& attributes) {
  return std::all_of(attributes.begin(), attributes.end(), [&](const char* name) { return type.hasAttribute(name); });
}

/// One part of each class.
std::vector<Module> partsOf(const Module& module) {
  std::vector<Module> parts;
  for (const Module& part : module.modules()) {
    const bool known =
        std::any_of(parts.begin(), parts.end(), [&](const Module& other) { return other.type() == part.type(); });
    if (!known) parts.push_back(part);
  }
  return parts;
}

/// Whether two methods take and return the same; bundles of earlier versions have others.
bool isAlike(const torch::jit::Method& method, const torch::jit::Method& other) {
  const auto types = [](const std::vector<c10::Argument>& arguments) {
    std::vector<std::string> names;
    for (const c10::Argument& argument : arguments) names.push_back(argument.name() + argument.type()->str());
    return names;
  };
  const c10::FunctionSchema& a = method.function().getSchema();
  const c10::FunctionSchema& b = other.function().getSchema();
  return types(a.arguments()) == types(b.arguments()) && types(a.returns()) == types(b.returns());
}

void replaceBody(const torch::jit::Method& method, const torch::jit::Method& other) {
  const auto graph = method.graph();
  const std::vector<torch::jit::Node*> replaced(graph->nodes().begin(), graph->nodes().end());
  const torch::jit::WithInsertPoint start(*graph->nodes().begin());
  const auto outputs = torch::jit::insertGraph(*graph, *other.graph(), graph->inputs());
  for (size_t i = 0; i < outputs.size(); ++i) graph->block()->replaceOutput(i, outputs[i]);
  // What raises an error is no dead code.
  for (auto node = replaced.rbegin(); node != replaced.rend(); ++node) (*node)->destroy();
}

/// Of a class that stays as it is.
void removeMethods(c10::ClassType& type) {
  std::vector<std::string> names;
  for (const torch::jit::Function* method : type.methods()) {
    if (method->name().rfind("fused_", 0) == 0) names.push_back(method->name());
  }
  for (const std::string& name : names) type.unsafeRemoveMethod(name);
}

/// @param part one of its class in `module`
/// @return whether the class computes by the operators from now on
bool replace(const Module& module, Module part, const Replacement& replacement) {
  c10::ClassType& type = *part.type();
  if (type.name()->name() != replacement.className || !has(type, replacement.attributes)) return false;
  try {
    for (const Module& other : module.modules()) {
      if (other.type() == part.type() && replacement.fits && !replacement.fits(other)) return false;
    }
    part.define(replacement.source, std::make_shared<OperatorResolver>());
    const auto forward = part.find_method("forward");
    const auto fused = part.find_method("fused_forward");
    // It may only define what others call.
    if (!fused) return false;
    if (forward && isAlike(*forward, *fused)) {
      replaceBody(*forward, *fused);
      return true;
    }
  } catch (const std::bad_alloc&) {
    throw;
  } catch (const std::exception&) {
    // A class of that name whose parts are others.
  }
  removeMethods(type);
  return false;
}

}  // namespace

std::string withText(std::string source, const std::string& name, const std::string& text) {
  for (size_t at = source.find(name); at != std::string::npos; at = source.find(name, at + text.size())) {
    source.replace(at, name.size(), text);
  }
  return source;
}

std::optional<torch::jit::IValue> constantOf(const Module& layer, c10::Symbol operation, const char* argument) {
  auto graph = layer.get_method("forward").graph()->copy();
  torch::jit::Inline(*graph);
  // Lists are made of their numbers.
  torch::jit::ConstantPropagation(graph);
  for (const torch::jit::Node* node : graph->nodes()) {
    if (node->kind() == operation) return torch::jit::toIValue(node->namedInput(argument));
  }
  return std::nullopt;
}

int64_t replaceClasses(const Module& module, const std::vector<Replacement>& replacements) {
  int64_t changed = 0;
  const std::vector<Module> parts = partsOf(module);
  for (const Replacement& replacement : replacements) {
    for (const Module& part : parts) changed += replace(module, part, replacement) ? 1 : 0;
  }
  return changed;
}

}  // namespace segsam
