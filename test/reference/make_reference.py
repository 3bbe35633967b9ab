"""Writes a bundle with the weights of a random `SamModel`, and what Hugging Face's `transformers` computes with them.

    python test/reference/make_reference.py micro test/reference/micro
    python test/reference/make_reference.py vit_b build/reference/vit_b

`micro` lies in the repository; the others are made where transformers is installed. A folder holds `bundle/`, the image
`image.rgb` (S x S, 8 bit), `cases.json` and `values.f32` with the tensors the cases refer to by offset and length.
"""

import argparse
import json
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from reference import SIZES, random_sam, reference_cases, segsam_with_weights_of
from seg_sam.bundle import write_bundle
from seg_sam.class_cards import sentences_of
from seg_sam.text_encoder import TextEncoder
from train_text import train_tokenizer

CARDS = [
    {"id": "first", "name": "First", "sentences": ["One class of random weights."]},
    {"id": "second", "name": "Second", "sentences": ["Another class of random weights."]},
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("size", choices=SIZES)
    parser.add_argument("out", type=Path)
    args = parser.parse_args()
    config = replace(SIZES[args.size], text_width=16)
    sam = random_sam(config)
    model = segsam_with_weights_of(sam, config)
    pixels, cases = reference_cases(sam, config)

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
    content = {"size": args.size, "imageSize": config.image_size, "maskSize": config.mask_size, "cases": described}
    (args.out / "cases.json").write_text(json.dumps(content, indent=1) + "\n")


def write_text_and_bundle(out: Path, model) -> None:
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
