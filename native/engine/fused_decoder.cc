#include "engine/fused_decoder.h"

#include <algorithm>
#include <exception>
#include <initializer_list>
#include <new>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "cuda/decoder.h"
#include "cuda/kernel.h"
#include "engine/brgemm_context.h"
#include "engine/class_replacement.h"
#include "engine/fine_upscaling.h"
#include "engine/linear.h"

namespace segsam {

namespace {

using torch::jit::Module;

/// Between tokens and image without a projection of the image (engine/token_attention.h), and of tokens to each other.
/// Written with ROUNDED for whether products take 16 bits.
constexpr const char* kAttentionOfCpu = R"(
def fused_queries(self, tokens: Tensor) -> Tensor:
    heads = self.num_heads
    width = self.head_width
    channels = self.k_proj.weight.size(1)
    q = self.q_proj.forward(tokens).reshape(-1, heads, width).transpose(0, 1)
    queries = torch.bmm(q, self.k_proj.weight.reshape(heads, width, channels)) * (float(width) ** -0.5)
    return queries.transpose(0, 1).reshape(tokens.size(0), -1, channels)

def fused_project(self, attended: Tensor) -> Tensor:
    heads = self.num_heads
    width = self.head_width
    channels = attended.size(2)
    sums = attended.reshape(-1, heads, channels).transpose(0, 1)
    out = torch.bmm(sums, self.v_proj.weight.reshape(heads, width, channels).transpose(1, 2))
    out = out.transpose(0, 1).reshape(attended.size(0), -1, heads * width)
    return self.out_proj.forward(out + self.v_proj.bias)

def fused_attend_both(self, image: Tensor, image_pe: Tensor, shared: Optional[Tensor], k: Tensor, v: Tensor,
                      norm_weight: Tensor, norm_bias: Tensor, queries: Tensor) -> Tuple[Tensor, Tensor]:
    prompts = k.size(0)
    heads = self.num_heads
    width = self.head_width
    channels = image.size(2)
    scale = float(width) ** -0.5
    projected = self.k_proj.forward(k).reshape(-1, heads, width)
    if shared is None:
        keys = torch.bmm(projected.transpose(0, 1), self.q_proj.weight.reshape(heads, width, channels)) * scale
        keys = keys.transpose(0, 1).reshape(prompts, -1, channels)
        shifts = ((projected * self.q_proj.bias.reshape(heads, width)).sum(-1) * scale).reshape(prompts, -1)
    else:
        own = torch.eye(heads, dtype=projected.dtype, device=projected.device).unsqueeze(-1)
        keys = (projected.unsqueeze(1) * own * scale).reshape(prompts, -1, heads * width)
        shifts = torch.zeros([prompts, keys.size(1)], dtype=keys.dtype, device=keys.device)
    values = torch.bmm(self.v_proj.forward(v).reshape(-1, heads, width).transpose(0, 1),
                       self.out_proj.weight.t().reshape(heads, width, channels))
    values = values.transpose(0, 1).reshape(prompts, -1, channels)
    return fused.attend_both(image, image_pe, shared, keys, shifts, values, self.out_proj.bias, heads, norm_weight,
                             norm_bias, 1e-5, queries, ROUNDED)

def fused_attend_image(self, tokens: Tensor, image: Tensor, image_pe: Tensor, shared: Optional[Tensor]) -> Tensor:
    if shared is None:
        return self.fused_project(fused.attend_image(self.fused_queries(tokens), image, image_pe, ROUNDED))
    queries = self.q_proj.forward(tokens) * (float(self.head_width) ** -0.5)
    return self.out_proj.forward(fused.attend_shared(queries, shared[0:1], shared[1:2], self.num_heads))

def fused_attend_self(self, q: Tensor, v: Tensor) -> Tensor:
    return self.forward(q, q, v)

def fused_leading(self, tokens: Tensor, count: int) -> Tensor:
    return tokens[:, :count]
)";

/// The same with the weights of two layers multiplied when the module is frozen: what is launched costs more than what
/// is computed, so tokens that nobody reads are computed, too. The image's values are in the order that CUDA reads.
constexpr const char* kAttentionOfCuda = R"(
def fused_joint(self, a: Tensor, b: Tensor) -> Tensor:
    left = a.float().reshape(self.num_heads, self.head_width, -1).transpose(1, 2)
    return torch.bmm(left, b.float().reshape(self.num_heads, self.head_width, -1))

def fused_joint_bias(self, a: Tensor, bias: Tensor) -> Tensor:
    return self.fused_joint(a, bias.unsqueeze(1)).flatten()

def fused_queries(self, tokens: Tensor) -> Tensor:
    scale = float(self.head_width) ** -0.5
    weight = self.fused_joint(self.k_proj.weight, self.q_proj.weight).flatten(0, 1) * scale
    bias = self.fused_joint_bias(self.k_proj.weight, self.q_proj.bias) * scale
    return torch.linear(tokens, weight.TYPE(), bias.TYPE()).reshape(tokens.size(0), -1, self.k_proj.weight.size(1))

def fused_project(self, attended: Tensor) -> Tensor:
    sums = attended.reshape(attended.size(0), -1, self.num_heads * attended.size(2))
    out = self.fused_joint(self.out_proj.weight.t(), self.v_proj.weight).transpose(0, 1).flatten(1)
    shift = torch.mv(self.out_proj.weight.float(), self.v_proj.bias.float()) + self.out_proj.bias.float()
    return torch.linear(sums, out.TYPE(), shift.TYPE())

def fused_attend_both(self, image: Tensor, image_pe: Tensor, shared: Optional[Tensor], k: Tensor, v: Tensor,
                      norm_weight: Tensor, norm_bias: Tensor, queries: Tensor) -> Tuple[Tensor, Tensor]:
    scale = float(self.head_width) ** -0.5
    prompts = k.size(0)
    heads = self.num_heads
    channels = image.size(2)
    weight = self.fused_joint(self.q_proj.weight, self.k_proj.weight).flatten(0, 1) * scale
    bias = self.fused_joint_bias(self.q_proj.weight, self.k_proj.bias) * scale
    keys = torch.linear(k, weight.TYPE(), bias.TYPE()).reshape(prompts, -1, channels)
    weight_of_shifts = self.fused_joint(self.q_proj.bias.unsqueeze(1), self.k_proj.weight).flatten(0, 1) * scale
    bias_of_shifts = self.fused_joint_bias(self.q_proj.bias.unsqueeze(1), self.k_proj.bias) * scale
    shifts = torch.linear(k, weight_of_shifts.TYPE(), bias_of_shifts.TYPE()).reshape(prompts, -1)
    weight_of_values = self.fused_joint(self.out_proj.weight.t(), self.v_proj.weight).flatten(0, 1)
    bias_of_values = self.fused_joint_bias(self.out_proj.weight.t(), self.v_proj.bias)
    width = self.v_proj.weight.size(1)
    weight_of_values = weight_of_values.reshape(-1, 4, 4, 2, width).transpose(1, 2).reshape(-1, width)
    bias_of_values = bias_of_values.reshape(-1, 4, 4, 2).transpose(1, 2).reshape(-1)
    values = torch.linear(v, weight_of_values.TYPE(), bias_of_values.TYPE())
    values = values.reshape(prompts, -1, channels // 32, 4, 4, 2).transpose(3, 4)
    image = fused.attend_tokens(image, image_pe, keys, shifts, values, self.out_proj.bias, heads, norm_weight,
                                norm_bias, 1e-5, ROUNDED)
    return image, fused.attend_image(queries, image, image_pe, ROUNDED)

def fused_attend_image(self, tokens: Tensor, image: Tensor, image_pe: Tensor, shared: Optional[Tensor]) -> Tensor:
    return self.fused_project(fused.attend_image(self.fused_queries(tokens), image, image_pe, ROUNDED))

def fused_attend_self(self, q: Tensor, v: Tensor) -> Tensor:
    prompts = q.size(0)
    heads = self.num_heads
    width = self.head_width
    weight = torch.cat([self.q_proj.weight, self.k_proj.weight])
    both = torch.linear(q, weight, torch.cat([self.q_proj.bias, self.k_proj.bias]))
    both = both.reshape(prompts, -1, 2, heads, width).permute(2, 0, 3, 1, 4)
    values = self.v_proj.forward(v).reshape(prompts, -1, heads, width).transpose(1, 2)
    out = torch.scaled_dot_product_attention(both[0], both[1], values)
    return self.out_proj.forward(out.transpose(1, 2).flatten(2))

def fused_leading(self, tokens: Tensor, count: int) -> Tensor:
    return tokens
)";

/// @param attention the methods of attention
std::vector<Replacement> transformers(const std::string& attention) {
  return {
      {"TokenAttention", {"q_proj", "k_proj", "v_proj", "out_proj", "num_heads", "head_width"}, attention},
      {"TwoWayBlock",
       {"self_attn", "norm1", "cross_attn_token_to_image", "norm2", "mlp", "norm3", "norm4",
        "cross_attn_image_to_token", "first"},
       R"(
def fused_attend_self(self, queries: Tensor, query_pe: Tensor) -> Tuple[Tensor, Tensor]:
    norm = self.norm1
    if self.first:
        attended = self.self_attn.fused_attend_self(queries, queries)
        return fused.norm_tokens(attended, None, norm.weight, norm.bias, 1e-5, query_pe)
    attended = self.self_attn.fused_attend_self(queries + query_pe, queries)
    return fused.norm_tokens(queries, attended, norm.weight, norm.bias, 1e-5, query_pe)

def fused_add(self, queries: Tensor, attended: Tensor, query_pe: Tensor) -> Tuple[Tensor, Tensor]:
    queries, none = fused.norm_tokens(queries, attended, self.norm2.weight, self.norm2.bias, 1e-5, None)
    return fused.norm_tokens(queries, self.mlp.forward(queries), self.norm3.weight, self.norm3.bias, 1e-5, query_pe)

def fused_attend_both(self, image: Tensor, image_pe: Tensor, shared: Optional[Tensor], positioned: Tensor,
                      queries: Tensor, following: Tensor) -> Tuple[Tensor, Tensor]:
    return self.cross_attn_image_to_token.fused_attend_both(image, image_pe, shared, positioned, queries,
                                                            self.norm4.weight, self.norm4.bias, following)
)"},
      {"TwoWayTransformer",
       {"layers", "final_attn_token_to_image", "norm_final_attn"},
       R"(
def fused_transform(self, image: Tensor, image_pe: Tensor, tokens: Tensor, shared: Optional[Tensor],
                    kept: int) -> Tuple[Tensor, Tensor]:
    first = getattr(self.layers, "0")
    second = getattr(self.layers, "1")
    final = self.final_attn_token_to_image
    norm = self.norm_final_attn
    queries, positioned = first.fused_attend_self(tokens, tokens)
    attended = first.cross_attn_token_to_image.fused_attend_image(positioned, image, image_pe, shared)
    queries, positioned = first.fused_add(queries, attended, tokens)
    following, next_positioned = second.fused_attend_self(queries, tokens)
    of_image: Optional[Tensor] = None
    if shared is not None:
        of_image = shared[2:3]
    image, attended = first.fused_attend_both(image, image_pe, of_image, positioned, queries,
                                              second.cross_attn_token_to_image.fused_queries(next_positioned))
    attended = second.cross_attn_token_to_image.fused_project(attended)
    queries, positioned = second.fused_add(following, attended, tokens)
    image, attended = second.fused_attend_both(image, image_pe, None, positioned, queries,
                                               final.fused_queries(final.fused_leading(positioned, kept)))
    queries, none = fused.norm_tokens(final.fused_leading(queries, kept), final.fused_project(attended), norm.weight,
                                      norm.bias, 1e-5, None)
    return queries, image

def fused_forward(self, image: Tensor, image_pe: Tensor, tokens: Tensor) -> Tuple[Tensor, Tensor]:
    queries, image = self.fused_transform(image, image_pe, tokens, None, tokens.size(1))
    return queries, image.to(tokens.dtype)
)",
       [](const Module& part) { return part.attr("layers").toModule().children().size() == 2; }},
  };
}

