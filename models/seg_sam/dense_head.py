"""A training-only head that names each pixel."""

from torch import Tensor, nn

from .config import Config
from .pixel_decoder import PixelDecoder


class DenseHead(nn.Module):
    """Features to class logits (B, K + 1, 4 · grid, 4 · grid); the last class is background."""

    def __init__(self, config: Config, classes: int) -> None:
        super().__init__()
        self.has_map = config.fine_masks
        self.pixel_decoder = nn.Identity() if self.has_map else PixelDecoder(config)
        self.classify = nn.Conv2d(config.prompt_dim // 4, classes + 1, 1)

    def forward(self, features: list[Tensor]) -> Tensor:
        return self.classify(features[4] if self.has_map else self.pixel_decoder(features))
