"""Converts a checkpoint of random weights into a bundle, and writes beside it what a reference computes with them.

    python test/reference/make_reference.py micro test/reference/micro
    python test/reference/make_reference.py sam-med2d test/reference/sam-med2d
    python test/reference/make_reference.py vit_b build/reference/vit_b

The reference is Hugging Face's `transformers` for a size, and `plain_sam.py` for a kind of official checkpoint. Both
`micro` and `sam-med2d` lie in the repository; the others are made where transformers is installed. A folder holds
`bundle/`, the image `image.rgb` (S x S, 8 bit), `cases.json`, and `values.f32` with the tensors that the cases refer
to by offset and length.
"""

import argparse
import json
import tempfile
from pathlib import Path

import numpy as np
import torch

from reference import KINDS, SIZES, plain_cases, random_sam, reference_cases
from seg_sam.bundle import write_bundle
from seg_sam.class_cards import sentences_of
from seg_sam.conversion import convert
from seg_sam.model import SegSam
from seg_sam.text_encoder import TextEncoder
from train_text import train_tokenizer

CARDS = [
    {"id": "first", "name": "First", "sentences": ["One class of random weights."]},
    {"id": "second", "name": "Second", "sentences": ["Another class of random weights."]},
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("which", choices=[*SIZES, *KINDS])
    parser.add_argument("out", type=Path)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = Path(folder) / "checkpoint"
        if args.which in SIZES:
            sam = random_sam(SIZES[args.which])
            sam.save_pretrained(checkpoint)
            pixels, cases = reference_cases(sam, SIZES[args.which])
            model = convert(checkpoint, "sam", 16).model
        else:
            state, pixels, cases = plain_cases(args.which)
            torch.save(state, checkpoint)
            model = convert(checkpoint, args.which, 16).model
    config = model.config

    args.out.mkdir(parents=True, exist_ok=True)
    write_text_and_bundle(args.out / "bundle", model)
    (args.out / "image.rgb").write_bytes(pixels.numpy().tobytes())
    values: list[np.ndarray] = []

    def store(tensor: torch.Tensor) -> dict:
        offset = sum(v.size for v in values)
        values.append(tensor.detach().float().contiguous().numpy().reshape(-1))
        return {"offset": offset, "shape": list(tensor.shape)}

    described = [{k: store(v) if isinstance(v, torch.Tensor) else v for k, v in case.items()} for case in cases]
    np.concatenate(values).astype("<f4").tofile(args.out / "values.f32")
    content = {"size": args.which, "imageSize": config.image_size, "maskSize": config.mask_size, "cases": described}
    (args.out / "cases.json").write_text(json.dumps(content, indent=1) + "\n")


def write_text_and_bundle(out: Path, model: SegSam) -> None:
    tokenizer = train_tokenizer([s for card in CARDS for s in sentences_of(card)], 200)
    text_config = {"vocabulary": tokenizer.get_vocab_size(), "width": 16, "out": 16, "depth": 1}
    with tempfile.TemporaryDirectory() as folder:
        tokenizer.save(f"{folder}/tokenizer.json")
        torch.save(
            {"config": text_config, "state": TextEncoder(**text_config).state_dict()}, f"{folder}/text_encoder.ckpt"
        )
        write_bundle(out, model, Path(folder), CARDS, "reference", "0.1.0", "float32", "untrained", "Apache-2.0")


if __name__ == "__main__":
    main()