constexpr const char* kPromptEncoder = R"(
def fused_forward(self, points: Tensor, labels: Tensor, mask: Optional[Tensor]) -> Tuple[Tensor, Tensor, List[Tensor]]:
    embeddings = self.point_embeddings
    table = torch.cat([getattr(embeddings, "0").weight, getattr(embeddings, "1").weight,
                       getattr(embeddings, "2").weight, getattr(embeddings, "3").weight,
                       self.not_a_point_embed.weight])
    sparse = fused.embed_points(points.float(), labels, self.pe_layer.positional_encoding_gaussian_matrix.float(),
                                table.float(), float(self.image_size)).to(table.dtype)
    maps: List[Tensor] = []
    if mask is None:
        dense = self.no_mask_embed.weight.reshape(1, -1, 1, 1).expand(-1, -1, self.grid, self.grid)
    else:
        side = 4 * self.grid
        if mask.size(-1) != side:
            mask = torch._upsample_bilinear2d_aa(mask.float(), [side, side], False)
        dense = self.mask_downscaling.forward(mask.to(table.dtype))
    return sparse, dense, maps
)";

/// SAM's encoder of prompts, which draws none of them.
bool drawsNoPrompts(const Module& encoder) { return !encoder.attr("has_raster").toBool(); }

bool drawsAsSam(const Module& decoder) {
  return decoder.attr("output_upscaling").toModule().type()->name()->name() == "SamUpscaling";
}

