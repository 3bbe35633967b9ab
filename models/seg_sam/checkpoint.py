"""Reads checkpoints: tensors, numbers and names, never code."""

import json
import re
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from .config import Config
from .hugging_face import to_sam_keys
from .model import SegSam

HUGGING_FACE_FILES = ("model.safetensors", "pytorch_model.bin")
# Under which training scripts keep the weights, beside optimisers and counters.
WRAPPERS = ("model", "state_dict", "model_state_dict")


def _empty_dict(*_: object) -> dict:
    return {}


# SAM-Med2D's training saves the optimiser itself beside the weights. These hold tensors and numbers, and are dropped.
OPTIMISERS = [torch.optim.Adam, torch.optim.AdamW, torch.optim.SGD, dict, (_empty_dict, "collections.defaultdict")]


def read_checkpoint(path: Path) -> dict:
    """What a file holds: a `.safetensors`, or whatever of tensors, numbers and names `torch.save` wrote.

    A folder is one of Hugging Face's. ValueError where there is no checkpoint, or one that would have to run code.
    """
    if path.is_dir():
        found = [path / name for name in HUGGING_FACE_FILES if (path / name).exists()]
        if not found:
            raise ValueError(f"{path} holds neither {' nor '.join(HUGGING_FACE_FILES)}")
        path = found[0]
    if not path.exists():
        raise ValueError(f"there is no {path}")
    if path.suffix == ".safetensors":
        try:
            return load_file(path)
        except SafetensorError as error:
            raise ValueError(f"{path} is no safetensors file: {error}") from error
    return _load_pickled(path)


def _load_pickled(path: Path) -> dict:
    try:
        with torch.serialization.safe_globals(OPTIMISERS):
            saved = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # the unpickler raises whatever a damaged file leads it to
        found = re.search(r"GLOBAL (\S+)", str(error))
        if found is None:
            reason = (str(error) or type(error).__name__).splitlines()[0]
            raise ValueError(f"{path} is no checkpoint, or a damaged one: {reason}") from error
        raise ValueError(
            f"{path} holds a {found[1]} beside tensors. Reading that can run code, so it is not read. "
            "If you trust the file, save its weights alone, then convert those: "
            f"python -c \"import torch; s = torch.load('{path}', map_location='cpu', weights_only=False); "
            "torch.save(s.get('model', s), 'weights.pth')\""
        ) from error
    if not isinstance(saved, Mapping):
        raise ValueError(f"{path} holds a {type(saved).__name__}, not weights by their names")
    return dict(saved)


def weights_in(saved: dict, path: Path) -> dict[str, Tensor]:
    """The weights of SAM's parts under the names of SAM's own checkpoints, whatever they were wrapped in."""
    wrapper = next((key for key in WRAPPERS if isinstance(saved.get(key), Mapping)), None)
    state = dict(saved[wrapper]) if wrapper else saved
    if state and all(key.startswith("module.") for key in state):
        state = {key.removeprefix("module."): value for key, value in state.items()}
    for key, value in state.items():
        if not isinstance(value, Tensor):
            raise ValueError(f"{path}: {key} is a {type(value).__name__}, not a tensor")
    if any(key.startswith("vision_encoder.") for key in state):
        return to_sam_keys(state)
    if not any(key.startswith("image_encoder.") for key in state):
        raise ValueError(
            f"{path} has no key that begins with image_encoder. or vision_encoder.: it is no SAM of a known layout "
            f"(first keys: {', '.join(list(state)[:3]) or 'none'})"
        )
    return state


def read_hugging_face_config(path: Path) -> dict:
    """The `config.json` of a folder of Hugging Face's, or of the one its file lies in; empty where there is none."""
    folder = path if path.is_dir() else path.parent
    config = folder / "config.json"
    if not config.exists() or (path.is_file() and path.name not in HUGGING_FACE_FILES):
        return {}
    try:
        values = json.loads(config.read_text())
    except ValueError as error:
        raise ValueError(f"{config} is not JSON: {error}") from error
    return values if isinstance(values, dict) else {}


def is_trained_here(saved: dict) -> bool:
    """Whether `train.py` wrote it."""
    return saved.keys() >= {"model", "config", "classes"}


def trained_model(saved: dict, path: Path) -> tuple[SegSam, list[str]]:
    """The model of a checkpoint that `train.py` wrote, and the classes it was trained on."""
    if not is_trained_here(saved):
        raise ValueError(f"{path} is not what train.py writes; convert.py takes checkpoints of SAM and its relatives")
    if saved.get("training", {}).get("encoder_only"):
        raise ValueError(
            f"of {path} only the encoder is trained: give it to train.py --start, then export what that writes"
        )
    model = SegSam(Config.from_dict(saved["config"])).eval()
    try:
        model.load_state_dict(saved["model"])
    except RuntimeError as error:
        raise ValueError(f"{path} is of another version of the model: {str(error).splitlines()[1].strip()}") from error
    return model, saved["classes"]
