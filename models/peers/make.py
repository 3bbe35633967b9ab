"""Makes, from one set of weights a size, what each runtime of the benchmark loads.

    python models/peers/make.py tiny-256 vit_b-256 --out bench/cache

ViT-B has random weights of a fixed seed, as the references of the tests; tiny has those of the default bundle. A
folder `OUT/SIZE` holds the bundle, Hugging Face's folder with its ONNX files (ViT-B), `onnx/` with files of our own
decoder, the image, the outputs expected of PyTorch in float32, and `peer.json`, which is written last.
"""

import argparse
import json
import os
import shutil
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

import flops
import search_path  # noqa: F401
from make_reference import write_text_and_bundle
from onnx_files import (
    HuggingFaceDecoder,
    HuggingFaceEncoder,
    Upscaling,
    quantise,
    write_both_decoders,
    write_traced,
)
from reference import random_sam
from seg_sam.bundle import Bundle
from seg_sam.config import Config
from seg_sam.conversion import convert
from seg_sam.model import SegSam
from seg_sam.text import embed_cards
from sizes import NAMES, TINY_BUNDLE, config_of, prompts_for, tiny_model

CHECKED_PROMPTS = 8
ORIGINAL_SIDE = 2048
PROMPTS_FIRST = {0: "prompts"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sizes", nargs="+", choices=NAMES)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--no-onnx", action="store_true", help="only what the addon and Python need")
    args = parser.parse_args()
    for name in args.sizes:
        folder = args.out / name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "peer.json").unlink(missing_ok=True)
        described = make(name, folder, with_onnx=not args.no_onnx)
        (folder / "peer.json").write_text(json.dumps(described, indent=2) + "\n")
        print(f"{name}: {sum(f.stat().st_size for f in folder.rglob('*') if f.is_file()) / 1e6:.0f} MB in {folder}")


def make(name: str, folder: Path, with_onnx: bool) -> dict:
    config = config_of(name)
    pixels = test_image(config.image_size)
    values = normalised(pixels, config)
    store(folder / "image.rgb", pixels.numpy())
    store(folder / "pixel_values.f32", values.numpy())
    points, labels = prompts_for(config.image_size, CHECKED_PROMPTS)
    if name.startswith("tiny"):
        model, bundle = tiny_model(), TINY_BUNDLE
        sam = None
    else:
        sam = random_sam(config)
        sam.save_pretrained(folder / "hf")
        write_preprocessor(folder / "hf", config)
        model, bundle = convert(folder / "hf", "sam", 16).model.eval(), folder / "bundle"
        write_text_and_bundle(bundle, model)
    decoder = model.decoder()
    with torch.inference_mode():
        features = model.image_encoder(values)
        tokens, summary = conditioning(bundle, decoder, features)
        padded = padded_prompts(points, labels)
        if sam is None:
            logits, iou = (tensor[:, 1:] for tensor in decoder.decode(features, tokens, summary, *padded, None)[:2])
        else:
            embedding = sam.get_image_embeddings(values)
            out = sam(image_embeddings=embedding, input_points=points.unsqueeze(0), input_labels=labels.unsqueeze(0))
            logits, iou = out.pred_masks[0], out.iou_scores[0]
    store(folder / "expected.f32", torch.cat([logits.reshape(-1), iou.reshape(-1)]).numpy())
    store(folder / "tokens.f32", tokens.numpy())
    store(folder / "summary.f32", summary.numpy())
    if with_onnx:
        write_onnx_files(folder, config, model, sam, values, (tokens, summary))
    return {
        "name": name,
        "architecture": config.name,
        "imageSize": config.image_size,
        "maskSize": config.mask_size,
        "checkedPrompts": CHECKED_PROMPTS,
        "originalSide": ORIGINAL_SIDE,
        "bundle": os.path.relpath(bundle, folder),
        "huggingFace": sam is not None,
        "onnx": with_onnx,
        "tokens": list(tokens.shape),
        "weightBytes": sum(p.numel() * 4 for p in model.parameters()),
        "flops": counted_flops(model, sam, values, tokens, summary),
    }


def test_image(side: int) -> Tensor:
    """(S, S, 3) uint8: smooth, so that masks have regions."""
    generator = torch.Generator().manual_seed(3)
    coarse = torch.rand(1, 3, 12, 12, generator=generator)
    smooth = F.interpolate(coarse, size=(side, side), mode="bicubic").clamp(0, 1)
    return (smooth[0].permute(1, 2, 0) * 255).round().to(torch.uint8).contiguous()


def normalised(pixels: Tensor, config: Config) -> Tensor:
    mean, std = torch.tensor(config.pixel_mean), torch.tensor(config.pixel_std)
    return ((pixels.float() - mean) / std).permute(2, 0, 1).unsqueeze(0).contiguous()


