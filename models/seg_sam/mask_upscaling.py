"""From the embedding's grid to the grid of the mask logits."""

from torch import Tensor, nn
from torch.nn import functional as F

from .config import Config
from .layers import LayerNorm2d, ResidualConvs


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
    """8x upscaling that adds the stem's features and the map of pixels, in the manner of SAM 2 (Ravi et al. 2024).

    How the map of pixels is added depends on the prompt: its 1x1 kernel is modulated by what the map shows where the
    prompt points, so that pixels alike can be told from others, as with the prototypes of few-shot segmentation
    (Wang et al. 2019, arXiv 1908.06391).
    """

    def __init__(self, config: Config) -> None:
        super().__init__()
        width = config.prompt_dim
        c2, c4, c8 = config.stem_channels
        joined = width // 4
        self.up8 = nn.ConvTranspose2d(width, joined, 2, stride=2)
        self.up4 = nn.ConvTranspose2d(joined, joined, 2, stride=2)
        self.up2 = nn.ConvTranspose2d(joined, mask_channels(config), 2, stride=2)
        self.skip8 = nn.Conv2d(c8, joined, 1)
        self.skip4 = nn.Conv2d(c4, joined, 1)
        self.skip2 = nn.Conv2d(c2, mask_channels(config), 1)
        self.skip_map = nn.Linear(joined, joined, bias=False)
        self.alike = nn.Linear(joined, joined, bias=False)
        self.prototype_norm = nn.LayerNorm(joined)
        self.convs8 = ResidualConvs(joined)
        self.convs4 = ResidualConvs(joined)
        self.norm = LayerNorm2d(joined)

    def forward(self, x: Tensor, features: list[Tensor], maps: list[Tensor]) -> Tensor:
        prompts = x.shape[0] // features[0].shape[0]
        x = _add_skip(self.up8(x), self.skip8(features[1]), prompts)
        x = self.convs8(x + maps[1] if len(maps) > 0 else x)
        x = _add_skip(self.up4(x), self.skip4(features[2]), prompts)
        if len(maps) > 0:
            x = x + maps[2] + self.pixels_alike(features[4], maps[3])
        x = F.gelu(self.norm(self.convs4(x)))
        return F.relu(_add_skip(self.up2(x), self.skip2(features[3]), prompts))

    def pixels_alike(self, pixels: Tensor, focus: Tensor) -> Tensor:
        """The map of pixels (B, C, h, h) by a kernel for each prompt's focus (B * P, 1, h, h): (B * P, C, h, h)."""
        batch, channels, height, width = pixels.shape
        pixels = pixels.flatten(2)
        weight = focus.reshape(batch, -1, height * width).to(pixels.dtype)
        prototype = (weight @ pixels.transpose(1, 2)) / (weight.sum(dim=2, keepdim=True) + 1e-3)
        prototype = self.prototype_norm(prototype)
        kernel = self.skip_map.weight + self.alike.weight * prototype.unsqueeze(2)
        return (kernel.flatten(1, 2) @ pixels).reshape(-1, channels, height, width)


def _add_skip(x: Tensor, skip: Tensor, prompts: int) -> Tensor:
    """Adds the features of B images (B, C, H, W) to the maps of their prompts (B * prompts, C, H, W)."""
    grouped = x.reshape(skip.shape[0], prompts, x.shape[1], x.shape[2], x.shape[3])
    return (grouped + skip.unsqueeze(1)).reshape(x.shape)


def make_upscaling(config: Config) -> nn.Module:
    return FineUpscaling(config) if config.fine_masks else SamUpscaling(config)
