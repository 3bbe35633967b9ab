"""Prompts as a user would give them, drawn from masks: jittered boxes, points inside, points where a mask is wrong.

The scheme is SAM's and SAM-Med2D's (Cheng et al. 2023): a first prompt, then points from the error region together with
the previous low-resolution logits.
"""

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

FOREGROUND, BACKGROUND, TOP_LEFT, BOTTOM_RIGHT, PADDING = 1, 0, 2, 3, -1


def box_of(mask: np.ndarray) -> np.ndarray:
    """[x0, y0, x1, y1] of the outermost pixel centres of a mask that is not empty."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return np.array([columns[0], rows[0], columns[-1], rows[-1]], dtype=np.float32)


def jitter_box(box: np.ndarray, side: int, rng: np.random.Generator) -> np.ndarray:
    """Moves each edge by a normal deviate of a tenth of the box's side, at most 5 % of the frame, as SAM's training;
    of less than a tenth in many boxes, and not at all in some, as users draw some with care [ours].
    """
    extent = np.array([box[2] - box[0], box[3] - box[1]] * 2) + 1
    limit = np.minimum(0.25 * extent, 0.05 * side)
    deviation = 0.0 if rng.random() < 0.4 else rng.uniform(0, 0.1)
    moved = box + np.clip(rng.normal(size=4) * deviation * extent, -limit, limit)
    moved = np.clip(moved, 0, side - 1)
    x0, x1 = sorted((moved[0], moved[2]))
    y0, y1 = sorted((moved[1], moved[3]))
    return np.array([x0, y0, max(x1, x0 + 1), max(y1, y0 + 1)], dtype=np.float32)


def inner_point(mask: np.ndarray, rng: np.random.Generator, central: bool) -> np.ndarray:
    """x, y of a random pixel of the mask; `central` picks one of the half that lies farthest from its edge."""
    rows, columns = np.nonzero(mask)
    if central and len(rows) > 4:
        depth = ndimage.distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1][rows, columns]
        keep = depth >= np.median(depth)
        rows, columns = rows[keep], columns[keep]
    i = rng.integers(len(rows))
    return np.array([columns[i], rows[i]], dtype=np.float32)


def first_prompt(mask: np.ndarray, kind: str, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Points (2, 2) and labels (2,) of a box, or of one point with the padding point that SAM adds."""
    if kind == "box":
        box = jitter_box(box_of(mask), mask.shape[0], rng)
        return box.reshape(2, 2), np.array([TOP_LEFT, BOTTOM_RIGHT])
    point = inner_point(mask, rng, central=rng.random() < 0.5)
    return np.stack([point, np.zeros(2, np.float32)]), np.array([FOREGROUND, PADDING])


def correction_points(predicted: Tensor, target: Tensor, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """One point for each of P masks (P, S, S) bool, uniformly in the region where prediction and target differ.

    Returns points (P, 1, 2) and labels (P, 1): foreground where the object was missed. Without an error, one inside.
    """
    points, labels = [], []
    wrong = (predicted != target).cpu().numpy()
    truth = target.cpu().numpy()
    for error, mask in zip(wrong, truth, strict=True):
        region = error if error.any() else mask if mask.any() else np.ones_like(mask)
        x, y = inner_point(region, rng, central=False)
        points.append([x, y])
        labels.append(FOREGROUND if mask[int(y), int(x)] else BACKGROUND)
    return torch.tensor(points).float().unsqueeze(1), torch.tensor(labels).unsqueeze(1)


def add_points(points: Tensor, labels: Tensor, more: Tensor, more_labels: Tensor) -> tuple[Tensor, Tensor]:
    """Appends points to prompts of which some are boxes (corners first) and some points (padding last)."""
    box = (labels[:, 0] == TOP_LEFT).reshape(-1, 1)
    # The runtime puts points before corners or the padding point, as SAM's predictor does.
    point_first = torch.cat([more, points], dim=1)
    labels_first = torch.cat([more_labels, labels], dim=1)
    before_padding = torch.cat([points[:, :-1], more, points[:, -1:]], dim=1)
    labels_before = torch.cat([labels[:, :-1], more_labels, labels[:, -1:]], dim=1)
    return (
        torch.where(box.unsqueeze(-1), point_first, before_padding),
        torch.where(box, labels_first, labels_before),
    )
