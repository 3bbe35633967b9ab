"""Dec_sag, the semantic-agnostic decoder: SAM's mask decoder, unchanged."""

import torch
from torch import Tensor, nn

from .config import Config
from .layers import Mlp
from .mask_upscaling import make_upscaling, mask_channels
from .two_way_transformer import TwoWayTransformer


class MaskDecoder(nn.Module):
    """Four binary masks a prompt with their predicted IoU: the first for clear prompts, the others for multimask."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        width = config.prompt_dim
        self.transformer = TwoWayTransformer(width, config.decoder_heads, config.decoder_mlp_dim)
        self.iou_token = nn.Embedding(1, width)
        self.mask_tokens = nn.Embedding(4, width)
        self.output_upscaling = make_upscaling(config)
        self.output_hypernetworks_mlps = nn.ModuleList(Mlp(width, width, mask_channels(config), 3) for _ in range(4))
        self.iou_prediction_head = Mlp(width, config.iou_hidden_dim, 4, 3)

    def forward(
        self, features: list[Tensor], image_pe: Tensor, sparse: Tensor, dense: Tensor, maps: list[Tensor]
    ) -> tuple[Tensor, Tensor]:
        """features of B images, sparse (B·P, N, C), dense (B·P or 1, C, H, W), drawn maps or none.

        The prompts of an image lie side by side.

        Returns logits (B·P, 4, h, h) and predicted IoU (B·P, 4).
        """
        prompts = sparse.shape[0]
        own = torch.cat([self.iou_token.weight, self.mask_tokens.weight], dim=0)
        tokens = torch.cat([own.unsqueeze(0).expand(prompts, -1, -1), sparse], dim=1)
        image = prompted_image(features[0], dense, prompts)
        tokens, image = self.transformer(image, to_tokens(image_pe), tokens)
        upscaled = self.output_upscaling(to_grid(image, dense), features, maps)
        hyper: list[Tensor] = []
        for i, mlp in enumerate(self.output_hypernetworks_mlps):
            hyper.append(mlp(tokens[:, 1 + i]))
        return apply_hypernetworks(torch.stack(hyper, dim=1), upscaled), self.iou_prediction_head(tokens[:, 0])


def prompted_image(embedding: Tensor, dense: Tensor, prompts: int) -> Tensor:
    """(B, C, H, W) embeddings plus each prompt's dense embedding (B·P or 1, C, H, W): (B·P, H·W, C), or (1, H·W, C)
    where the prompts of one image share it.
    """
    image = to_tokens(embedding)
    if image.shape[0] > 1:
        image = image.repeat_interleave(prompts // image.shape[0], dim=0)
    return image + to_tokens(dense)


def to_tokens(image: Tensor) -> Tensor:
    """(B, C, H, W) to (B, H·W, C), contiguous."""
    return image.flatten(2).transpose(1, 2).contiguous()


def to_grid(tokens: Tensor, like: Tensor) -> Tensor:
    """(B, H·W, C) to (B, C, H, W), with channels last in memory."""
    return tokens.reshape(tokens.shape[0], like.shape[2], like.shape[3], tokens.shape[2]).permute(0, 3, 1, 2)


def apply_hypernetworks(hyper: Tensor, upscaled: Tensor) -> Tensor:
    """(P, M, c) mask vectors with (P, c, h, h) pixel vectors to (P, M, h, h) logits."""
    return (hyper @ upscaled.flatten(2)).reshape(hyper.shape[0], hyper.shape[1], upscaled.shape[2], upscaled.shape[3])
