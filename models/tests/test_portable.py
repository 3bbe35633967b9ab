"""Bundles load in every version of PyTorch that the project promises: their code names no operator the oldest lacks."""

import re
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import export
from seg_sam.bundle import write_bundle
from seg_sam.class_cards import read_cards
from seg_sam.model import SegSam
from synthetic import MICRO, MICRO_SAM

ROOT = Path(export.__file__).resolve().parent.parent
STORED = [
    "models/seg-sam-tiny",
    "test/fixtures/bundle",
    "test/reference/micro/bundle",
    "test/reference/sam-med2d/bundle",
]

# What bundles name today. Every operator was looked up in the headers of PyTorch 2.11 (ATen/ops), where it has the same
# signature as in 2.13; what has no header there is a builtin of TorchScript. Names alone tell no change of a signature.
# Before one more joins: look it up in the oldest version promised.
OPERATORS = """
    _upsample_bilinear2d_aa adaptive_avg_pool2d add amax arange bitwise_not cat clamp clamp_min contiguous conv2d
    conv_transpose2d cos detach div einsum embedding eq exp expand expand_as flatten floor_divide ge gelu group_norm gt
    index layer_norm linear lt masked_fill matmul max maximum mean meshgrid mul ne neg norm one_hot pad permute pow relu
    remainder repeat_interleave reshape scaled_dot_product_attention select sigmoid sin size slice softmax squeeze stack
    sub sum t tanh to transpose unsqueeze upsample_linear1d where zeros_like clamp_min_ relu_
"""
BUILTINS = """
    RaiseException __derive_index __is__ __isnot__ __not__ __range_length _set_item append device dim dtype floordiv
    format len list
"""
KNOWN = {*OPERATORS.split(), *BUILTINS.split()}


def named(file: Path) -> set[str]:
    """The operators and builtins that the code of a TorchScript file calls."""
    with zipfile.ZipFile(file) as archive:
        code = [archive.read(n).decode() for n in archive.namelist() if "/code/" in n and n.endswith(".py")]
    return {name for text in code for name in re.findall(r"(?<![\w.])(?:torch|ops\.\w+)\.(\w+)\(", text)}


def unknown(folder: Path) -> dict[str, set[str]]:
    files = {f: named(folder / f) for f in ("encoder.pt", "decoder.pt", "text_encoder.pt")}
    assert all("linear" in names for names in files.values()), "the code was not read"
    return {f: names - KNOWN for f, names in files.items() if names - KNOWN}


@pytest.mark.parametrize("folder", STORED)
def test_a_stored_bundle_names_no_operator_that_older_versions_lack(folder):
    assert unknown(ROOT / folder) == {}


@pytest.mark.parametrize(
    ("config", "options"),
    [
        (MICRO, {}),
        (MICRO, {"adapters": True}),
        (MICRO, {"semantic": "shared"}),
        (MICRO, {"text_to_vision": False}),
        (MICRO, {"raster_prompts": False}),
        (MICRO_SAM, {}),
    ],
    ids=["micro", "adapters", "shared", "no_text", "no_raster", "sam"],
)
def test_neither_does_one_exported_now(tmp_path, text_folder, card_file, config, options):
    model = SegSam(replace(config, num_classes=3, **options))
    write_bundle(tmp_path, model, text_folder, read_cards(card_file), "b", "0", "float16", "trained", "CC0-1.0")
    assert unknown(tmp_path) == {}


def test_resizing_as_a_whole_would_be_found(tmp_path):
    """`F.interpolate` names all its modes: the operator for a mode of PyTorch 2.13 made bundles fail in 2.11."""

    def resize(x: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.interpolate(x, size=[4, 4], mode="bilinear", antialias=True)

    torch.jit.script(resize).save(str(tmp_path / "resize.pt"))
    assert "_upsample_bicubic2d_aa" in named(tmp_path / "resize.pt") - KNOWN
