"""Small inputs for the tests: a micro configuration, data sets of bright shapes, class cards."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from seg_sam.config import SIZES
from seg_sam.dataset import LabelledImage
from seg_sam.model import SegSam

# Every option of `tiny`, in little.
MICRO = replace(
    SIZES["tiny"],
    name="micro",
    image_size=64,
    embed_dim=32,
    depth=2,
    num_heads=2,
    window_size=3,
    global_attn_indexes=(1,),
    stem_channels=(8, 8, 16),
    prompt_dim=32,
    decoder_heads=2,
    decoder_mlp_dim=32,
    iou_hidden_dim=16,
    num_co_tokens=4,
)
# The same as SAM has it: patches, 4x upscaling, no drawn prompts.
MICRO_SAM = replace(MICRO, name="micro_sam", conv_stem=False, fine_masks=False, raster_prompts=False)


def lively(model: SegSam, seed: int = 0) -> SegSam:
    """Gives every parameter a random value, also those that begin at zero, so that each has a part in the outputs."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    return model.eval()


def write_cards(path: Path) -> Path:
    cards = [
        {
            "id": name,
            "name": name.replace("_", " ").capitalize(),
            "synonyms": [f"{name} shape"],
            "codes": [],
            "modalities": ["synthetic"],
            "sentences": [f"A {name} is bright.", f"It lies on the {side} of the picture, far from the border."],
        }
        for name, side in (("square", "left"), ("bar", "right"), ("dot", "middle"))
    ]
    path.write_text(json.dumps({"schema": 1, "classes": cards}))
    return path


def shapes(rng: np.random.Generator, side: int = 64) -> tuple[np.ndarray, np.ndarray]:
    """(side, side) gray image and label map: 1 a square on the left, 2 a bar on the right."""
    labels = np.zeros((side, side), dtype=np.uint8)
    x, y = rng.integers(4, 12), rng.integers(8, 30)
    labels[y : y + 18, x : x + 18] = 1
    x, y = rng.integers(40, 50), rng.integers(4, 20)
    labels[y : y + 34, x : x + 8] = 2
    image = np.array([30, 140, 220], dtype=np.uint8)[labels] + rng.integers(0, 20, size=labels.shape, dtype=np.uint8)
    return image, labels


def write_labelled_slices(
    folder: Path, subjects: int = 3, test_subjects: int = 1, slices: int = 2, **description: object
) -> Path:
    """A semantic set of our format, of square and bar; `description` replaces entries of its dataset.json."""
    rng = np.random.default_rng(1)
    for part in ("images", "labels"):
        (folder / part).mkdir(parents=True)
    names = [f"s{i:02d}" for i in range(subjects + test_subjects)]
    for name in names:
        for index in range(slices):
            image, labels = shapes(rng)
            Image.fromarray(image).save(folder / "images" / f"{name}-axial_{index:03d}.png")
            Image.fromarray(labels).save(folder / "labels" / f"{name}-axial_{index:03d}.png")
    values = {
        "name": folder.name,
        "modality": "ct",
        "licence": "CC0-1.0",
        "labels": "semantic",
        "classes": [
            {"value": 1, "id": "square", "name": "Square"},
            {"value": 2, "id": "bar", "name": "Bar"},
            {"value": 7, "id": "dot", "name": "Dot"},
        ],
        "split": {"train": names[:subjects], "test": names[subjects:]},
        **description,
    }
    (folder / "dataset.json").write_text(json.dumps(values))
    return folder


def write_sam_med2d(folder: Path, images: dict[str, dict[str, np.ndarray]], part: str = "train") -> Path:
    """SAM-Med2D's layout: for each image's name its masks by the rest of their names; the image shows the masks."""
    for sub in ("images", "masks"):
        (folder / sub).mkdir(parents=True, exist_ok=True)
    listed: dict[str, list[str]] = {}
    for name, masks in images.items():
        picture = np.clip(sum(100 * m.astype(int) for m in masks.values()), 0, 255).astype(np.uint8)
        Image.fromarray(picture).save(folder / "images" / f"{name}.png")
        for rest, mask in masks.items():
            Image.fromarray(mask.astype(np.uint8) * 255).save(folder / "masks" / f"{name}{rest}.png")
        listed[f"{folder.name}/images/{name}.png"] = [f"{folder.name}/masks/{name}{rest}.png" for rest in masks]
    if part == "train":
        (folder / "image2label_train.json").write_text(json.dumps(listed))
    else:
        (folder / "label2image_test.json").write_text(json.dumps({m: i for i, ms in listed.items() for m in ms}))
    return folder


def rectangle(y0: int, y1: int, x0: int, x1: int, height: int = 32, width: int = 32) -> np.ndarray:
    mask = np.zeros((height, width), dtype=bool)
    mask[y0:y1, x0:x1] = True
    return mask


def sample_of(image: np.ndarray, instances: np.ndarray, classes: list[str], **values: object) -> LabelledImage:
    """A labelled image in memory; `values` replaces any of the rest."""
    rgb = np.repeat(image[:, :, None], 3, axis=2) if image.ndim == 2 else image
    rest = {
        "dataset": "set",
        "name": "a_0",
        "subject": "a",
        "modality": "ct",
        "known": sorted(set(classes)),
        "semantic_labels": True,
        "fully_labelled": True,
    }
    return LabelledImage(image=rgb, instances=instances.astype(np.int32), classes=classes, **{**rest, **values})