def padded_prompts(points: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """With the padding point that SAM adds to a prompt without a box."""
    return F.pad(points, (0, 0, 0, 1)), F.pad(labels, (0, 1), value=-1)


def conditioning(bundle: Path, decoder: torch.nn.Module, features: list[Tensor]) -> tuple[Tensor, Tensor]:
    loaded = Bundle(bundle)
    vectors = decoder.embed_classes(*embed_cards(loaded.text_encoder, loaded.tokenizer, loaded.cards))
    return decoder.condition(features, vectors)


def write_onnx_files(
    folder: Path, config: Config, model: SegSam, sam: torch.nn.Module | None, values: Tensor, conditions: tuple
) -> None:
    onnx = folder / "onnx"
    with torch.inference_mode():
        features = model.image_encoder(values)
    names = [f"feature{i}" for i in range(len(features))]
    points, labels = padded_prompts(*prompts_for(config.image_size, 3))
    write_traced(
        Upscaling(config.image_size, ORIGINAL_SIDE),
        (torch.zeros(1, 1, config.mask_size, config.mask_size),),
        onnx / "upscaling.onnx",
        ["logits"],
        ["masks"],
        {"logits": PROMPTS_FIRST, "masks": PROMPTS_FIRST},
    )
    if sam is None:
        write_both_decoders(model.decoder(), (points, labels, *conditions, features), onnx / "both_decoders.onnx")
        write_traced(model.image_encoder, (values,), onnx / "encoder.onnx", ["pixel_values"], names, {})
        quantise(onnx / "encoder.onnx", onnx / "encoder_quantized.onnx")
        return
    hf = folder / "hf" / "onnx"
    embeddings = ["image_embeddings", "image_positional_embeddings"]
    write_traced(HuggingFaceEncoder(sam), (values,), hf / "vision_encoder.onnx", ["pixel_values"], embeddings, {})
    quantise(hf / "vision_encoder.onnx", hf / "vision_encoder_quantized.onnx")
    with torch.inference_mode():
        embedding, positions = HuggingFaceEncoder(sam)(values)
    points, labels = prompts_for(config.image_size, 3)
    write_traced(
        HuggingFaceDecoder(sam),
        (points.unsqueeze(0), labels.unsqueeze(0), embedding, positions),
        hf / "prompt_encoder_mask_decoder.onnx",
        ["input_points", "input_labels", *embeddings],
        ["iou_scores", "pred_masks"],
        {name: {1: "prompts"} for name in ["input_points", "input_labels", "iou_scores", "pred_masks"]},
    )
    # transformers.js takes both parts in one type; only the encoder of it is quantised here.
    shutil.copyfile(hf / "prompt_encoder_mask_decoder.onnx", hf / "prompt_encoder_mask_decoder_quantized.onnx")


def write_preprocessor(folder: Path, config: Config) -> None:
    content = {
        "image_processor_type": "SamImageProcessor",
        "processor_class": "SamProcessor",
        "do_resize": True,
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "do_pad": True,
        "image_mean": [v / 255 for v in config.pixel_mean],
        "image_std": [v / 255 for v in config.pixel_std],
        "size": {"longest_edge": config.image_size},
        "pad_size": {"height": config.image_size, "width": config.image_size},
    }
    (folder / "preprocessor_config.json").write_text(json.dumps(content, indent=2) + "\n")


def counted_flops(model: SegSam, sam: torch.nn.Module | None, values: Tensor, tokens: Tensor, summary: Tensor) -> dict:
    """Of ViT-B as Hugging Face writes it: SEG-SAM's fused attention multiplies more, which is no part of the floor."""
    side = model.config.image_size
    # The counter hooks into the gradients of whatever has some.
    for module in (model, sam):
        if module is not None:
            module.requires_grad_(False)
    decoder = model.decoder()
    with torch.no_grad():
        features = model.image_encoder(values)
        embedding = features[0]

    def both(prompts: int) -> object:
        return decoder.decode(features, tokens, summary, *padded_prompts(*prompts_for(side, prompts)), None)

    def masks_alone(prompts: int) -> object:
        points, labels = prompts_for(side, prompts)
        return sam(image_embeddings=embedding, input_points=points.unsqueeze(0), input_labels=labels.unsqueeze(0))

    encoder = model.image_encoder if sam is None else sam.vision_encoder
    return {
        "encode": flops.count(lambda: encoder(values)),
        "both": flops.per_prompt(both),
        "sam": None if sam is None else flops.per_prompt(masks_alone),
    }


def store(path: Path, values: np.ndarray) -> None:
    np.ascontiguousarray(values).tofile(path)


if __name__ == "__main__":
    main()
