#include "engine/fused_encoder.h"

#include <algorithm>
#include <string>
#include <vector>

#include "engine/brgemm_context.h"
#include "engine/class_replacement.h"
#include "engine/linear.h"
#include "engine/quantised_weight.h"

namespace segsam {

namespace {

using torch::jit::Module;

/// All that is computed of weights alone is computed when the module is frozen.
constexpr const char* kBlock = R"(
def fused_table(self, table: Tensor, size: int) -> Tensor:
    values = table.float().t()
    if values.size(1) != 2 * size - 1:
        values = torch.upsample_linear1d(values.unsqueeze(0), [2 * size - 1], False).squeeze(0)
    return values.flip([1]).contiguous()

def fused_forward(self, x: Tensor) -> Tensor:
    attn = self.attn
    rows = x.size(1)
    columns = x.size(2)
    if self.window > 0:
        rows = self.window
        columns = self.window
    x = fused.add_attention(x, self.norm1.weight.float(), self.norm1.bias.float(), 1e-6,
                            PACKED(attn.qkv.weight), attn.qkv.bias.float(),
                            self.fused_table(attn.rel_pos_h, rows), self.fused_table(attn.rel_pos_w, columns),
                            PACKED(attn.proj.weight), attn.proj.bias.float(), attn.num_heads, self.window)
    out = fused.add_mlp(x, self.norm2.weight.float(), self.norm2.bias.float(), 1e-6,
                        PACKED(self.mlp.lin1.weight), self.mlp.lin1.bias.float(),
                        PACKED(self.mlp.lin2.weight), self.mlp.lin2.bias.float())
    if self.has_adapter:
        out = out + self.Adapter.forward(self.norm2.forward(x))
    return out
)";

constexpr double kEpsilon = 1e-6;

bool hasEpsilon(const Module& norm) {
  const auto epsilon = constantOf(norm, c10::aten::layer_norm, "eps");
  return epsilon && epsilon->isDouble() && epsilon->toDouble() == kEpsilon;
}

bool isExactGelu(const Module& activation) {
  const auto approximation = constantOf(activation, c10::aten::gelu, "approximate");
  return approximation && approximation->isString() && approximation->toStringRef() == "none";
}

std::vector<Module> linearLayers(const Module& block) {
  const Module attention = block.attr("attn").toModule();
  const Module mlp = block.attr("mlp").toModule();
  return {attention.attr("qkv").toModule(), attention.attr("proj").toModule(), mlp.attr("lin1").toModule(),
          mlp.attr("lin2").toModule()};
}

bool fits(const Module& block) {
  const Module attention = block.attr("attn").toModule();
  const int64_t width = attention.attr("proj").toModule().attr("weight").toTensor().size(0);
  const int64_t headWidth = width / attention.attr("num_heads").toInt();
  const std::vector<Module> layers = linearLayers(block);
  const bool isEven = std::all_of(layers.begin(), layers.end(),
                                  [](const Module& layer) { return layer.attr("weight").toTensor().size(1) % 2 == 0; });
  return headWidth % 2 == 0 && isEven && isExactGelu(block.attr("mlp").toModule().attr("act").toModule()) &&
         hasEpsilon(block.attr("norm1").toModule()) && hasEpsilon(block.attr("norm2").toModule());
}

bool fitsBytes(const Module& block) {
  if (!fits(block)) return false;
  const std::vector<Module> layers = linearLayers(block);
  return std::all_of(layers.begin(), layers.end(),
                     [](const Module& layer) { return layer.attr("weight").toTensor().size(1) % 4 == 0; });
}

/// @param packed how a weight becomes what the operators take
int64_t fuse(const Module& module, const std::string& packed, bool (*fits)(const Module&)) {
  const std::string source = withText(kBlock, "PACKED(", packed + "(");
  return replaceClasses(
      module, {{"Block", {"norm1", "attn", "norm2", "mlp", "window", "has_adapter", "Adapter"}, source, fits}});
}

}  // namespace

int64_t fuseEncoder(const Module& module, at::ScalarType type) {
  if (!packsLinears()) return 0;
  if (type != at::kFloat && !(type == at::kBFloat16 && multipliesPackedBf16())) return 0;
  return fuse(module, "fused.pack_linear", fits);
}

int64_t fuseEncoderInBytes(const Module& module) {
  // The weights are packed already when the source sees them.
  const int64_t changed = fuse(module, "", fitsBytes);
  for (const Module& part : module.modules()) {
    if (!part.find_method("fused_table")) continue;
    for (const Module& layer : linearLayers(part)) {
      at::Tensor weight = layer.attr("weight").toTensor();
      // Of a layer that two blocks share.
      if (weight.scalar_type() == at::kChar) continue;
      weight.set_requires_grad(false);
      weight.set_data(packQuantised(weight.to(at::kFloat)));
    }
  }
  return changed;
}

}  // namespace segsam
