"""From the embedding's grid to the grid of the mask logits."""

from torch import Tensor, nn
from torch.nn import functional as F

from .config import Config
from .layers import LayerNorm2d


def mask_channels(config: Config) -> int:
    """Channels of the upscaled embedding, which a hypernetwork's output is multiplied with."""
    return config.prompt_dim // (16 if config.fine_masks else 8)


class SamUpscaling(nn.Sequential):
    """SAM's 4x upscaling by two transposed convolutions."""

    def __init__(self, config: Config) -> None:
        width = config.prompt_dim
        super().__init__(
            nn.ConvTranspose2d(width, width // 4, 2, stride=2),
            LayerNorm2d(width // 4),
            nn.GELU(),
            nn.ConvTranspose2d(width // 4, width // 8, 2, stride=2),
            nn.GELU(),
        )

    def forward(self, x: Tensor, features: list[Tensor], maps: list[Tensor]) -> Tensor:
        for layer in self:
            x = layer(x)
        return x


class FineUpscaling(nn.Module):
    """8x upscaling that adds the stem's features and the map of pixels, in the manner of SAM 2 (Ravi et al. 2024)."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        width = config.prompt_dim
        c2, c4, c8 = config.stem_channels
        self.up8 = nn.ConvTranspose2d(width, width // 4, 2, stride=2)
        self.up4 = nn.ConvTranspose2d(width // 4, width // 8, 2, stride=2)
        self.up2 = nn.ConvTranspose2d(width // 8, width // 16, 2, stride=2)
        self.skip8 = nn.Conv2d(c8, width // 4, 1)
        self.skip4 = nn.Conv2d(c4, width // 8, 1)
        self.skip2 = nn.Conv2d(c2, width // 16, 1)
        self.skip_map = nn.Conv2d(width // 4, width // 8, 1)
        nn.init.zeros_(self.skip_map.weight)
        self.norm8 = LayerNorm2d(width // 4)
        self.norm4 = LayerNorm2d(width // 8)

    def forward(self, x: Tensor, features: list[Tensor], maps: list[Tensor]) -> Tensor:
        prompts = x.shape[0] // features[0].shape[0]
        x = _add_skip(self.up8(x), self.skip8(features[1]), prompts)
        x = F.gelu(self.norm8(x + maps[1] if len(maps) > 0 else x))
        x = _add_skip(self.up4(x), self.skip4(features[2]) + self.skip_map(features[4]), prompts)
        x = F.gelu(self.norm4(x + maps[2] if len(maps) > 0 else x))
        return F.relu(_add_skip(self.up2(x), self.skip2(features[3]), prompts))


def _add_skip(x: Tensor, skip: Tensor, prompts: int) -> Tensor:
    """Adds the features of B images (B, C, H, W) to the maps of their prompts (B * prompts, C, H, W)."""
    grouped = x.reshape(skip.shape[0], prompts, x.shape[1], x.shape[2], x.shape[3])
    return (grouped + skip.unsqueeze(1)).reshape(x.shape)


def make_upscaling(config: Config) -> nn.Module:
    return FineUpscaling(config) if config.fine_masks else SamUpscaling(config)