/// What differs between devices: the type of tokens and image, the order in which weights of the upscaling are read,
/// the mask vectors, and what prompts share of an image (kPromptDecoder), which is NARROWED where products take
/// bfloat16 and lies FROM_END of the features.
constexpr const char* kOperandsOfCpu = R"(
def fused_narrow(self, x: Tensor) -> Tensor:
    return x

def fused_weight(self, weight: Tensor) -> Tensor:
    return weight

def fused_share(self, image: Tensor, positioned: Tensor) -> List[Tensor]:
    first = getattr(self.transformer.layers, "0")
    attention = first.cross_attn_token_to_image
    keys = torch.linear(positioned, attention.k_proj.weight)
    values = attention.v_proj.forward(image)
    queries = first.cross_attn_image_to_token.q_proj.forward(positioned)
    none: List[Tensor] = []
    if queries.size(2) != keys.size(2):
        return none
    shared = torch.cat([keys, values, queries])
    if NARROWED and shared.size(1) % 2 == 0 and attention.head_width % 2 == 0:
        shared = shared.to(BFLOAT16)
    return [shared]

def fused_shared(self, features: List[Tensor], dense: Tensor) -> Optional[Tensor]:
    if len(features) > FROM_END and features[-FROM_END].size(0) == 3 and dense.stride(3) == 0:
        return features[-FROM_END]
    return None
)";

