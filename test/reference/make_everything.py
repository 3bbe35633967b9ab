"""What Hugging Face's mask generation finds in a random image: the reference for `scene.segmentEverything`.

python test/reference/make_everything.py test/reference/micro

Adds `everything.json` to a folder that make_reference.py wrote. Grid, interpolation, stability and filters are those of
`transformers`; its non-maximum suppression needs torchvision, so that all masks are kept as far as that step, and
test/fixtures/make_suppression.py stands for it.
"""

import argparse
import json
from pathlib import Path

import torch
from torch import Tensor

from reference import SIZES, random_sam, reference_cases

POINTS_PER_SIDE = 6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    config = SIZES[json.loads((folder / "cases.json").read_text())["size"]]
    sam = random_sam(config)
    _, cases = reference_cases(sam, config)
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
    (folder / "everything.json").write_text(json.dumps(result) + "\n")


@torch.inference_mode()
def decoded_grid(sam, embedding: Tensor, side: int) -> tuple[Tensor, Tensor, Tensor]:
    """Points (n, 2), mask logits at the size of the image (n, 3, side, side), predicted IoU (n, 3)."""
    from transformers.models.sam.image_processing_pil_sam import _build_point_grid

    points = torch.from_numpy(_build_point_grid(POINTS_PER_SIDE)).float() * side
    out = sam(
        image_embeddings=embedding.unsqueeze(0),
        input_points=points.reshape(1, -1, 1, 2),
        input_labels=torch.ones(1, len(points), 1, dtype=torch.long),
        multimask_output=True,
    )
    (masks,) = processor(side).post_process_masks(
        out.pred_masks, [(side, side)], [(side, side)], binarize=False, pad_size={"height": side, "width": side}
    )
    return points, masks, out.iou_scores[0]


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


def filtered(masks: Tensor, scores: Tensor, side: int, iou: float, stability: float, offset: float) -> list[dict]:
    rles, kept_scores, boxes = processor(side).filter_masks(
        masks, scores, (side, side), [0, 0, side, side], iou, stability, 0.0, offset
    )
    areas = [sum(rle["counts"][1::2]) for rle in rles]
    return [
        {"predictedIou": float(score), "bbox": [int(v) for v in box], "area": area}
        for area, score, box in zip(areas, kept_scores, boxes, strict=True)
        if area > 0
    ]


if __name__ == "__main__":
    main()
