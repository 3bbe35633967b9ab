#include "engine/fused_decoder.h"

#include <torch/csrc/jit/frontend/resolver.h>
#include <torch/csrc/jit/frontend/sugared_value.h>
#include <torch/csrc/jit/passes/dead_code_elimination.h>

#include <algorithm>
#include <exception>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "engine/linear.h"
#include "engine/operators.h"

namespace segsam {

namespace {

using torch::jit::Module;

/// What takes the place of a class's `forward`, and what it needs of the class.
struct Replacement {
  const char* className;
  std::vector<const char*> attributes;
  const char* source;
};

/// `fused` is this addon's namespace of operators; names of methods are this addon's, too.
const std::vector<Replacement>& replacements() {
  static const std::vector<Replacement> all = {
      {"TokenAttention", {"q_proj", "k_proj", "v_proj", "out_proj", "num_heads", "head_width"}, R"(
def fused_attend_image(self, tokens: Tensor, image: Tensor, image_pe: Tensor) -> Tensor:
    prompts = tokens.size(0)
    heads = self.num_heads
    width = self.head_width
    channels = image.size(2)
    q = self.q_proj.forward(tokens).reshape(-1, heads, width).transpose(0, 1)
    queries = torch.bmm(q, self.k_proj.weight.reshape(heads, width, channels)) * (float(width) ** -0.5)
    queries = queries.transpose(0, 1).reshape(prompts, -1, channels)
    sums = fused.attend_image(queries, image, image_pe, ROUNDED).reshape(-1, heads, channels).transpose(0, 1)
    out = torch.bmm(sums, self.v_proj.weight.reshape(heads, width, channels).transpose(1, 2))
    return self.out_proj.forward(out.transpose(0, 1).reshape(prompts, -1, heads * width) + self.v_proj.bias)

def fused_attend_tokens(self, image: Tensor, image_pe: Tensor, k: Tensor, v: Tensor, norm_weight: Tensor,
                        norm_bias: Tensor) -> Tensor:
    prompts = k.size(0)
    heads = self.num_heads
    width = self.head_width
    channels = image.size(2)
    scale = float(width) ** -0.5
    projected = self.k_proj.forward(k).reshape(-1, heads, width)
    keys = torch.bmm(projected.transpose(0, 1), self.q_proj.weight.reshape(heads, width, channels)) * scale
    shifts = (projected * self.q_proj.bias.reshape(heads, width)).sum(-1) * scale
    values = torch.bmm(self.v_proj.forward(v).reshape(-1, heads, width).transpose(0, 1),
                       self.out_proj.weight.t().reshape(heads, width, channels))
    keys = keys.transpose(0, 1).reshape(prompts, -1, channels)
    shifts = shifts.reshape(prompts, -1)
    values = values.transpose(0, 1).reshape(prompts, -1, channels)
    return fused.attend_tokens(image, image_pe, keys, shifts, values, self.out_proj.bias, heads, norm_weight, norm_bias,
                               1e-5, ROUNDED)
)"},
      {"TwoWayBlock",
       {"self_attn", "norm1", "cross_attn_token_to_image", "norm2", "mlp", "norm3", "norm4",
        "cross_attn_image_to_token", "first"},
       R"(
def fused_forward(self, queries: Tensor, keys: Tensor, query_pe: Tensor, key_pe: Tensor) -> Tuple[Tensor, Tensor]:
    if self.first:
        queries = self.self_attn.forward(queries, queries, queries)
    else:
        q = queries + query_pe
        queries = queries + self.self_attn.forward(q, q, queries)
    queries = self.norm1.forward(queries)
    attended = self.cross_attn_token_to_image.fused_attend_image(queries + query_pe, keys, key_pe)
    queries = self.norm2.forward(queries + attended)
    queries = self.norm3.forward(queries + self.mlp.forward(queries))
    keys = self.cross_attn_image_to_token.fused_attend_tokens(keys, key_pe, queries + query_pe, queries,
                                                              self.norm4.weight, self.norm4.bias)
    return queries, keys
)"},
      {"TwoWayTransformer", {"layers", "final_attn_token_to_image", "norm_final_attn"}, R"(
def fused_forward(self, image: Tensor, image_pe: Tensor, tokens: Tensor) -> Tuple[Tensor, Tensor]:
    queries, keys = getattr(self.layers, "0").forward(tokens, image, tokens, image_pe)
    queries, keys = getattr(self.layers, "1").forward(queries, keys, tokens, image_pe)
    attended = self.final_attn_token_to_image.fused_attend_image(queries + tokens, keys, image_pe)
    return self.norm_final_attn.forward(queries + attended), keys
)"},
      {"MaskDecoder",
       {"transformer", "iou_token", "mask_tokens", "output_upscaling", "output_hypernetworks_mlps",
        "iou_prediction_head"},
       R"(
def fused_forward(self, features: List[Tensor], image_pe: Tensor, sparse: Tensor, dense: Tensor,
                  maps: List[Tensor]) -> Tuple[Tensor, Tensor]:
    prompts = sparse.size(0)
    own = torch.cat([self.iou_token.weight, self.mask_tokens.weight], 0)
    tokens = torch.cat([own.unsqueeze(0).expand(prompts, -1, -1), sparse], 1)
    image = fused.prompted_image(features[0], dense, prompts)
    tokens, image = self.transformer.forward(image, image_pe.flatten(2).transpose(1, 2).contiguous(), tokens)
    mlps = self.output_hypernetworks_mlps
    masks = torch.stack([getattr(mlps, "0").forward(tokens[:, 1]), getattr(mlps, "1").forward(tokens[:, 2]),
                         getattr(mlps, "2").forward(tokens[:, 3]), getattr(mlps, "3").forward(tokens[:, 4])], 1)
    up = self.output_upscaling
    norm = getattr(up, "1")
    logits = fused.upscale_masks(image, dense.size(2), getattr(up, "0").weight, getattr(up, "0").bias, norm.weight,
                                 norm.bias, norm.eps, getattr(up, "3").weight, getattr(up, "3").bias, masks, ROUNDED)
    return logits, self.iou_prediction_head.forward(tokens[:, 0])
)"},
  };
  return all;
}

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

/// Whether a class has the parts that its replacement is written for.
bool hasParts(const Module& part, const Replacement& replacement) {
  const std::string name = replacement.className;
  if (name == "TwoWayTransformer") return part.attr("layers").toModule().children().size() == 2;
  if (name == "MaskDecoder") {
    return part.attr("output_upscaling").toModule().type()->name()->name() == "SamUpscaling";
  }
  return true;
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
  const torch::jit::WithInsertPoint start(*graph->nodes().begin());
  const auto outputs = torch::jit::insertGraph(*graph, *other.graph(), graph->inputs());
  for (size_t i = 0; i < outputs.size(); ++i) graph->block()->replaceOutput(i, outputs[i]);
  torch::jit::EliminateDeadCode(graph);
}

std::string sourceOf(const Replacement& replacement, bool rounded) {
  std::string source = replacement.source;
  const std::string name = "ROUNDED";
  for (size_t at = source.find(name); at != std::string::npos; at = source.find(name)) {
    source.replace(at, name.size(), rounded ? "True" : "False");
  }
  return source;
}

/// @return whether the class computes by the operators from now on
bool replace(Module part, const Replacement& replacement, bool rounded) {
  const c10::ClassType& type = *part.type();
  if (type.name()->name() != replacement.className || !has(type, replacement.attributes)) return false;
  try {
    if (!hasParts(part, replacement)) return false;
    part.define(sourceOf(replacement, rounded), std::make_shared<OperatorResolver>());
    const auto forward = part.find_method("forward");
    const auto fused = part.find_method("fused_forward");
    if (!forward || !fused || !isAlike(*forward, *fused)) return false;
    replaceBody(*forward, *fused);
    return true;
  } catch (const std::exception&) {
    // A class of that name whose parts are others.
    return false;
  }
}

}  // namespace

int64_t fuseDecoder(const Module& module, bool rounded) {
  if (!packsLinears()) return 0;
  int64_t changed = 0;
  const std::vector<Module> parts = partsOf(module);
  for (const Replacement& replacement : replacements()) {
    for (const Module& part : parts) changed += replace(part, replacement, rounded) ? 1 : 0;
  }
  return changed;
}

}  // namespace segsam
