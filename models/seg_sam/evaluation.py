"""Dice and class accuracy of a model on labelled images, in Python: for watching a training."""

from collections import defaultdict

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .config import Config
from .dataset import LabelledImage, resize_to_model
from .prompts import BOTTOM_RIGHT, FOREGROUND, PADDING, TOP_LEFT, box_of, inner_point

SCORES = ("dice", "semantic_dice", "ellipse_dice", "class_right", "class_top3")
PRESENCE_THRESHOLD = 0.5  # as the runtime's, for `hit.others`


def objects_to_prompt(sample: LabelledImage, min_pixels: int = 30) -> list[int]:
    """Numbers of the objects that are scored: every instance of a set of instances, else each class's largest piece."""
    numbers, areas = np.unique(sample.instances, return_counts=True)
    candidates = [(int(n), int(a)) for n, a in zip(numbers, areas, strict=True) if n > 0 and a >= min_pixels]
    if not sample.semantic_labels:
        return [n for n, _ in candidates]
    largest: dict[str, tuple[int, int]] = {}
    for number, area in candidates:
        name = sample.classes[number - 1]
        if name not in largest or area > largest[name][1]:
            largest[name] = (number, area)
    return [n for n, _ in largest.values()]


@torch.inference_mode()
def evaluate(
    encoder: nn.Module,
    decoder: nn.Module,
    config: Config,
    images: list[LabelledImage],
    cards: list[dict],
    text: tuple[Tensor, Tensor],
    device: torch.device,
    kind: str = "box",
    limit: int = 0,
    seed: int = 0,
) -> dict:
    """One prompt an object, by the modules of `docs/bundle.md`.

    `kind` is "box" (the mask's box) or "point" (a random inner pixel). Masks are compared at
    the image's own size. `limit` caps the objects an image. Returns records, their means by set, class and modality,
    and how well the unprompted classes of each set are named. Of a `BinaryDecoder` there is Dice alone.
    """
    rng = np.random.default_rng(seed)
    ids = [c["id"] for c in cards]
    vectors = decoder.embed_classes(text[0].to(device), text[1].to(device))
    records = []
    for sample in images:
        numbers = objects_to_prompt(sample)
        if limit and len(numbers) > limit:
            numbers = sorted(rng.choice(numbers, size=limit, replace=False).tolist())
        if not numbers:
            continue
        frame, scale = resize_to_model(sample.image, config)
        mean, std = torch.tensor(config.pixel_mean), torch.tensor(config.pixel_std)
        image = ((torch.from_numpy(frame) - mean) / std).permute(2, 0, 1).unsqueeze(0).to(device)
        features = encoder(image)
        class_tokens, summary = decoder.condition(features, vectors)
        for start in range(0, len(numbers), 32):
            chunk = numbers[start : start + 32]
            masks = [sample.instances == n for n in chunk]
            points, labels = zip(*(_prompt(m, kind, rng) for m in masks), strict=True)
            points = torch.from_numpy(np.stack(points)) * torch.tensor(scale).float()
            out = decoder.decode(
                features, class_tokens, summary, points.to(device), torch.from_numpy(np.stack(labels)).to(device), None
            )
            binary = upscale(out[0][:, 0].float(), sample.image.shape[:2], scale, config.image_size) > 0
            named = out[2] is not None
            if named:
                semantic = upscale(out[2][:, 0].float(), sample.image.shape[:2], scale, config.image_size) > 0
                presence = out[4].float().softmax(dim=-1)[:, :, :-1].amax(dim=1)
            for i, number in enumerate(chunk):
                name = sample.classes[number - 1]
                record = {
                    "set": sample.dataset,
                    "modality": sample.modality,
                    "class": name,
                    "dice": dice(binary[i].cpu().numpy(), masks[i]),
                    "ellipse_dice": dice(ellipse_in_box(masks[i]), masks[i]),
                }
                if named:
                    rank = out[3][i, :-1].float().argsort(descending=True).tolist().index(ids.index(name))
                    record |= {
                        "semantic_dice": dice(semantic[i].cpu().numpy(), masks[i]),
                        "class_right": float(rank == 0),
                        "class_top3": float(rank < 3),
                        "others": _others(sample, name, out[3][i].float(), presence[i], ids),
                    }
                records.append(record)
    return {
        "records": records,
        "by_set": means(records, "set"),
        "by_class": means(records, "class"),
        "by_modality": means(records, "modality"),
        "others": {
            name: unprompted_scores([r["others"] for r in records if r["set"] == name])
            for name in sorted({r["set"] for r in records if "others" in r})
        },
    }


