"""Small layers that several parts share."""

import itertools

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class LayerNorm2d(nn.Module):
    """Layer norm over the channels of (B, C, H, W), as SAM's neck and mask upscaling use it."""

    def __init__(self, channels: int, eps: float = 1e-6) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        channels_last = x.permute(0, 2, 3, 1)
        return F.layer_norm(channels_last, self.weight.shape, self.weight, self.bias, self.eps).permute(0, 3, 1, 2)


class MlpBlock(nn.Module):
    """Two linear layers with an activation between; GELU in the encoder, ReLU in the decoders."""

    def __init__(self, width: int, hidden: int, relu: bool = False) -> None:
        super().__init__()
        self.lin1 = nn.Linear(width, hidden)
        self.lin2 = nn.Linear(hidden, width)
        self.act = nn.ReLU() if relu else nn.GELU()

    def forward(self, x: Tensor) -> Tensor:
        return self.lin2(self.act(self.lin1(x)))


class Mlp(nn.Module):
    """A stack of linear layers with ReLU between: SAM's hypernetworks and IoU head."""

    def __init__(self, width: int, hidden: int, out: int, depth: int) -> None:
        super().__init__()
        widths = [width] + [hidden] * (depth - 1) + [out]
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in itertools.pairwise(widths))
        self.depth = depth

    def forward(self, x: Tensor) -> Tensor:
        for i, layer in enumerate(self.layers):
            x = layer(x)
            if i < self.depth - 1:
                x = F.relu(x)
        return x


class ResidualConvs(nn.Module):
    """Two 3x3 convolutions beside a shortcut, each after a group norm and GELU. (B, C, H, W), C a multiple of 8."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm1 = nn.GroupNorm(8, channels)
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.norm2 = nn.GroupNorm(8, channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv1(F.gelu(self.norm1(x)))
        return x + self.conv2(F.gelu(self.norm2(y)))


# Scripting `F.interpolate` writes every mode it knows into a bundle, and an older PyTorch refuses a bundle with a mode
# that it lacks. These two name just the operator they need.


def resize_smoothly(x: Tensor, side: int) -> Tensor:
    """(B, C, H, W) to (B, C, side, side): bilinear, with antialiasing."""
    return torch.ops.aten._upsample_bilinear2d_aa(x, [side, side], False)


def stretch(x: Tensor, length: int) -> Tensor:
    """(B, C, L) to (B, C, length): linear."""
    return torch.ops.aten.upsample_linear1d(x, [length], False)


def one_hot_rows_and_columns(height: int, width: int, like: Tensor) -> Tensor:
    """(height * width, height + width): for each position of a grid, its row and its column as one-hot vectors."""
    index = torch.arange(height * width, device=like.device)
    rows = torch.nn.functional.one_hot(index // width, height)
    columns = torch.nn.functional.one_hot(index % width, width)
    return torch.cat([rows, columns], dim=1).to(like.dtype)
