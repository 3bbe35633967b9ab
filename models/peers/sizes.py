"""The models that the benchmark compares, each with one set of weights for every runtime."""

from dataclasses import replace

import torch

from search_path import ROOT
from seg_sam.bundle import Bundle
from seg_sam.config import SIZES, Config
from seg_sam.model import SegSam

TINY_BUNDLE = ROOT / "models" / "seg-sam-tiny"
NAMES = ("tiny-256", "vit_b-256", "vit_b-512", "vit_b-1024")


def config_of(name: str) -> Config:
    size, side = name.rsplit("-", 1)
    return replace(SIZES[size], image_size=int(side))


def tiny_model() -> SegSam:
    """The default bundle's weights in a plain PyTorch module."""
    bundle = Bundle(TINY_BUNDLE)
    decoder = bundle.decoder.state_dict()
    classes = decoder["text_to_vision.class_table.weight"].shape[0]
    model = SegSam(replace(config_of("tiny-256"), num_classes=classes)).eval()
    encoder = {f"image_encoder.{key}": value for key, value in bundle.encoder.state_dict().items()}
    model.load_state_dict({**encoder, **decoder})
    return model


def prompts_for(side: int, count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Clicks (count, 1, 2) in pixels and labels (count, 1), the same at every call and in the runner."""
    index = torch.arange(count)
    x = (index * 37 + 11) % side
    y = (index * 59 + 23) % side
    return torch.stack([x, y], dim=-1).float().unsqueeze(1), torch.ones(count, 1, dtype=torch.long)