constexpr const char* kVectorsOfCpu = R"(
def fused_vectors(self, tokens: Tensor) -> Tensor:
    mlps = self.output_hypernetworks_mlps
    return torch.stack([getattr(mlps, "0").forward(tokens[:, 0]), getattr(mlps, "1").forward(tokens[:, 1]),
                        getattr(mlps, "2").forward(tokens[:, 2]), getattr(mlps, "3").forward(tokens[:, 3])], 1)
)";

constexpr const char* kOperandsOfCuda = R"(
def fused_narrow(self, x: Tensor) -> Tensor:
    return x.TYPE()

def fused_weight(self, weight: Tensor) -> Tensor:
    return weight.permute(2, 3, 1, 0).contiguous().permute(3, 2, 0, 1)

def fused_shared(self, features: List[Tensor], dense: Tensor) -> Optional[Tensor]:
    return None
)";

/// The four masks' layers at once.
constexpr const char* kVectorsOfCuda = R"(
def fused_vectors(self, tokens: Tensor) -> Tensor:
    mlps = self.output_hypernetworks_mlps
    x = tokens.transpose(0, 1)
LAYERS
    return x.transpose(0, 1)
)";

constexpr const char* kLayerOfVectors = R"(
    a = getattr(getattr(mlps, "0").layers, "LAYER")
    b = getattr(getattr(mlps, "1").layers, "LAYER")
    c = getattr(getattr(mlps, "2").layers, "LAYER")
    d = getattr(getattr(mlps, "3").layers, "LAYER")
    x = torch.baddbmm(torch.stack([a.bias, b.bias, c.bias, d.bias]).unsqueeze(1), x,
                      torch.stack([a.weight, b.weight, c.weight, d.weight]).transpose(1, 2)))";

