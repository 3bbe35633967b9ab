"""What Hugging Face's mask generation finds in a random image: the reference for `segmentEverything`.

python test/reference/make_everything.py test/reference/micro

Adds `everything.json` to a folder that make_reference.py wrote. Grid, interpolation, stability and filters are those of
`transformers`; its non-maximum suppression needs torchvision, so that all masks are kept as far as that step, and
test/fixtures/make_suppression.py stands for it.

Crops are cut from a larger image (`spotted`), and resized as floats with PyTorch's antialiasing, as the addon does it.
`transformers` scales the points of a crop by the size of the whole image, which segment-anything does not; so its grid
is taken, and scaled to the crop. Its boxes of crops stay in the crop, and so those of the result are measured on the
padded masks.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from reference import SIZES, random_sam, reference_cases
from seg_sam.config import Config

POINTS_PER_SIDE = 6
# Width and height of an image, layers, overlap: (61, 60) overlaps by one pixel, (64, 64) not at all.
CROPS = [
    (288, 240, 1, 512 / 1500),
    (97, 60, 2, 0.25),
    (61, 60, 2, 1 / 60),
    (1500, 700, 4, 512 / 1500),
    (64, 64, 3, 0.0),
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    config = SIZES[json.loads((folder / "cases.json").read_text())["size"]]
    sam = random_sam(config)
    pixels, cases = reference_cases(sam, config)
    side = config.image_size
    points, masks, scores = decoded_grid(sam, cases[0]["embedding"], side)
    result = {"pointsPerSide": POINTS_PER_SIDE, "points": points.tolist(), "cases": []}
    # The thresholds lie between two values, so that rounding decides nothing.
    for iou_share, stability_share, offset in [(0.0, 0.0, 0.1), (0.1, 0.0, 0.1), (0.0, 0.3, 0.1), (0.0, 0.5, 0.25)]:
        iou = between(scores.flatten(), iou_share)
        stability = between(stability_scores(masks, offset), stability_share)
        result["cases"].append(
            {
                "predIouThresh": iou,
                "stabilityScoreThresh": stability,
                "stabilityScoreOffset": offset,
                "objects": filtered(masks, scores, side, iou, stability, offset),
            }
        )
    result["cropBoxes"] = [
        {
            "width": width,
            "height": height,
            "layers": layers,
            "overlapRatio": overlap,
            "boxes": boxes,
            "boxLayers": indices,
        }
        for width, height, layers, overlap in CROPS
        for boxes, indices in [per_layer_crops(layers, overlap, (height, width))]
    ]
    result["crops"] = found_in_crops(sam, pixels, config)
    (folder / "everything.json").write_text(json.dumps(result) + "\n")


def per_layer_crops(layers: int, overlap: float, size: tuple[int, int]) -> tuple[list[list[int]], list[int]]:
    from transformers.models.sam.image_processing_pil_sam import _generate_per_layer_crops

    return _generate_per_layer_crops(layers, overlap, size)


@torch.inference_mode()
def decoded_grid(
    sam, embedding: Tensor, side: int, per_side: int = POINTS_PER_SIDE, size: tuple[int, int] | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """Points (n, 2) in an image of `size` (height, width), by default that of the model, mask logits at that size
    (n, 3, height, width), predicted IoU (n, 3)."""
    from transformers.models.sam.image_processing_pil_sam import _build_point_grid

    height, width = size or (side, side)
    points = torch.from_numpy(_build_point_grid(per_side)).float() * torch.tensor([width, height])
    resized = resized_size((height, width), side)
    out = sam(
        image_embeddings=embedding.unsqueeze(0),
        input_points=(points * torch.tensor([resized[1] / width, resized[0] / height])).reshape(1, -1, 1, 2),
        input_labels=torch.ones(1, len(points), 1, dtype=torch.long),
        multimask_output=True,
    )
    (masks,) = processor(side).post_process_masks(
        out.pred_masks, [(height, width)], [resized], binarize=False, pad_size={"height": side, "width": side}
    )
    return points, masks, out.iou_scores[0]


def resized_size(size: tuple[int, int], side: int) -> tuple[int, int]:
    return processor(side)._get_preprocess_shape(size, side)


def spotted(pixels: Tensor, width: int, height: int) -> Tensor:
    """Discs of the image, repeated, on white: (height, width, 3). With them, random weights draw some masks that end
    within a crop."""
    x, y = np.arange(width), np.arange(height)
    inside = (x % 72 - 36) ** 2 + (y[:, None] % 72 - 36) ** 2 < 20**2
    repeated = pixels[y % len(pixels)][:, x % pixels.shape[1]]
    return torch.where(torch.from_numpy(inside).unsqueeze(2), repeated, 255).to(torch.uint8)


@torch.inference_mode()
def found_in_crops(sam, pixels: Tensor, config: Config) -> dict:
    """The image and four crops, without any suppression."""
    width, height, layers, per_side, factor, offset = 480, 360, 1, 6, 1, 0.1
    image, side = spotted(pixels, width, height), config.image_size
    objects, grids = [], []
    for box, layer in zip(*per_layer_crops(layers, 512 / 1500, (height, width)), strict=True):
        left, top, right, bottom = box
        size = (bottom - top, right - left)
        embedding = crop_embedding(sam, image[top:bottom, left:right], config)
        points, masks, scores = decoded_grid(sam, embedding, side, int(per_side / factor**layer), size)
        grids.append((points + torch.tensor([left, top])).tolist())
        found = filtered(masks, scores, side, 0.0, 0.0, offset, box, (height, width))
        objects.extend({**each, "crop": box} for each in found)
    return {
        "width": width,
        "height": height,
        "pointsPerSide": per_side,
        "cropNLayers": layers,
        "cropNPointsDownscaleFactor": factor,
        "stabilityScoreOffset": offset,
        "grids": grids,
        "objects": objects,
    }


def crop_embedding(sam, pixels: Tensor, config: Config) -> Tensor:
    height, width = resized_size(tuple(pixels.shape[:2]), config.image_size)
    values = torch.nn.functional.interpolate(
        pixels.float().permute(2, 0, 1).unsqueeze(0), (height, width), mode="bilinear", antialias=True
    )
    mean, std = (torch.tensor(values).reshape(1, 3, 1, 1) for values in (config.pixel_mean, config.pixel_std))
    padding = (0, config.image_size - width, 0, config.image_size - height)
    return sam.get_image_embeddings(torch.nn.functional.pad((values - mean) / std, padding))[0]


def processor(side: int):
    from transformers.models.sam.image_processing_pil_sam import SamImageProcessorPil

    return SamImageProcessorPil(size={"longest_edge": side}, pad_size={"height": side, "width": side})


def stability_scores(masks: Tensor, offset: float) -> Tensor:
    from transformers.models.sam.image_processing_pil_sam import _compute_stability_score

    return _compute_stability_score(masks.flatten(0, 1), 0.0, offset).nan_to_num(0.0)


def between(values: Tensor, share: float) -> float:
    """In the widest gap near that share of the values; 0, which keeps all, for none."""
    if share == 0:
        return 0.0
    ordered = values[values > 0].sort().values
    near = ordered[int(share * len(ordered)) :][:8]
    widest = int(near.diff().argmax())
    return float((near[widest] + near[widest + 1]) / 2)


def filtered(
    masks: Tensor,
    scores: Tensor,
    side: int,
    iou: float,
    stability: float,
    offset: float,
    crop: list[int] | None = None,
    size: tuple[int, int] | None = None,
) -> list[dict]:
    from transformers.models.sam.image_processing_pil_sam import _batched_mask_to_box, _rle_to_mask

    size = size or (side, side)
    crop = crop or [0, 0, size[1], size[0]]
    rles, kept_scores, _ = processor(side).filter_masks(masks, scores, size, crop, iou, stability, 0.0, offset)
    objects = []
    for rle, score in zip(rles, kept_scores, strict=True):
        mask = torch.from_numpy(_rle_to_mask(rle).copy())
        if mask.any():
            box = _batched_mask_to_box(mask.unsqueeze(0))[0].tolist()
            objects.append({"predictedIou": float(score), "bbox": box, "area": int(mask.sum())})
    return objects


if __name__ == "__main__":
    main()
