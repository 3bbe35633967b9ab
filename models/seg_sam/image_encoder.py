"""SAM's image encoder (Kirillov et al. 2023, arXiv 2304.02643), with two options.

- SAM-Med2D's adapters (Cheng et al. 2023, arXiv 2308.16184) in every block;
- a convolutional stem instead of the patch projection, whose features at strides 2, 4 and 8 go to the mask decoders
  beside the embedding. This one is our own; it lets a small model learn from little data, and draw small objects.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .config import Config
from .layers import LayerNorm2d, MlpBlock, ResidualConvs, one_hot_rows_and_columns, stretch
from .pixel_decoder import PixelDecoder


class ImageEncoder(nn.Module):
    """(B, 3, S, S) normalised image to a list of features.

    The first is the embedding f_v, (B, prompt_dim, S/16, S/16). With a convolutional stem, its features follow at
    strides 8, 4 and 2, and with finer masks the pixel decoder's map at stride 4.
    """

    def __init__(self, config: Config) -> None:
        super().__init__()
        width = config.embed_dim
        self.patch_embed = ConvStem(config) if config.conv_stem else PatchEmbed(config.patch_size, width)
        self.pos_embed = nn.Parameter(torch.zeros(1, config.grid, config.grid, width))
        self.blocks = nn.ModuleList(
            Block(
                width,
                config.num_heads,
                0 if i in config.global_attn_indexes else config.window_size,
                config.grid,
                config.adapters,
            )
            for i in range(config.depth)
        )
        self.neck = nn.Sequential(
            nn.Conv2d(width, config.prompt_dim, 1, bias=False),
            LayerNorm2d(config.prompt_dim),
            nn.Conv2d(config.prompt_dim, config.prompt_dim, 3, padding=1, bias=False),
            LayerNorm2d(config.prompt_dim),
        )

        self.has_map = config.fine_masks
        self.pixel_decoder = PixelDecoder(config) if config.fine_masks else NoMap()

    def forward(self, image: Tensor) -> list[Tensor]:
        features: list[Tensor] = self.patch_embed(image)
        x = features[0].permute(0, 2, 3, 1) + self.pos_embed
        for block in self.blocks:
            x = block(x)
        features[0] = self.neck(x.permute(0, 3, 1, 2))
        if self.has_map:
            features.append(self.pixel_decoder(features))
        return features


class NoMap(nn.Module):
    """SAM has no map of pixels."""

    def forward(self, features: list[Tensor]) -> Tensor:
        return features[0]


class PatchEmbed(nn.Module):
    """SAM's: one convolution of the patch's size and stride."""

    def __init__(self, patch_size: int, width: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, width, patch_size, stride=patch_size)

    def forward(self, image: Tensor) -> list[Tensor]:
        return [self.proj(image)]


class ConvStem(nn.Module):
    """Convolutions of stride 2 with residual blocks between; returns strides 16, 8, 4 and 2."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        if config.patch_size != 16:
            raise ValueError(f"the convolutional stem ends at stride 16, got patch_size {config.patch_size}")
        c2, c4, c8 = config.stem_channels
        self.stride2 = nn.Sequential(nn.Conv2d(3, c2, 3, stride=2, padding=1), nn.GroupNorm(8, c2), nn.GELU())
        self.stride4 = nn.Sequential(nn.Conv2d(c2, c4, 3, stride=2, padding=1), ResidualConvs(c4))
        self.stride8 = nn.Sequential(nn.Conv2d(c4, c8, 3, stride=2, padding=1), ResidualConvs(c8), ResidualConvs(c8))
        self.proj = nn.Conv2d(c8, config.embed_dim, 3, stride=2, padding=1)

    def forward(self, image: Tensor) -> list[Tensor]:
        stride2 = self.stride2(image)
        stride4 = self.stride4(stride2)
        stride8 = self.stride8(stride4)
        return [self.proj(stride8), stride8, stride4, stride2]


class Block(nn.Module):
    """A transformer block; `window` 0 attends over the whole grid. Works on (B, H, W, C)."""

    def __init__(self, width: int, num_heads: int, window: int, grid: int, adapter: bool) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=1e-6)
        self.attn = Attention(width, num_heads, window if window > 0 else grid)
        self.norm2 = nn.LayerNorm(width, eps=1e-6)
        self.mlp = MlpBlock(width, 4 * width)
        self.window = window
        self.has_adapter = adapter
        # SAM-Med2D's checkpoints spell this key with a capital.
        self.Adapter = Adapter(width) if adapter else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x
        x = self.norm1(x)
        height, width = x.shape[1], x.shape[2]
        if self.window > 0:
            x = partition_windows(x, self.window)
        x = self.attn(x)
        if self.window > 0:
            x = join_windows(x, self.window, height, width)
        x = shortcut + x
        z = self.norm2(x)
        out = x + self.mlp(z)
        if self.has_adapter:
            out = out + self.Adapter(z)
        return out