std::string vectorsOfCuda() {
  const std::string activation = "\n    x = torch.relu(x)";
  const auto layer = [](const char* index) { return withText(kLayerOfVectors, "LAYER", index); };
  return withText(kVectorsOfCuda, "LAYERS", layer("0") + activation + layer("1") + activation + layer("2"));
}

constexpr const char* kLogits = R"(
def fused_logits(self, image: Tensor, side: int, vectors: Tensor) -> Tensor:
    up = self.output_upscaling
    norm = getattr(up, "1")
    return fused.upscale_masks(image, side, self.fused_weight(getattr(up, "0").weight), getattr(up, "0").bias,
                               norm.weight, norm.bias, norm.eps, self.fused_weight(getattr(up, "3").weight),
                               getattr(up, "3").bias, vectors, ROUNDED)
)";

constexpr const char* kMaskDecoder = R"(
def fused_forward(self, features: List[Tensor], image_pe: Tensor, sparse: Tensor, dense: Tensor,
                  maps: List[Tensor]) -> Tuple[Tensor, Tensor]:
    prompts = sparse.size(0)
    own = torch.cat([self.iou_token.weight, self.mask_tokens.weight], 0)
    tokens = self.fused_narrow(torch.cat([own.unsqueeze(0).expand(prompts, -1, -1), sparse], 1))
    image = fused.prompted_image(features[0], dense, prompts)
    positions = self.fused_narrow(image_pe.flatten(2).transpose(1, 2).contiguous())
    shared = self.fused_shared(features, dense)
    tokens, image = self.transformer.fused_transform(image, positions, tokens, shared, own.size(0))
    logits = self.fused_logits(image, dense.size(2), self.fused_vectors(tokens[:, 1:5]))
    return logits, self.iou_prediction_head.forward(tokens[:, 0].float())
)";

