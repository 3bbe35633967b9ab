"""Checkpoints of SAM and its medical relatives as SEG-SAM models: SAM's parts come across, the others start fresh."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from .checkpoint import is_trained_here, read_checkpoint, read_hugging_face_config, trained_model, weights_in
from .config import SIZES, Config
from .model import SegSam

SAM_PARTS = ("image_encoder.", "prompt_encoder.", "mask_decoder.")
SEED = 0
SAM_DECODER_HEADS = 8  # shapes do not tell


@dataclass(frozen=True)
class Preprocessing:
    """How the code that a checkpoint comes from prepares an image."""

    resize_mode: str
    default_window: str = "auto"
    pixel_mean: tuple[float, float, float] = Config.pixel_mean
    pixel_std: tuple[float, float, float] = Config.pixel_std


PREPROCESSING = {
    "sam": Preprocessing("longest"),
    # To 0..1 by the image's own least and greatest value, and no normalisation after it.
    "medsam": Preprocessing("stretch", "min_max", (0.0, 0.0, 0.0), (255.0, 255.0, 255.0)),
    "sam-med2d": Preprocessing("stretch"),
}
KINDS = ("seg-sam", *PREPROCESSING)


@dataclass(frozen=True)
class Converted:
    model: SegSam
    kind: str
    classes: list[str] | None  # None: the semantic part is fresh
    dtype: str  # in which the checkpoint keeps most of its weights


def convert(path: Path, kind: str | None, text_width: int) -> Converted:
    """Reads a checkpoint; `kind` is one of KINDS, or None to tell it from the keys.

    ValueError, naming file and key, for anything that does not come across whole.
    """
    saved = read_checkpoint(path)
    if is_trained_here(saved):
        if kind not in (None, "seg-sam"):
            raise ValueError(f"{path} was written by train.py: it is no {kind}")
        model, classes = trained_model(saved, path)
        return Converted(model, "seg-sam", classes, "float16")
    if kind == "seg-sam":
        raise ValueError(f"{path} was not written by train.py: it lacks model, config or classes")
    state = weights_in(saved, path)
    # Not weights: SAM's code may store how images are normalised.
    stored = {key: state.pop(key) for key in ("pixel_mean", "pixel_std") if key in state}
    try:
        config = replace(config_from_shapes(state), text_width=text_width)
        values = read_hugging_face_config(path)
        if values.get("model_type", "sam") != "sam":
            raise ValueError(f"config.json says model_type {values['model_type']!r}, not 'sam'")
        heads = (values.get("mask_decoder_config") or {}).get("num_attention_heads", SAM_DECODER_HEADS)
        config = replace(config, decoder_heads=heads)
        kind = kind or kind_of(config)
        config = _prepared(config, kind, stored)
        return Converted(_model_with(state, config), kind, None, _dtype_of(state))
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def kind_of(config: Config) -> str:
    """ValueError where the shapes fit more than one kind, which would prepare images differently."""
    if config.adapters:
        return "sam-med2d"
    if config.image_size == 1024:
        return "sam"
    raise ValueError(
        f"SAM's keys at {config.image_size} pixels instead of 1024. They do not tell how images were resized: "
        "say --kind sam (longest side), --kind sam-med2d (stretched, trained without adapters) or --kind medsam"
    )


def config_from_shapes(state: Mapping[str, Tensor]) -> Config:
    """The architecture that the shapes under SAM's names tell."""

    def shape(key: str, axes: int) -> tuple[int, ...]:
        if key not in state:
            raise ValueError(f"{key} is missing")
        if state[key].ndim != axes:
            raise ValueError(f"{key} has shape {tuple(state[key].shape)}, not {axes} axes")
        return tuple(state[key].shape)

    _, grid, _, width = shape("image_encoder.pos_embed", 4)
    patch = shape("image_encoder.patch_embed.proj.weight", 4)[2]
    numbers = {key.split(".")[2] for key in state if key.startswith("image_encoder.blocks.")}
    depth = 1 + max((int(n) for n in numbers if n.isdigit()), default=0)
    tables = [shape(f"image_encoder.blocks.{i}.attn.rel_pos_h", 2) for i in range(depth)]
    head_width = tables[0][1]
    # A table has 2L - 1 rows; L is the grid's side, or else the window's.
    spans = [(rows + 1) // 2 for rows, _ in tables]
    windows = sorted(set(spans) - {grid})
    if len(windows) > 1:
        odd = next(i for i, span in enumerate(spans) if span not in (grid, windows[0]))
        raise ValueError(
            f"image_encoder.blocks.{odd}.attn.rel_pos_h has {tables[odd][0]} rows, which is neither the grid's "
            f"{2 * grid - 1} nor {2 * windows[0] - 1}, another block's window"
        )
    if width % head_width != 0:
        raise ValueError(f"image_encoder.blocks.0.attn.rel_pos_h is {head_width} wide, no divisor of {width}")
    config = Config(
        image_size=grid * patch,
        patch_size=patch,
        embed_dim=width,
        depth=depth,
        num_heads=width // head_width,
        window_size=windows[0] if windows else Config.window_size,
        global_attn_indexes=tuple(i for i, span in enumerate(spans) if span == grid),
        adapters=any(".Adapter." in key for key in state),
        prompt_dim=shape("image_encoder.neck.0.weight", 4)[0],
        mask_in_chans=shape("prompt_encoder.mask_downscaling.3.weight", 4)[0],
        decoder_mlp_dim=shape("mask_decoder.transformer.layers.0.mlp.lin1.weight", 2)[0],
        iou_hidden_dim=shape("mask_decoder.iou_prediction_head.layers.0.weight", 2)[0],
    )
    return replace(config, name=_name(config))


def _name(config: Config) -> str:
    known = ("embed_dim", "depth", "num_heads", "prompt_dim")
    sizes = [name for name, size in SIZES.items() if all(getattr(size, k) == getattr(config, k) for k in known)]
    name = sizes[0] if sizes else f"vit_{config.embed_dim}x{config.depth}"
    return f"{name}_adapters" if config.adapters else name


def _prepared(config: Config, kind: str, stored: Mapping[str, Tensor]) -> Config:
    if config.adapters and kind != "sam-med2d":
        raise ValueError(f"it has adapters, as SAM-Med2D has them: it is no {kind}")
    how = PREPROCESSING[kind]
    values = {"pixel_mean": how.pixel_mean, "pixel_std": how.pixel_std}
    # MedSAM's code leaves SAM's normalisation out, stored or not.
    for key, tensor in stored.items() if kind != "medsam" else ():
        if tensor.numel() != 3 or not tensor.isfinite().all() or (key == "pixel_std" and not (tensor > 0).all()):
            raise ValueError(f"{key} is {tensor.flatten().tolist()}, not one value for each of three channels")
        values[key] = tuple(round(float(v), 6) for v in tensor.double().flatten())
    return replace(config, resize_mode=how.resize_mode, default_window=how.default_window, **values)


def _model_with(state: Mapping[str, Tensor], config: Config) -> SegSam:
    """A model with these weights as its SAM part, to the last key; the semantic part is the same at every call."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        model = SegSam(config).eval()
    wanted = {key: value for key, value in model.state_dict().items() if key.startswith(SAM_PARTS)}
    missing, left_over = [k for k in wanted if k not in state], [k for k in state if k not in wanted]
    if missing:
        raise ValueError(f"missing: {_listed(missing)}")
    if left_over:
        raise ValueError(f"left over, without a place in this model: {_listed(left_over)}")
    for key, value in state.items():
        if value.shape != wanted[key].shape:
            raise ValueError(f"{key} has shape {tuple(value.shape)}; {tuple(wanted[key].shape)} was expected")
        if not value.isfinite().all():
            raise ValueError(f"{key} holds values that are not finite")
    model.load_state_dict({key: value.float() for key, value in state.items()}, strict=False)
    return model


def _listed(keys: list[str]) -> str:
    return ", ".join(keys[:3]) + (f" and {len(keys) - 3} more" if len(keys) > 3 else "")


def _dtype_of(state: Mapping[str, Tensor]) -> str:
    """float32 where any weight is that wide: nothing is lost on the way into the bundle."""
    found = {str(value.dtype).removeprefix("torch.") for value in state.values()}
    return found.pop() if found in ({"float16"}, {"bfloat16"}) else "float32"
