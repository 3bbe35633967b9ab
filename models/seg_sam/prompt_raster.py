"""Prompts drawn as maps, for the tiny size.

SAM tells a decoder where a box lies through the Fourier features of its corners alone, and from scratch a decoder needs
long to learn what "between these corners" means. Here the prompt is also drawn, as interactive networks before SAM had
it (Sofiiuk et al. 2021, arXiv 2102.06583), and its maps join the dense embedding and the upscaling. Our own addition.
"""

import torch
from torch import Tensor, nn

from .config import Config
from .layers import resize_smoothly

CHANNELS = 6
POINT_SIGMA = 6.0  # pixels of the S x S frame
BOX_SOFTNESS = 1.5
BOX_FOCUS = 0.35  # of half the box's side


class PromptRaster(nn.Module):
    """Points, boxes and an earlier mask to maps at strides 16, 8 and 4, and to where the prompt points."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        width = config.prompt_dim
        self.image_size = config.image_size
        self.side = 4 * config.grid
        self.softness = BOX_SOFTNESS
        self.middle = 2 * BOX_FOCUS**2
        self.spread = 2 * POINT_SIGMA**2
        self.stride4 = nn.Sequential(
            nn.Conv2d(CHANNELS, width // 8, 3, padding=1), nn.GELU(), nn.Conv2d(width // 8, width // 4, 3, padding=1)
        )
        self.stride8 = nn.Sequential(nn.GELU(), nn.Conv2d(width // 4, width // 4, 3, stride=2, padding=1))
        self.stride16 = nn.Sequential(nn.GELU(), nn.Conv2d(width // 4, width, 3, stride=2, padding=1))

    def forward(self, points: Tensor, labels: Tensor, mask: Tensor | None) -> list[Tensor]:
        """As `PromptEncoder.forward`.

        Returns maps (P, C, S/16, S/16), (P, C/4, S/8, S/8) and (P, C/4, S/4, S/4), and `focus`.
        """
        drawn = self.draw(points, labels, mask)
        stride4 = self.stride4(drawn.to(self.stride4[0].weight.dtype))
        stride8 = self.stride8(stride4)
        return [self.stride16(stride8), stride8, stride4, self.focus(drawn)]

    def focus(self, drawn: Tensor) -> Tensor:
        """(P, 1, S/4, S/4): weight of the pixels the prompt shows as the object's, around points or amid the box."""
        middle = drawn[:, :1] * torch.exp(-(drawn[:, 1:2] ** 2 + drawn[:, 2:3] ** 2) / self.middle)
        return torch.maximum(middle, drawn[:, 3:4])

    def draw(self, points: Tensor, labels: Tensor, mask: Tensor | None) -> Tensor:
        """(P, 6, S/4, S/4) float32: inside the box, x and y relative to it, foreground, background, earlier mask."""
        centre = (torch.arange(self.side, device=points.device).float() + 0.5) * (self.image_size / self.side)
        x, y = centre.reshape(1, 1, -1), centre.reshape(1, -1, 1)
        points = points.float() + 0.5
        first = (labels == 2).unsqueeze(-1).float()
        last = (labels == 3).unsqueeze(-1).float()
        has_box = first.sum(dim=1).clamp(max=1.0).unsqueeze(-1)
        low, high = (points * first).sum(dim=1), (points * last).sum(dim=1)
        x0, y0 = low[:, 0].reshape(-1, 1, 1), low[:, 1].reshape(-1, 1, 1)
        x1, y1 = high[:, 0].reshape(-1, 1, 1), high[:, 1].reshape(-1, 1, 1)
        inside_x = torch.sigmoid((x - x0) / self.softness) * torch.sigmoid((x1 - x) / self.softness)
        inside_y = torch.sigmoid((y - y0) / self.softness) * torch.sigmoid((y1 - y) / self.softness)
        u = ((2 * x - x0 - x1) / (x1 - x0 + 1)).clamp(-2, 2).expand(-1, self.side, -1)
        v = ((2 * y - y0 - y1) / (y1 - y0 + 1)).clamp(-2, 2).expand(-1, -1, self.side)
        distance = (x.unsqueeze(1) - points[..., 0:1].unsqueeze(-1)) ** 2
        distance = distance + (y.unsqueeze(1) - points[..., 1:2].unsqueeze(-1)) ** 2
        spots = torch.exp(-distance / self.spread)
        foreground = (spots * (labels == 1).unsqueeze(-1).unsqueeze(-1)).amax(dim=1)
        background = (spots * (labels == 0).unsqueeze(-1).unsqueeze(-1)).amax(dim=1)
        earlier = torch.zeros_like(foreground)
        if mask is not None:
            resized = resize_smoothly(mask.float(), self.side)
            earlier = torch.tanh(resized[:, 0] / 4)
        maps = [inside_x * inside_y * has_box, u * has_box, v * has_box, foreground, background, earlier]
        return torch.stack(maps, dim=1)