constexpr const char* kSemanticDecoder = R"(
def fused_forward(self, features: List[Tensor], image_pe: Tensor, sparse: Tensor, dense: Tensor, maps: List[Tensor],
                  class_tokens: Tensor, text_summary: Tensor) -> Tuple[Tensor, Tensor, Tensor]:
    prompts = sparse.size(0)
    side = dense.size(2)
    per_image = prompts // features[0].size(0)
    own = torch.cat([self.so_token.weight, self.co_tokens.weight], 0).unsqueeze(0).expand(prompts, -1, -1)
    tokens = self.fused_narrow(torch.cat([own, text_summary.repeat_interleave(per_image, 0), sparse], 1))
    image = fused.prompted_image(features[0], dense, prompts)
    positions = self.fused_narrow(image_pe.flatten(2).transpose(1, 2).contiguous())
    shared = self.fused_shared(features, dense)
    tokens, transformed = self.transformer.fused_transform(image, positions, tokens, shared, 1 + self.num_co_tokens)
    logits = self.fused_logits(transformed, side, self.hypernetwork.forward(tokens[:, :1]))
    weight = torch.avg_pool2d(logits.sigmoid(), [4, 4]).flatten(1)
    weight = (weight / (weight.sum(1, keepdim=True) + 1e-3)).to(image.dtype)
    if image.size(0) == 1:
        pooled = torch.mm(weight, image[0])
    else:
        pooled = torch.bmm(weight.unsqueeze(1), image).squeeze(1)
    tokens = tokens.float()
    so_token = tokens[:, :1] + self.pooled_proj.forward(pooled.float()).unsqueeze(1)
    classes = class_tokens.repeat_interleave(per_image, 0)
    so = self.so_classifier.forward(so_token, classes)[:, 0]
    co = self.co_classifier.forward(tokens[:, 1:1 + self.num_co_tokens], classes)
    return logits, so, co
)";

/// What the first layer of each decoder makes of an image that no prompt's mask was added to: (3, H * W, K), keys and
/// values for the tokens, and queries. They follow the features of one image, of which each has a batch of 1; that of
/// the semantic-agnostic decoder is the last one.
constexpr const char* kPromptDecoder = R"(
def fused_share(self, features: List[Tensor], named: bool) -> List[Tensor]:
    encoder = self.prompt_encoder
    dense = encoder.no_mask_embed.weight.reshape(1, -1, 1, 1).expand(-1, -1, encoder.grid, encoder.grid)
    image = fused.prompted_image(features[0], dense, 1)
    positioned = image + encoder.image_positions().flatten(2).transpose(1, 2)
    shared = self.mask_decoder.fused_share(image, positioned)
    if len(shared) == 0:
        return features
    if named:
        return features + self.semantic_decoder.fused_share(image, positioned) + shared
    return features + shared
)";

std::vector<Replacement> replacements(const std::string& attention, const std::string& operands,
                                      const std::string& vectors, bool rounded) {
  std::vector<Replacement> all = transformers(attention);
  all.push_back({"PromptEncoder",
                 {"point_embeddings", "not_a_point_embed", "no_mask_embed", "pe_layer", "mask_downscaling",
                  "image_size", "grid", "has_raster"},
                 kPromptEncoder,
                 drawsNoPrompts});
  all.push_back({"MaskDecoder",
                 {"transformer", "iou_token", "mask_tokens", "output_upscaling", "output_hypernetworks_mlps",
                  "iou_prediction_head"},
                 withText(operands, "FROM_END", "1") + vectors + kLogits + kMaskDecoder,
                 drawsAsSam});
  all.push_back({"SemanticDecoder",
                 {"transformer", "so_token", "co_tokens", "output_upscaling", "hypernetwork", "pooled_proj",
                  "so_classifier", "co_classifier", "num_co_tokens", "has_map"},
                 withText(operands, "FROM_END", "2") + kLogits + kSemanticDecoder,
                 [](const Module& part) { return drawsAsSam(part) && !part.attr("has_map").toBool(); }});
  const std::string isNarrowed = rounded && multipliesPackedBf16() ? "True" : "False";
  const std::string bfloat16 = std::to_string(static_cast<int>(at::kBFloat16));
  for (Replacement& replacement : all) {
    replacement.source = withText(std::move(replacement.source), "ROUNDED", rounded ? "True" : "False");
    replacement.source = withText(std::move(replacement.source), "NARROWED", isNarrowed);
    replacement.source = withText(std::move(replacement.source), "BFLOAT16", bfloat16);
  }
  return all;
}

/// Defines `fused_share` of a decoder whose parts have it.
Replacement sharing() {
  const auto fits = [](const Module& part) {
    const Module encoder = part.attr("prompt_encoder").toModule();
    return encoder.type()->name()->name() == "PromptEncoder" && drawsNoPrompts(encoder);
  };
  return {"PromptDecoder", {"prompt_encoder", "mask_decoder", "semantic_decoder"}, kPromptDecoder, fits};
}