class Attention(nn.Module):
    """Self-attention over a (H, W) grid with SAM's decomposed relative position bias q·R_h + q·R_w."""

    def __init__(self, width: int, num_heads: int, grid: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.head_width = width // num_heads
        self.scale = self.head_width**-0.5
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)
        self.rel_pos_h = nn.Parameter(torch.zeros(2 * grid - 1, self.head_width))
        self.rel_pos_w = nn.Parameter(torch.zeros(2 * grid - 1, self.head_width))

    def forward(self, x: Tensor) -> Tensor:
        batch, height, width, channels = x.shape
        qkv = self.qkv(x).reshape(batch, height * width, 3, self.num_heads, self.head_width).permute(2, 0, 3, 1, 4)
        q, k, v = qkv[0], qkv[1], qkv[2]
        grid_q = q.reshape(batch, self.num_heads, height, width, self.head_width)
        bias_h = torch.einsum("bnhwc,hkc->bnhwk", grid_q, relative_positions(self.rel_pos_h, height)).flatten(2, 3)
        bias_w = torch.einsum("bnhwc,wkc->bnhwk", grid_q, relative_positions(self.rel_pos_w, width)).flatten(2, 3)
        if q.dtype == torch.float32:
            out = attend_masked(q, k, v, bias_h, bias_w, self.scale)
        else:
            out = attend_folded(q, k, v, bias_h, bias_w, self.scale)
        return self.proj(out.transpose(1, 2).reshape(batch, height, width, channels))


def attend_masked(
    q: Tensor, k: Tensor, v: Tensor, bias_h: Tensor, bias_w: Tensor, scale: float, span: int = 512
) -> Tensor:
    """Fused attention with the bias as its mask, (B, heads, N, D), for `span` queries at a time: for all of them the
    mask would have N² entries a head, 805 MB for a global block of ViT-B.

    In float32 this takes a third of the time of `attend_folded`, whose products are three times as wide.
    """
    parts: list[Tensor] = []
    for first in range(0, q.shape[2], span):
        rows = bias_h[:, :, first : first + span].unsqueeze(-1)
        columns = bias_w[:, :, first : first + span].unsqueeze(-2)
        bias = (rows + columns).flatten(3)
        part = q[:, :, first : first + span]
        parts.append(F.scaled_dot_product_attention(part, k, v, attn_mask=bias, scale=scale))
    return torch.cat(parts, dim=2)


def attend_folded(q: Tensor, k: Tensor, v: Tensor, bias_h: Tensor, bias_w: Tensor, scale: float) -> Tensor:
    """Fused attention with the bias folded into the product: q is extended by its products with the relative positions,
    k by one-hot rows and columns, so that no mask is needed. For bf16 and float16, where products cost little.
    """
    # The scale applies to q·k alone, so it goes into q and attention gets 1.
    q = torch.cat([q * scale, bias_h, bias_w], dim=-1)
    one_hot = one_hot_rows_and_columns(bias_h.shape[-1], bias_w.shape[-1], k).expand(k.shape[0], k.shape[1], -1, -1)
    return F.scaled_dot_product_attention(q, torch.cat([k, one_hot], dim=-1), v, scale=1.0)


class Adapter(nn.Module):
    """SAM-Med2D's adapter: a channel gate and a strided convolution path, beside the MLP. Works on (B, H, W, C)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.channel = nn.Sequential(
            nn.Linear(width, width // 4, bias=False), nn.ReLU(), nn.Linear(width // 4, width, bias=False), nn.Sigmoid()
        )
        self.spatial = nn.Sequential(
            nn.Conv2d(width, width, 3, stride=2, padding=1, bias=False),
            nn.ReLU(),
            nn.ConvTranspose2d(width, width, 4, stride=2, padding=1, bias=False),
            nn.ReLU(),
        )

    def forward(self, z: Tensor) -> Tensor:
        gate = self.channel(z.mean(dim=(1, 2))).unsqueeze(1).unsqueeze(1)
        spatial = self.spatial((gate * z).permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        return self.norm(z + spatial)


def relative_positions(table: Tensor, size: int) -> Tensor:
    """(2L - 1, C) table to (size, size, C): entry [q, k] is the offset q - k's. Stretches a table of another L."""
    wanted = 2 * size - 1
    if table.shape[0] != wanted:
        stretched = stretch(table.float().t().unsqueeze(0), wanted)
        table = stretched[0].t().to(table.dtype)
    index = torch.arange(size, device=table.device)
    return table[index.unsqueeze(1) - index.unsqueeze(0) + (size - 1)]


def partition_windows(x: Tensor, window: int) -> Tensor:
    """(B, H, W, C) to (B * windows, window, window, C), padded at the bottom and right with zeros."""
    batch, height, width, channels = x.shape
    x = F.pad(x, (0, 0, 0, -width % window, 0, -height % window))
    rows, columns = x.shape[1] // window, x.shape[2] // window
    x = x.reshape(batch, rows, window, columns, window, channels)
    return x.permute(0, 1, 3, 2, 4, 5).reshape(batch * rows * columns, window, window, channels)


def join_windows(x: Tensor, window: int, height: int, width: int) -> Tensor:
    """The inverse of `partition_windows`: the padding is cut off."""
    rows, columns = (height + window - 1) // window, (width + window - 1) // window
    batch = x.shape[0] // (rows * columns)
    channels = x.shape[3]
    x = x.reshape(batch, rows, columns, window, window, channels).permute(0, 1, 3, 2, 4, 5)
    return x.reshape(batch, rows * window, columns * window, channels)[:, :height, :width]
