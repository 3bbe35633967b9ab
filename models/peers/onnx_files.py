"""ONNX files of an encoder, of SAM's decoder and of both decoders, and their dynamically quantised encoders."""

import logging
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

OPSET = 18


class HuggingFaceEncoder(nn.Module):
    """As Hugging Face's exporter cuts a `SamModel`: pixels to embedding and positions."""

    def __init__(self, sam: nn.Module) -> None:
        super().__init__()
        self.sam = sam

    def forward(self, pixel_values: Tensor) -> tuple[Tensor, Tensor]:
        positions = self.sam.get_image_wide_positional_embeddings()
        return self.sam.vision_encoder(pixel_values)[0], positions


class HuggingFaceDecoder(nn.Module):
    """The other half: (1, P, N, 2) points and (1, P, N) labels to IoU (1, P, 3) and logits (1, P, 3, h, h)."""

    def __init__(self, sam: nn.Module) -> None:
        super().__init__()
        self.sam = sam

    def forward(
        self, input_points: Tensor, input_labels: Tensor, image_embeddings: Tensor, image_positional_embeddings: Tensor
    ) -> tuple[Tensor, Tensor]:
        sparse, dense = self.sam.prompt_encoder(
            input_points=input_points, input_labels=input_labels, input_boxes=None, input_masks=None
        )
        out = self.sam.mask_decoder(
            image_embeddings=image_embeddings,
            image_positional_embeddings=image_positional_embeddings,
            sparse_prompt_embeddings=sparse,
            dense_prompt_embeddings=dense,
            multimask_output=True,
        )
        return out[1], out[0]


class BothDecoders(nn.Module):
    """A bundle's decoder, with a flat list of inputs; the result in the order of `PromptDecoder.decode`."""

    def __init__(self, decoder: nn.Module) -> None:
        super().__init__()
        self.decoder = decoder

    def forward(self, points: Tensor, labels: Tensor, tokens: Tensor, summary: Tensor, features: list[Tensor]):
        return self.decoder.decode(features, tokens, summary, points, labels, None)


class Upscaling(nn.Module):
    """(P, 1, h, h) logits of a square image to its masks (P, 1, side, side) of 0 and 1, as in SAM's own ONNX file."""

    def __init__(self, input_side: int, side: int) -> None:
        super().__init__()
        self.input_side = input_side
        self.side = side

    def forward(self, logits: Tensor) -> Tensor:
        framed = F.interpolate(logits, size=(self.input_side, self.input_side), mode="bilinear")
        return (F.interpolate(framed, size=(self.side, self.side), mode="bilinear") > 0).to(torch.uint8)


@torch.inference_mode()
def write_traced(
    module: nn.Module, inputs: tuple, path: Path, input_names: list[str], output_names: list[str], dynamic: dict
) -> None:
    """`dynamic` names the axes that vary."""
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.onnx.export(
        module.eval(),
        inputs,
        str(path),
        input_names=input_names,
        output_names=output_names,
        dynamic_axes=dynamic,
        opset_version=OPSET,
        dynamo=False,
    )


@torch.inference_mode()
def write_both_decoders(decoder: nn.Module, inputs: tuple, path: Path) -> None:
    """By torch.export, which takes minutes: tracing loses the shapes that the pooling under a mask needs.

    Inputs are points, labels, tokens, summary and feature0 onwards; P varies.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    *_, features = inputs
    prompts = torch.export.Dim("prompts", min=1, max=4096)
    torch.onnx.export(
        BothDecoders(decoder).eval(),
        inputs,
        str(path),
        input_names=["points", "labels", "tokens", "summary", *[f"feature{i}" for i in range(len(features))]],
        output_names=["logits", "iou", "semantic_logits", "so", "co"],
        dynamic_shapes=({0: prompts}, {0: prompts}, None, None, [None] * len(features)),
        opset_version=OPSET,
        external_data=False,
        verbose=False,
        dynamo=True,
    )


def quantise(source: Path, target: Path) -> None:
    """Weights of the matrix products as 8-bit integers, activations quantised at run time."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    logging.getLogger().setLevel(logging.ERROR)
    # Signed weights overflow the 16-bit sums of AVX2, which has no VNNI, unless they keep a bit free.
    quantize_dynamic(source, target, weight_type=QuantType.QInt8, reduce_range=True, op_types_to_quantize=["MatMul"])