/// May throw where the decoder has other parts.
bool hasPartsForCuda(const Module& module) {
  if (!module.hasattr("mask_decoder") || !module.hasattr("semantic_decoder")) return false;
  const Module decoder = module.attr("mask_decoder").toModule();
  if (!drawsAsSam(decoder) || !drawsAsSam(module.attr("semantic_decoder").toModule())) return false;
  const int64_t width = decoder.attr("iou_token").toModule().attr("weight").toTensor().size(1);
  const Module attention = decoder.attr("transformer").toModule().attr("final_attn_token_to_image").toModule();
  const int64_t side = module.attr("prompt_encoder").toModule().attr("grid").toInt();
  return decodesOnCuda(width, attention.attr("num_heads").toInt(), side);
}

bool fitsCuda(const Module& module) {
  try {
    return hasPartsForCuda(module);
  } catch (const std::bad_alloc&) {
    throw;
  } catch (const std::exception&) {
    return false;
  }
}

/// Classes of the parts whose names are among those of `all`, which say what takes their place.
int64_t countClasses(const Module& module, const std::vector<Replacement>& all) {
  std::set<const void*> types;
  for (const Module& part : module.modules()) {
    const std::string name = part.type()->name()->name();
    const auto isOf = [&](const Replacement& replacement) { return name == replacement.className; };
    const auto found = std::find_if(all.begin(), all.end(), isOf);
    if (found != all.end() && found->source.find("def fused_forward(") != std::string::npos) {
      types.insert(part.type().get());
    }
  }
  return static_cast<int64_t>(types.size());
}

/// Makes the weights of a decoder's parts float16.
void narrow(const Module& decoder, std::initializer_list<const char*> parts) {
  for (const char* name : parts) {
    for (const at::Tensor& weight : decoder.attr(name).toModule().parameters()) weight.set_data(weight.to(at::kHalf));
  }
}

int64_t fuseOnCuda(Module& module, at::Device device, std::string* failure) {
  if (!fitsCuda(module)) return 0;
  const std::string reason = whyNotPrepared(device, [&] { prepareDecoder(device); });
  if (failure != nullptr) *failure = reason;
  if (!reason.empty()) return 0;
  const std::vector<Replacement> all = decoderOfCuda(at::kHalf);
  // Of the parts, all compute in float16 or none.
  Module fused = module.clone();
  const int64_t classes = countClasses(module, all);
  if (replaceClasses(fused, all) != classes) {
    if (failure != nullptr) *failure = "the decoders' classes are of another version";
    return 0;
  }
  narrow(fused.attr("mask_decoder").toModule(), {"transformer", "output_upscaling", "output_hypernetworks_mlps"});
  narrow(fused.attr("semantic_decoder").toModule(), {"transformer", "output_upscaling", "hypernetwork"});
  module = fused;
  return classes;
}

}  // namespace

std::vector<Replacement> decoderOfCuda(at::ScalarType type) {
  const char* const name = type == at::kHalf ? "half" : "float";
  return replacements(withText(kAttentionOfCuda, "TYPE", name), withText(kOperandsOfCuda, "TYPE", name),
                      vectorsOfCuda(), type == at::kHalf);
}

int64_t fuseDecoder(Module& module, at::Device device, bool rounded, std::string* failure) {
  if (device.is_cuda()) return rounded ? fuseOnCuda(module, device, failure) : 0;
  if (!device.is_cpu() || !packsLinears()) return 0;
  const int64_t classes =
      replaceClasses(module, replacements(kAttentionOfCpu, kOperandsOfCpu, kVectorsOfCpu, rounded)) +
      replaceClasses(module, fineUpscaling(rounded));
  replaceClasses(module, {sharing()});
  return classes;
}

}  // namespace segsam
