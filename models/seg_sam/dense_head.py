"""A training-only head that names each pixel from the encoder's features.

Supervision through prompts alone starts slowly from scratch; every pixel's class is known, so the encoder is told.
"""

from torch import Tensor, nn
from torch.nn import functional as F

from .config import Config
from .layers import LayerNorm2d


class DenseHead(nn.Module):
    """Features to class logits (B, K + 1, 4 · grid, 4 · grid); the last class is background."""

    def __init__(self, config: Config, classes: int) -> None:
        super().__init__()
        width = config.prompt_dim
        self.up1 = nn.ConvTranspose2d(width, width // 2, 2, stride=2)
        self.norm = LayerNorm2d(width // 2)
        self.up2 = nn.ConvTranspose2d(width // 2, width // 4, 2, stride=2)
        self.fine = config.fine_masks
        if self.fine:
            self.skip8 = nn.Conv2d(config.stem_channels[2], width // 2, 1)
            self.skip4 = nn.Conv2d(config.stem_channels[1], width // 4, 1)
        self.classify = nn.Conv2d(width // 4, classes + 1, 1)

    def forward(self, features: list[Tensor]) -> Tensor:
        x = self.up1(features[0])
        if self.fine:
            x = x + self.skip8(features[1])
        x = self.up2(F.gelu(self.norm(x)))
        if self.fine:
            x = x + self.skip4(features[2])
        return self.classify(F.gelu(x))
