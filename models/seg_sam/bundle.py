"""Bundles: what a runtime loads. The format is described in docs/bundle.md."""

import copy
import hashlib
import json
import math
import shutil
from pathlib import Path

import torch
from tokenizers import Tokenizer
from torch import Tensor, nn

from .config import Config
from .model import SegSam
from .prompt_encoder import FourierPositions
from .text import LENGTH, embed_cards, load_text_encoder

DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


def write_bundle(
    out: Path,
    model: SegSam,
    text: Path,
    cards: list[dict],
    name: str,
    version: str,
    dtype: str,
    semantic: str,
    licence: str,
) -> None:
    """Scripts a model into a bundle. Replaces the files of an earlier one; leaves its README.md alone."""
    config = model.config
    model = model.eval().cpu()
    decoder = model.decoder()
    out.mkdir(parents=True, exist_ok=True)
    text_encoder, _ = load_text_encoder(text)
    script(model.image_encoder, out / "encoder.pt", dtype)
    script(decoder, out / "decoder.pt", dtype)
    script(text_encoder, out / "text_encoder.pt", dtype)
    shutil.copyfile(text / "tokenizer.json", out / "tokenizer.json")
    write_json(out / "classes.json", {"schema": 1, "classes": cards})
    files = ["encoder.pt", "decoder.pt", "text_encoder.pt", "tokenizer.json", "classes.json"]
    manifest = {
        "schema": 1,
        "name": name,
        "version": version,
        "architecture": config.name,
        "image_size": config.image_size,
        "mask_size": config.mask_size,
        "resize_mode": config.resize_mode,
        "default_window": config.default_window,
        "pixel_mean": list(config.pixel_mean),
        "pixel_std": list(config.pixel_std),
        "dtype": dtype,
        "text_width": config.text_width,
        "text_length": LENGTH,
        "semantic": semantic,
        "licence": licence,
        "files": {f: {"bytes": (out / f).stat().st_size, "sha256": sha256(out / f)} for f in files},
    }
    write_json(out / "manifest.json", manifest)


def script(module: nn.Module, path: Path, dtype: str) -> None:
    """Saves a scripted copy of a module with its weights in `dtype`; the matrix of positions stays float32."""
    converted = copy.deepcopy(module).to(DTYPES[dtype])
    for part, original in zip(converted.modules(), module.modules(), strict=True):
        if isinstance(part, FourierPositions):
            part.positional_encoding_gaussian_matrix = original.positional_encoding_gaussian_matrix.float()
    torch.jit.script(converted).save(str(path))


class Bundle:
    """A bundle loaded in Python, in float32: for evaluation and for checking an export."""

    def __init__(self, folder: Path, device: torch.device | str = "cpu") -> None:
        self.manifest = json.loads((folder / "manifest.json").read_text())
        self.encoder = torch.jit.load(folder / "encoder.pt", map_location=device).float().eval()
        self.decoder = torch.jit.load(folder / "decoder.pt", map_location=device).float().eval()
        self.text_encoder = torch.jit.load(folder / "text_encoder.pt", map_location="cpu").float().eval()
        self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.cards = json.loads((folder / "classes.json").read_text())["classes"]
        keys = ("image_size", "resize_mode", "default_window", "pixel_mean", "pixel_std")
        self.config = Config.from_dict({k: self.manifest[k] for k in keys if k in self.manifest})


def is_bundle(path: Path) -> bool:
    return (path / "manifest.json").exists()


def bundle_weights(folder: Path) -> dict[str, Tensor]:
    """A bundle's weights under the names they have in `SegSam`, in float32: what training can go on from."""
    bundle = Bundle(folder)
    encoder = {f"image_encoder.{name}": weight for name, weight in bundle.encoder.state_dict().items()}
    return encoder | bundle.decoder.state_dict()


@torch.inference_mode()
def check_bundle(model: SegSam, folder: Path) -> float:
    """Largest difference of the mask logits between a model and its bundle, for one random image.

    ValueError where it is not finite: a weight too large for the bundle's dtype.
    """
    bundle = Bundle(folder)
    side = model.config.image_size
    generator = torch.Generator().manual_seed(0)
    image = torch.randn(1, 3, side, side, generator=generator)
    points = torch.rand(4, 2, 2, generator=generator) * side
    labels = torch.tensor([[1, -1], [2, 3], [0, 1], [1, 1]])
    sentences, valid = embed_cards(bundle.text_encoder, bundle.tokenizer, bundle.cards)
    outputs = []
    for encoder, decoder in ((model.image_encoder, model.decoder()), (bundle.encoder, bundle.decoder)):
        features = encoder(image)
        tokens, summary = decoder.condition(features, decoder.embed_classes(sentences, valid))
        outputs.append(decoder.decode(features, tokens, summary, points, labels, None)[0])
    difference = float((outputs[0] - outputs[1]).abs().max())
    if not math.isfinite(difference):
        raise ValueError(f"{folder} gives logits that are not finite: take another --dtype, such as float32")
    return difference


def write_json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
