#include "engine/fused_encoder.h"

#include <algorithm>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "cuda/encoder_block.h"
#include "cuda/kernel.h"
#include "engine/brgemm_context.h"
#include "engine/class_replacement.h"
#include "engine/linear.h"
#include "engine/quantised_weight.h"

namespace segsam {

namespace {

using torch::jit::Module;

/// All that is computed of weights alone is computed when the module is frozen.
constexpr const char* kBlock = R"(
def fused_forward(self, x: Tensor) -> Tensor:
    attn = self.attn
    rows = x.size(1)
    columns = x.size(2)
    if self.window > 0:
        rows = self.window
        columns = self.window
    x = fused.add_attention(x, self.norm1.weight.float(), self.norm1.bias.float(), 1e-6,
                            self.fused_weight(attn.qkv.weight), self.fused_bias(attn.qkv.bias),
                            self.fused_table(attn.rel_pos_h, rows), self.fused_table(attn.rel_pos_w, columns),
                            self.fused_weight(attn.proj.weight), self.fused_bias(attn.proj.bias), attn.num_heads,
                            self.window)
    out = fused.add_mlp(x, self.norm2.weight.float(), self.norm2.bias.float(), 1e-6,
                        self.fused_weight(self.mlp.lin1.weight), self.fused_bias(self.mlp.lin1.bias),
                        self.fused_weight(self.mlp.lin2.weight), self.fused_bias(self.mlp.lin2.bias))
    if self.has_adapter:
        out = out + self.Adapter.forward(self.norm2.forward(x))
    return out
)";

/// The operands as the CPU's operators take them, with PACKED for the weights.
constexpr const char* kOperandsOfCpu = R"(
def fused_weight(self, weight: Tensor) -> Tensor:
    return PACKED(weight)

def fused_bias(self, bias: Tensor) -> Tensor:
    return bias.float()

def fused_table(self, table: Tensor, size: int) -> Tensor:
    values = table.float().t()
    if values.size(1) != 2 * size - 1:
        values = torch.upsample_linear1d(values.unsqueeze(0), [2 * size - 1], False).squeeze(0)
    return values.flip([1]).contiguous()
)";

constexpr const char* kOperandsOfCuda = R"(
def fused_weight(self, weight: Tensor) -> Tensor:
    return weight

def fused_bias(self, bias: Tensor) -> Tensor:
    return bias

def fused_table(self, table: Tensor, size: int) -> Tensor:
    if table.size(0) == 2 * size - 1:
        return table.contiguous()
    values = torch.upsample_linear1d(table.float().t().unsqueeze(0), [2 * size - 1], False)
    return values.squeeze(0).t().to(table.dtype).contiguous()
)";

/// A convolution whose stride is its size multiplies patches that lie beside each other, which is a product of
/// matrices.
constexpr const char* kPatchEmbed = R"(
def fused_forward(self, image: Tensor) -> List[Tensor]:
    weight = self.proj.weight
    side = weight.size(2)
    rows = image.size(2) // side
    columns = image.size(3) // side
    patches = image.reshape(image.size(0), image.size(1), rows, side, columns, side).permute(0, 2, 4, 1, 3, 5)
    values = torch.linear(patches.reshape(image.size(0), rows, columns, -1), weight.flatten(1), self.proj.bias)
    return [values.permute(0, 3, 1, 2)]
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

/// @param operands the methods that give the operators' operands
Replacement blockOf(const std::string& operands, std::function<bool(const Module&)> fits) {
  return {"Block",
          {"norm1", "attn", "norm2", "mlp", "window", "has_adapter", "Adapter"},
          operands + kBlock,
          std::move(fits)};
}

/// @param packed how a weight becomes what the operators take
int64_t fuseOnCpu(const Module& module, const std::string& packed, bool (*fits)(const Module&)) {
  return replaceClasses(module, {blockOf(withText(kOperandsOfCpu, "PACKED(", packed + "("), fits)});
}

/// Positions of a row of the windows that a block attends within; of the whole grid, its table says.
int64_t sideOf(const Module& block) {
  const int64_t window = block.attr("window").toInt();
  const int64_t positions = block.attr("attn").toModule().attr("rel_pos_h").toTensor().size(0);
  return window > 0 ? window : (positions + 1) / 2;
}

/// @param failure set to why a block that the kernels are for does not get them
bool fitsCuda(const Module& block, at::Device device, std::string& failure) {
  if (!fits(block)) return false;
  const Module attention = block.attr("attn").toModule();
  const at::Tensor weight = attention.attr("proj").toModule().attr("weight").toTensor();
  const int64_t width = weight.size(0);
  const int64_t heads = attention.attr("num_heads").toInt();
  const int64_t side = sideOf(block);
  if (!attendsOnCuda(weight.scalar_type(), width, heads, side)) return false;
  const std::string reason = whyNotPrepared(device, [&] { prepareBlock(device, weight.scalar_type(), width, side); });
  if (failure.empty()) failure = reason;
  return reason.empty();
}

bool takesPatches(const Module& embedding) {
  const Module projection = embedding.attr("proj").toModule();
  const at::Tensor weight = projection.attr("weight").toTensor();
  const auto stride = constantOf(projection, c10::aten::conv2d, "stride");
  const std::vector<int64_t> patch = {weight.size(2), weight.size(3)};
  return weight.size(2) == weight.size(3) && stride && stride->isIntList() && stride->toIntVector() == patch;
}

}  // namespace

int64_t fuseEncoder(const Module& module, at::Device device, at::ScalarType type, std::string* failure) {
  if (device.is_cuda()) {
    std::string found;
    const auto fitsDevice = [&](const Module& block) { return fitsCuda(block, device, found); };
    const int64_t changed = replaceClasses(
        module, {blockOf(kOperandsOfCuda, fitsDevice), {"PatchEmbed", {"proj"}, kPatchEmbed, takesPatches}});
    if (failure != nullptr) *failure = found;
    return changed;
  }
  if (!device.is_cpu() || !packsLinears()) return 0;
  if (type != at::kFloat && !(type == at::kBFloat16 && multipliesPackedBf16())) return 0;
  return fuseOnCpu(module, "fused.pack_linear", fits);
}

int64_t fuseEncoderInBytes(const Module& module) {
  // The weights are packed already when the source sees them.
  const int64_t changed = fuseOnCpu(module, "", fitsBytes);
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