def _others(sample: LabelledImage, prompted: str, so: Tensor, presence: Tensor, ids: list[str]) -> dict:
    """Unprompted classes as `docs/evaluation.md` defines them: those found, those known to be absent, those missed.

    `so` (K + 1,) logits of the prompted object's class, `presence` (K,) probabilities. As in `hit.others`, the name
    that the object got is none of the others.
    """
    first = int(so.argmax())
    label = ids[first] if first < len(ids) else None
    named = {i for i, p in zip(ids, presence.tolist(), strict=True) if p > PRESENCE_THRESHOLD} - {label, prompted}
    present = set(sample.classes)
    absent = set(sample.known) - present - set(sample.specks)
    return {
        "found": len(named & present),
        "wrong": len(named & absent),
        "missed": len((present & set(ids)) - named - {prompted}),
        "absence_known": len(sample.known) > 0,
    }


def unprompted_scores(others: list[dict]) -> dict[str, float | None]:
    """Recall counts every class that is in the image, precision only images where absence is known."""
    found, wrong, missed = (sum(o[k] for o in others) for k in ("found", "wrong", "missed"))
    sure = sum(o["found"] for o in others if o["absence_known"])
    precision, recall = _share(sure, sure + wrong), _share(found, found + missed)
    f1 = None if precision is None or recall is None else _share(2 * precision * recall, precision + recall) or 0.0
    return {"precision": precision, "recall": recall, "f1": f1}


def _share(part: float, whole: float) -> float | None:
    return None if whole == 0 else round(part / whole, 4)


def _prompt(mask: np.ndarray, kind: str, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    if kind == "box":
        return box_of(mask).reshape(2, 2), np.array([TOP_LEFT, BOTTOM_RIGHT])
    return np.stack([inner_point(mask, rng, False), np.zeros(2, np.float32)]), np.array([FOREGROUND, PADDING])


def upscale(logits: Tensor, size: tuple[int, int], scale: tuple[float, float], side: int) -> Tensor:
    """(P, h, h) to (P, H, W): to the frame, cut to the image, to the image's size, as SAM's postprocess_masks."""
    height, width = size
    frame = F.interpolate(logits.unsqueeze(1), size=(side, side), mode="bilinear", align_corners=False)
    cut = frame[..., : round(height * scale[1]), : round(width * scale[0])]
    return F.interpolate(cut, size=size, mode="bilinear", align_corners=False)[:, 0]


def ellipse_in_box(mask: np.ndarray) -> np.ndarray:
    """The ellipse that fits into a mask's box: what a box prompt alone is worth, without looking at the image."""
    x0, y0, x1, y1 = box_of(mask)
    y, x = np.mgrid[: mask.shape[0], : mask.shape[1]]
    across = (2 * x - x0 - x1) / (x1 - x0 + 1)
    down = (2 * y - y0 - y1) / (y1 - y0 + 1)
    return across**2 + down**2 <= 1


def dice(a: np.ndarray, b: np.ndarray) -> float:
    total = int(a.sum()) + int(b.sum())
    return 1.0 if total == 0 else 2 * int((a & b).sum()) / total


def means(records: list[dict], key: str) -> dict[str, dict[str, float]]:
    groups: dict[str, list[dict]] = defaultdict(list)
    for record in records:
        groups[record[key]].append(record)
    return {
        name: {
            "n": len(group),
            **{s: round(float(np.mean([r[s] for r in group])), 4) for s in SCORES if s in group[0]},
        }
        for name, group in sorted(groups.items())
    }
