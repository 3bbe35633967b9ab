"""Dec_saw, the semantic-aware decoder: the mask and class of the prompted object, and the classes of the others."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .config import Config
from .layers import Mlp
from .mask_decoder import apply_hypernetworks, prompted_image, to_grid, to_tokens
from .mask_upscaling import make_upscaling, mask_channels
from .two_way_transformer import TwoWayTransformer


class SemanticDecoder(nn.Module):
    """Tokens [SO, CO x N, t_text, prompts] [paper].

    Two-way transformer of depth 2, cosine classifier, and the features under the semantic mask joining the SO-token for
    its class [ours].
    """

    def __init__(self, config: Config) -> None:
        super().__init__()
        width = config.prompt_dim
        self.num_co_tokens = config.num_co_tokens
        self.transformer = TwoWayTransformer(width, config.decoder_heads, config.decoder_mlp_dim)
        self.so_token = nn.Embedding(1, width)
        self.co_tokens = nn.Embedding(config.num_co_tokens, width)
        self.output_upscaling = make_upscaling(config)
        self.hypernetwork = Mlp(width, width, mask_channels(config), 3)
        self.pooled_proj = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width))
        self.has_map = config.fine_masks
        self.map_proj = (
            nn.Sequential(nn.LayerNorm(width // 4), nn.Linear(width // 4, width)) if self.has_map else nn.Identity()
        )
        self.so_classifier = CosineClassifier(width)
        self.co_classifier = CosineClassifier(width)

    def forward(
        self,
        features: list[Tensor],
        image_pe: Tensor,
        sparse: Tensor,
        dense: Tensor,
        maps: list[Tensor],
        class_tokens: Tensor,
        text_summary: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """As `MaskDecoder.forward`, with class tokens (B, K, C) and text summary tokens (B, 1, C) of the images.

        Returns logits (B·P, 1, h, h), SO class logits (B·P, K + 1) and CO class logits (B·P, N, K + 1).
        """
        prompts = sparse.shape[0]
        per_image = prompts // features[0].shape[0]
        own = torch.cat([self.so_token.weight, self.co_tokens.weight], dim=0).unsqueeze(0).expand(prompts, -1, -1)
        tokens = torch.cat([own, text_summary.repeat_interleave(per_image, dim=0), sparse], dim=1)
        image = prompted_image(features[0], dense, prompts)
        tokens, transformed = self.transformer(image, to_tokens(image_pe), tokens)
        upscaled = self.output_upscaling(to_grid(transformed, dense), features, maps)
        logits = apply_hypernetworks(self.hypernetwork(tokens[:, :1]), upscaled)
        classes = class_tokens.repeat_interleave(per_image, dim=0)
        so_token = tokens[:, :1] + self.pooled_proj(pool_under_mask(to_grid(image, dense), logits)).unsqueeze(1)
        if self.has_map:
            pixels = features[4]
            if pixels.shape[0] > 1:
                pixels = pixels.repeat_interleave(per_image, dim=0)
            so_token = so_token + self.map_proj(pool_under_mask(pixels, logits)).unsqueeze(1)
        so = self.so_classifier(so_token, classes)[:, 0]
        co = self.co_classifier(tokens[:, 1 : 1 + self.num_co_tokens], classes)
        return logits, so, co


def pool_under_mask(image: Tensor, logits: Tensor) -> Tensor:
    """(P or 1, C, H, W) features averaged under (P, 1, h, h) logits' mask: (P, C). [ours]

    No gradient flows to the mask.
    """
    weight = F.adaptive_avg_pool2d(logits.detach().sigmoid(), image.shape[-2:]).flatten(1).to(image.dtype)
    if image.shape[0] == 1:
        pooled = weight @ image[0].flatten(1).t()
    else:
        pooled = (image.flatten(2) @ weight.unsqueeze(-1)).squeeze(-1)
    return pooled / (weight.sum(dim=1, keepdim=True) + 1e-3)


class CosineClassifier(nn.Module):
    """Scaled cosine between a projected token and the class tokens, and a learned "nothing" entry, which comes last."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.proj = Mlp(width, width, width, 2)
        self.nothing = nn.Parameter(torch.randn(1, 1, width))
        self.log_scale = nn.Parameter(torch.tensor(2.3))

    def forward(self, tokens: Tensor, class_tokens: Tensor) -> Tensor:
        """tokens (P, N, C), class_tokens (P, K, C) to logits (P, N, K + 1)."""
        targets = torch.cat([class_tokens, self.nothing.expand(class_tokens.shape[0], -1, -1)], dim=1)
        cosine = F.normalize(self.proj(tokens), dim=-1) @ F.normalize(targets, dim=-1).transpose(1, 2)
        return cosine * self.log_scale.exp().clamp(max=100.0)
