"""A map of what each pixel shows, at a quarter of the image's resolution.

Supervision through prompts alone starts slowly from scratch; in the data every pixel's class is known, so training
tells this map. The tiny size keeps it: its decoders draw and name objects with it. The other sizes only train with it.
"""

from torch import Tensor, nn
from torch.nn import functional as F

from .config import Config
from .layers import LayerNorm2d, ResidualConvs


class PixelDecoder(nn.Module):
    """Features to (B, C/4, 4 · grid, 4 · grid)."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        width = config.prompt_dim
        self.up1 = nn.ConvTranspose2d(width, width // 2, 2, stride=2)
        self.convs8 = ResidualConvs(width // 2)
        self.norm = LayerNorm2d(width // 2)
        self.up2 = nn.ConvTranspose2d(width // 2, width // 4, 2, stride=2)
        self.convs4 = ResidualConvs(width // 4)
        self.fine = config.conv_stem
        self.skip8 = nn.Conv2d(config.stem_channels[2], width // 2, 1) if self.fine else nn.Identity()
        self.skip4 = nn.Conv2d(config.stem_channels[1], width // 4, 1) if self.fine else nn.Identity()

    def forward(self, features: list[Tensor]) -> Tensor:
        x = self.up1(features[0])
        if self.fine:
            x = x + self.skip8(features[1])
        x = self.up2(F.gelu(self.norm(self.convs8(x))))
        if self.fine:
            x = x + self.skip4(features[2])
        return F.gelu(self.convs4(x))
