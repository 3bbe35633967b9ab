"""SAM's prompt encoder: points, boxes and masks to tokens."""

import math

import torch
from torch import Tensor, nn

from .config import Config
from .layers import LayerNorm2d, resize_smoothly
from .prompt_raster import PromptRaster


class PromptEncoder(nn.Module):
    """Points with labels, and an earlier mask, to sparse and dense prompt embeddings.

    A box is two points labelled 2 (top-left) and 3 (bottom-right). A prompt without a box carries one padding point,
    labelled -1, after its points, as SAM adds it.
    """

    def __init__(self, config: Config) -> None:
        super().__init__()
        width = config.prompt_dim
        self.image_size = config.image_size
        self.grid = config.grid
        self.pe_layer = FourierPositions(width // 2)
        self.point_embeddings = nn.ModuleList(nn.Embedding(1, width) for _ in range(4))
        self.not_a_point_embed = nn.Embedding(1, width)
        chans = config.mask_in_chans
        self.mask_downscaling = nn.Sequential(
            nn.Conv2d(1, chans // 4, 2, stride=2),
            LayerNorm2d(chans // 4),
            nn.GELU(),
            nn.Conv2d(chans // 4, chans, 2, stride=2),
            LayerNorm2d(chans),
            nn.GELU(),
            nn.Conv2d(chans, width, 1),
        )
        self.no_mask_embed = nn.Embedding(1, width)
        self.has_raster = config.raster_prompts
        self.raster = PromptRaster(config) if config.raster_prompts else NoRaster()

    def forward(self, points: Tensor, labels: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor, list[Tensor]]:
        """points (P, N, 2) x, y in the S x S frame, labels (P, N), mask (P, 1, h, h) logits or None.

        Returns sparse (P, N, C), dense (P or 1, C, grid, grid), and drawn maps for the upscaling (none in SAM's sizes).
        """
        sparse = self.pe_layer.encode(points.float() + 0.5, float(self.image_size)).to(self.no_mask_embed.weight.dtype)
        label = labels.unsqueeze(-1)
        padding = label == -1
        sparse = torch.where(padding, torch.zeros_like(sparse) + self.not_a_point_embed.weight, sparse)
        for i, embedding in enumerate(self.point_embeddings):
            sparse = torch.where(label == i, sparse + embedding.weight, sparse)
        if mask is None:
            dense = self.no_mask_embed.weight.reshape(1, -1, 1, 1).expand(-1, -1, self.grid, self.grid)
        else:
            side = 4 * self.grid
            if mask.shape[-1] != side:
                mask = resize_smoothly(mask.float(), side)
            dense = self.mask_downscaling(mask.to(self.no_mask_embed.weight.dtype))
        maps = self.raster(points, labels, mask)
        if self.has_raster:
            dense = dense + maps[0]
        return sparse, dense, maps

    def image_positions(self) -> Tensor:
        """(1, C, grid, grid) positional encoding of the embedding's grid."""
        return self.pe_layer.grid_positions(self.grid).to(self.no_mask_embed.weight.dtype)


class NoRaster(nn.Module):
    """SAM draws no prompts."""

    def forward(self, points: Tensor, labels: Tensor, mask: Tensor | None) -> list[Tensor]:
        maps: list[Tensor] = []
        return maps


class FourierPositions(nn.Module):
    """Random Fourier features of scale 1 (Tancik et al. 2020). Always computed in float32."""

    def __init__(self, half_width: int) -> None:
        super().__init__()
        self.register_buffer("positional_encoding_gaussian_matrix", torch.randn(2, half_width))

    def encode(self, points: Tensor, side: float) -> Tensor:
        """(..., 2) x, y in a frame of `side` to (..., C)."""
        matrix = self.positional_encoding_gaussian_matrix.float()
        angle = 2 * math.pi * ((2 * points / side - 1) @ matrix)
        return torch.cat([angle.sin(), angle.cos()], dim=-1)

    def grid_positions(self, side: int) -> Tensor:
        """(1, C, side, side) at the centres of a grid."""
        centre = torch.arange(side, device=self.positional_encoding_gaussian_matrix.device).float() + 0.5
        y, x = torch.meshgrid(centre, centre, indexing="ij")
        return self.encode(torch.stack([x, y], dim=-1), float(side)).permute(2, 0, 1).unsqueeze(0)
