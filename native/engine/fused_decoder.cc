#include "engine/fused_decoder.h"

#include <string>
#include <utility>
#include <vector>

#include "engine/class_replacement.h"
#include "engine/linear.h"

namespace segsam {

namespace {

using torch::jit::Module;

/// Written with ROUNDED for whether products take bfloat16.
std::vector<Replacement> replacements() {
  return {
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
      {"TwoWayTransformer",
       {"layers", "final_attn_token_to_image", "norm_final_attn"},
       R"(
def fused_forward(self, image: Tensor, image_pe: Tensor, tokens: Tensor) -> Tuple[Tensor, Tensor]:
    queries, keys = getattr(self.layers, "0").forward(tokens, image, tokens, image_pe)
    queries, keys = getattr(self.layers, "1").forward(queries, keys, tokens, image_pe)
    attended = self.final_attn_token_to_image.fused_attend_image(queries + tokens, keys, image_pe)
    return self.norm_final_attn.forward(queries + attended), keys
)",
       [](const Module& part) { return part.attr("layers").toModule().children().size() == 2; }},
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
)",
       [](const Module& part) {
         return part.attr("output_upscaling").toModule().type()->name()->name() == "SamUpscaling";
       }},
  };
}

}  // namespace

int64_t fuseDecoder(const Module& module, bool rounded) {
  if (!packsLinears()) return 0;
  std::vector<Replacement> all = replacements();
  for (Replacement& replacement : all) {
    replacement.source = withText(std::move(replacement.source), "ROUNDED", rounded ? "True" : "False");
  }
  return replaceClasses(module, all);
}

}  // namespace segsam
