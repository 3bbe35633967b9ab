"""What others compute with random weights: Hugging Face's `SamModel`, and `plain_sam.py` for official checkpoints."""

import sys
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "models"))

from plain_sam import Shape, State, decode, encode, random_state
from seg_sam.config import SIZES as MODEL_SIZES
from seg_sam.config import Config
from seg_sam.hugging_face import to_sam_keys
from seg_sam.model import SegSam

_PLAIN_TINY = replace(MODEL_SIZES["tiny"], conv_stem=False, fine_masks=False, raster_prompts=False)

# The tiny size without its convolutional stem and finer masks, which SAM has not.
SIZES: dict[str, Config] = {
    "micro": replace(
        _PLAIN_TINY,
        name="micro",
        image_size=96,
        embed_dim=32,
        depth=2,
        num_heads=2,
        window_size=4,
        global_attn_indexes=(1,),
        prompt_dim=32,
        decoder_heads=4,
        decoder_mlp_dim=64,
        iou_hidden_dim=32,
        num_co_tokens=4,
    ),
    "tiny": _PLAIN_TINY,
    "vit_b": MODEL_SIZES["vit_b"],
}


def random_sam(config: Config):
    """A `SamModel` whose outputs vary with their inputs; SAM's Fourier features have scale 1."""
    from transformers import SamConfig, SamMaskDecoderConfig, SamModel, SamPromptEncoderConfig, SamVisionConfig
    from transformers.utils import logging

    logging.disable_progress_bar()
    torch.manual_seed(7)
    vision = SamVisionConfig(
        hidden_size=config.embed_dim,
        output_channels=config.prompt_dim,
        num_hidden_layers=config.depth,
        num_attention_heads=config.num_heads,
        image_size=config.image_size,
        mlp_dim=4 * config.embed_dim,
        window_size=config.window_size,
        global_attn_indexes=list(config.global_attn_indexes),
        num_pos_feats=config.prompt_dim // 2,
    )
    prompt = SamPromptEncoderConfig(
        hidden_size=config.prompt_dim, image_size=config.image_size, mask_input_channels=config.mask_in_chans
    )
    decoder = SamMaskDecoderConfig(
        hidden_size=config.prompt_dim,
        mlp_dim=config.decoder_mlp_dim,
        num_attention_heads=config.decoder_heads,
        iou_head_hidden_dim=config.iou_hidden_dim,
        layer_norm_eps=1e-5,  # SAM's own code; transformers' default is 1e-6
    )
    sam = SamModel(
        SamConfig(
            vision_config=vision.to_dict(),
            prompt_encoder_config=prompt.to_dict(),
            mask_decoder_config=decoder.to_dict(),
        )
    ).eval()
    with torch.no_grad():
        for name, parameter in sam.named_parameters():
            if parameter.ndim > 1:
                fan_in = parameter[0].numel()
                std = 0.02 if "pos_embed" in name or "rel_pos" in name else 1.2 * fan_in**-0.5
                parameter.normal_(std=0.3 if "embed" in name and parameter.shape[0] == 1 else std)
            else:
                parameter.add_(0.1 * torch.randn_like(parameter))
        matrix = torch.randn(2, config.prompt_dim // 2)
        sam.shared_image_embedding.positional_embedding.copy_(matrix)
        sam.prompt_encoder.shared_embedding.positional_embedding.copy_(matrix)
    return sam


def segsam_with_weights_of(sam, config: Config) -> SegSam:
    """Our model with the reference's SAM weights; only the semantic parts may start fresh."""
    model = SegSam(config).eval()
    missing, unexpected = model.load_state_dict(to_sam_keys(sam.state_dict()), strict=False)
    left = [k for k in missing if k.split(".")[0] not in ("text_to_vision", "semantic_decoder")]
    if left or unexpected:
        raise ValueError(f"missing: {left}; left over: {unexpected}")
    return model


@torch.inference_mode()
def reference_cases(sam, config: Config) -> tuple[Tensor, list[dict]]:
    """A random image (S, S, 3) uint8, and prompts with the reference's answers.

    `points` and `labels` carry boxes as corners labelled 2 and 3, and the padding point where there is no box.
    """
    side, grid = config.image_size, config.grid
    generator = torch.Generator().manual_seed(3)
    pixels = torch.randint(0, 256, (side, side, 3), generator=generator, dtype=torch.uint8)
    mean, std = torch.tensor(config.pixel_mean), torch.tensor(config.pixel_std)
    values = ((pixels.float() - mean) / std).permute(2, 0, 1).unsqueeze(0)
    embedding = sam.get_image_embeddings(values)
    cases: list[dict] = []
    for name, points, labels, box, with_mask, multimask in _prompts(side):
        mask = 4 * torch.randn(1, 1, 4 * grid, 4 * grid, generator=generator) if with_mask else None
        out = sam(
            image_embeddings=embedding,
            input_points=None if points is None else torch.tensor(points).float().reshape(1, 1, -1, 2),
            input_labels=None if points is None else torch.tensor(labels).reshape(1, 1, -1),
            input_boxes=None if box is None else torch.tensor(box).float().reshape(1, 1, 4),
            input_masks=mask,
            multimask_output=multimask,
        )
        case = _case(name, points, labels, box, multimask, out.pred_masks[0, 0], out.iou_scores[0, 0])
        cases.append(case if mask is None else {**case, "mask": mask[0, 0]})
    cases[0]["embedding"] = embedding[0]
    return pixels, cases


# Kinds of official checkpoints: shape, mean and standard deviation of their code's normalisation.
KINDS = {
    "sam": (Shape(), (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)),
    "medsam": (Shape(), None, None),
    "sam-med2d": (Shape(depth=2, adapters=True), (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)),
}


@torch.inference_mode()
def plain_cases(kind: str) -> tuple[State, Tensor, list[dict]]:
    """A random checkpoint, an image of few intensities, and the answers, as `reference_cases` gives them."""
    shape, mean, std = KINDS[kind]
    state = random_state(shape)
    generator = torch.Generator().manual_seed(3)
    pixels = torch.randint(30, 180, (shape.side, shape.side, 3), generator=generator, dtype=torch.uint8)
    values = pixels.float()
    if mean is None:
        # MedSAM: the least value of the image is 0 and the greatest 1.
        values = (values - values.min()) / (values.max() - values.min())
    else:
        values = (values - torch.tensor(mean)) / torch.tensor(std)
    embedding = encode(state, shape, values.permute(2, 0, 1).unsqueeze(0))
    cases: list[dict] = []
    for name, points, labels, box, with_mask, multimask in _prompts(shape.side):
        mask = 4 * torch.randn(4 * shape.grid, 4 * shape.grid, generator=generator) if with_mask else None
        logits, iou = decode(state, shape, embedding, points or [], labels or [], box, mask)
        shown = slice(1, 4) if multimask else slice(0, 1)
        case = _case(name, points, labels, box, multimask, logits[shown], iou[shown])
        cases.append(case if mask is None else {**case, "mask": mask.unsqueeze(0)})
    cases[0]["embedding"] = embedding[0]
    return state, pixels, cases


def _case(name: str, points, labels, box, multimask: bool, logits: Tensor, iou: Tensor) -> dict:
    our_points, our_labels = list(points or []), list(labels or [])
    if box is None:
        our_points, our_labels = [*our_points, [0.0, 0.0]], [*our_labels, -1]
    else:
        our_points, our_labels = [*our_points, box[:2], box[2:]], [*our_labels, 2, 3]
    return {
        "name": f"{name}{', multimask' if multimask else ''}",
        "points": our_points,
        "labels": our_labels,
        "multimask": multimask,
        "logits": logits,
        "iou": iou,
    }


def _prompts(side: int):
    """Name, points, labels, box, with a mask, multimask."""
    s = float(side)
    for multimask in (False, True):
        yield "one point", [[0.4 * s, 0.3 * s]], [1], None, False, multimask
        yield "three points", [[0.4 * s, 0.3 * s], [0.9 * s, 0.1 * s], [0.0, s - 1]], [1, 0, 1], None, False, multimask
        yield "box", None, None, [0.1 * s, 0.2 * s, 0.7 * s, 0.9 * s], False, multimask
        yield (
            "box and points",
            [[0.5 * s, 0.5 * s], [0.2 * s, 0.25 * s]],
            [1, 0],
            [3.0, 4.5, s - 2, 0.8 * s],
            False,
            multimask,
        )
        yield "point and mask", [[0.6 * s, 0.6 * s]], [1], None, True, multimask
        yield "box and mask", None, None, [0.1 * s, 0.2 * s, 0.7 * s, 0.9 * s], True, multimask
