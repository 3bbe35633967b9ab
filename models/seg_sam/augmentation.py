"""Random views of a labelled image in the S x S frame of the model."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from .config import Config
from .dataset import LabelledImage

# Mirror images of these do not exist: left and right, or up and down, carry meaning there.
FLIP_FREE = {"microscopy", "electron_microscopy"}
MIRROR_X = {"ultrasound", "ct", "mr", "mr_t1", "pet"}


@dataclass
class Strength:
    """How far a view strays from the image; the defaults are the training's."""

    rotation: float = 20.0  # degrees
    scale: tuple[float, float] = (0.75, 1.4)
    shift: float = 0.1  # of the side
    shear: float = 0.08
    elastic: float = 0.02  # of the side
    gamma: float = 0.45  # log2
    contrast: float = 0.25
    curve: float = 0.08  # of the range, at three knots
    tissue: float = 0.05  # of the range, each object of an MR image by itself
    noise: float = 14.0  # on 0-255
    blur: float = 0.3  # probability


def random_view(
    sample: LabelledImage, config: Config, strength: Strength, rng: np.random.Generator
) -> tuple[Tensor, Tensor]:
    """Image (3, S, S) float32 on 0-255, where outside the image the mean colour stands, and instances (S, S) int64."""
    side = config.image_size
    image = torch.from_numpy(sample.image).permute(2, 0, 1).unsqueeze(0).float()
    instances = torch.from_numpy(sample.instances).unsqueeze(0).unsqueeze(0).float()
    grid, zoom = _sampling_grid(sample, side, strength, rng)
    image = _shrink_before_sampling(image, side * zoom)
    view = F.grid_sample(image, grid, mode="bilinear", padding_mode="zeros", align_corners=False)[0]
    inside = (grid.abs() <= 1).all(dim=-1)
    objects = F.grid_sample(instances, grid, mode="nearest", padding_mode="zeros", align_corners=False)[0, 0].long()
    if sample.modality == "mr" and rng.random() < 0.5:
        view = _change_tissues(view, objects, strength, rng)
    view = _change_intensity(view, strength, rng)
    mean = torch.tensor(config.pixel_mean).reshape(3, 1, 1)
    return torch.where(inside, view, mean), objects


def _shrink_before_sampling(image: Tensor, side: float) -> Tensor:
    """Halves an image until its longest side is less than twice `side`, so that sampling does not alias."""
    while max(image.shape[-2:]) >= 2 * side:
        image = F.avg_pool2d(image, 2)
    return image


def _sampling_grid(
    sample: LabelledImage, side: int, strength: Strength, rng: np.random.Generator
) -> tuple[Tensor, float]:
    """The grid (1, side, side, 2), and how many times larger than the whole image in the frame it shows things."""
    height, width = sample.image.shape[:2]
    angle = np.deg2rad(rng.uniform(-strength.rotation, strength.rotation))
    low, high = strength.scale
    zoom = float(np.exp(rng.uniform(np.log(low), np.log(high))))
    free = sample.modality in FLIP_FREE
    if free:
        angle += np.pi / 2 * rng.integers(4)
        # Large micrographs hold hundreds of tiny objects: look closer at a part.
        zoom *= max(1.0, max(height, width) / (2.0 * side)) ** rng.uniform(0, 1)
    mirror_x = -1.0 if (free or sample.modality in MIRROR_X) and rng.random() < 0.5 else 1.0
    if tells_sides(sample) or "-sagittal" in sample.name:
        mirror_x = 1.0
    cos, sin = np.cos(angle) / zoom, np.sin(angle) / zoom
    shear = rng.uniform(-strength.shear, strength.shear)
    # The frame holds the longest side; a shorter one is centred, or lies at the top left as it does at run time.
    fx, fy = max(height, width) / width, max(height, width) / height
    matrix = np.array([[cos, -sin + shear], [sin, cos]]) @ np.diag([mirror_x, 1.0])
    reach = max(strength.shift, 1.0 - 1.0 / zoom if free else 0.0)
    shift = rng.uniform(-reach, reach, size=2)
    if rng.random() < 0.5:
        shift += np.array([(1 - 1 / fx), (1 - 1 / fy)])
    theta = np.concatenate([matrix, shift[:, None]], axis=1)
    theta[0] *= fx
    theta[1] *= fy
    grid = F.affine_grid(torch.from_numpy(theta).float().unsqueeze(0), [1, 1, side, side], align_corners=False)
    if strength.elastic > 0 and rng.random() < 0.6:
        coarse = torch.from_numpy(rng.normal(size=(1, 2, 7, 7))).float() * strength.elastic
        field = F.interpolate(coarse, size=(side, side), mode="bicubic", align_corners=True)
        grid = grid + field.permute(0, 2, 3, 1) * torch.tensor([fx, fy]).float()
    return grid, zoom


def tells_sides(sample: LabelledImage) -> bool:
    """Whether a class of the image, or one it might have had, tells the patient's left from right."""
    return any({"left", "right"} & set(c.split("_")) for c in (*sample.classes, *sample.known))


def _change_intensity(view: Tensor, strength: Strength, rng: np.random.Generator) -> Tensor:
    x = (view / 255).clamp(0, 1)
    if rng.random() < 0.5:
        x = _bend(x, strength, rng)
    x = x ** float(2 ** rng.uniform(-strength.gamma, strength.gamma))
    x = x * (1 + rng.uniform(-strength.contrast, strength.contrast))
    x = x + rng.uniform(-strength.contrast, strength.contrast) / 3
    if rng.random() < 0.3:
        bias = torch.from_numpy(rng.normal(size=(1, 1, 3, 3))).float() * 0.12
        x = x * (1 + F.interpolate(bias, size=x.shape[-2:], mode="bicubic", align_corners=True)[0])
    if rng.random() < strength.blur:
        x = F.interpolate(F.avg_pool2d(x.unsqueeze(0), 2), size=x.shape[-2:], mode="bilinear")[0]
    x = x * 255
    if rng.random() < 0.5:
        x = x + torch.randn(1, *x.shape[-2:]) * rng.uniform(0, strength.noise)
    return x.clamp(0, 255)


def _change_tissues(view: Tensor, objects: Tensor, strength: Strength, rng: np.random.Generator) -> Tensor:
    """Another sequence or scanner: each object and the rest gets lighter or darker, with soft edges."""
    offsets = torch.from_numpy(rng.normal(size=int(objects.max()) + 1)).float() * strength.tissue * 255
    change = F.avg_pool2d(offsets[objects].unsqueeze(0), 3, stride=1, padding=1)
    # What is black lies outside the body.
    return view + change * (view / 40).clamp(0, 1)


def _bend(x: Tensor, strength: Strength, rng: np.random.Generator) -> Tensor:
    """A tone curve through (0, 0), three knots off the diagonal, and (1, 1)."""
    knots = np.array([0.0, 0.25, 0.5, 0.75, 1.0])
    heights = knots.copy()
    heights[1:-1] += np.clip(rng.normal(size=3) * strength.curve, -0.12, 0.12)
    scaled = x * 4
    lower = scaled.floor().clamp(0, 3).long()
    curve = torch.from_numpy(heights).float()
    return curve[lower] + (scaled - lower) * (curve[lower + 1] - curve[lower])
