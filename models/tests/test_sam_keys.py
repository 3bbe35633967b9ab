"""The names and shapes of the tensors in SAM's published checkpoints, written out, against our SAM part."""

from dataclasses import replace

import pytest
import torch

from seg_sam.config import SIZES
from seg_sam.model import SegSam

Shapes = dict[str, tuple[int, ...]]

# width, blocks, heads, blocks with global attention, parameters
PUBLISHED = {
    "vit_b": (768, 12, 12, {2, 5, 8, 11}, 93_735_472),
    "vit_l": (1024, 24, 16, {5, 11, 17, 23}, 312_342_832),
    "vit_h": (1280, 32, 16, {7, 15, 23, 31}, 641_090_608),
}
MATRIX = "prompt_encoder.pe_layer.positional_encoding_gaussian_matrix"


def affine(name: str, *shape: int, bias: int | None = None) -> Shapes:
    return {f"{name}.weight": shape, f"{name}.bias": (shape[0] if bias is None else bias,)}


def attention(name: str, inner: int) -> Shapes:
    shapes: Shapes = affine(f"{name}.out_proj", 256, inner)
    for part in ("q_proj", "k_proj", "v_proj"):
        shapes |= affine(f"{name}.{part}", inner, 256)
    return shapes


def image_encoder(width: int, blocks: int, heads: int, global_blocks: set[int], adapters: bool) -> Shapes:
    shapes: Shapes = {"pos_embed": (1, 64, 64, width)}
    shapes |= affine("patch_embed.proj", width, 3, 16, 16)
    for i in range(blocks):
        block = f"blocks.{i}"
        positions = 2 * (64 if i in global_blocks else 14) - 1
        shapes |= affine(f"{block}.norm1", width) | affine(f"{block}.norm2", width)
        shapes |= affine(f"{block}.attn.qkv", 3 * width, width) | affine(f"{block}.attn.proj", width, width)
        shapes |= {f"{block}.attn.rel_pos_{axis}": (positions, width // heads) for axis in "hw"}
        shapes |= affine(f"{block}.mlp.lin1", 4 * width, width) | affine(f"{block}.mlp.lin2", width, 4 * width)
        if adapters:
            shapes |= affine(f"{block}.Adapter.norm", width)
            shapes[f"{block}.Adapter.channel.0.weight"] = (width // 4, width)
            shapes[f"{block}.Adapter.channel.2.weight"] = (width, width // 4)
            shapes[f"{block}.Adapter.spatial.0.weight"] = (width, width, 3, 3)
            shapes[f"{block}.Adapter.spatial.2.weight"] = (width, width, 4, 4)
    shapes |= {"neck.0.weight": (256, width, 1, 1), "neck.2.weight": (256, 256, 3, 3)}
    return shapes | affine("neck.1", 256) | affine("neck.3", 256)


def prompt_encoder() -> Shapes:
    shapes: Shapes = {"pe_layer.positional_encoding_gaussian_matrix": (2, 128)}
    shapes |= {f"point_embeddings.{i}.weight": (1, 256) for i in range(4)}
    shapes |= {"not_a_point_embed.weight": (1, 256), "no_mask_embed.weight": (1, 256)}
    shapes |= affine("mask_downscaling.0", 4, 1, 2, 2) | affine("mask_downscaling.1", 4)
    shapes |= affine("mask_downscaling.3", 16, 4, 2, 2) | affine("mask_downscaling.4", 16)
    return shapes | affine("mask_downscaling.6", 256, 16, 1, 1)


def mask_decoder() -> Shapes:
    shapes: Shapes = {"iou_token.weight": (1, 256), "mask_tokens.weight": (4, 256)}
    for i in range(2):
        layer = f"transformer.layers.{i}"
        shapes |= attention(f"{layer}.self_attn", 256)
        shapes |= attention(f"{layer}.cross_attn_token_to_image", 128)
        shapes |= attention(f"{layer}.cross_attn_image_to_token", 128)
        shapes |= affine(f"{layer}.mlp.lin1", 2048, 256) | affine(f"{layer}.mlp.lin2", 256, 2048)
        for n in range(1, 5):
            shapes |= affine(f"{layer}.norm{n}", 256)
    shapes |= attention("transformer.final_attn_token_to_image", 128) | affine("transformer.norm_final_attn", 256)
    shapes |= affine("output_upscaling.0", 256, 64, 2, 2, bias=64) | affine("output_upscaling.1", 64)
    shapes |= affine("output_upscaling.3", 64, 32, 2, 2, bias=32)
    for head, out in [(f"output_hypernetworks_mlps.{i}", 32) for i in range(4)] + [("iou_prediction_head", 4)]:
        for n, rows in enumerate((256, 256, out)):
            shapes |= affine(f"{head}.layers.{n}", rows, 256)
    return shapes


def published(size: str, adapters: bool) -> Shapes:
    width, blocks, heads, global_blocks, _ = PUBLISHED[size]
    parts = {
        "image_encoder": image_encoder(width, blocks, heads, global_blocks, adapters),
        "prompt_encoder": prompt_encoder(),
        "mask_decoder": mask_decoder(),
    }
    return {f"{part}.{name}": shape for part, shapes in parts.items() for name, shape in shapes.items()}


def meta_model(size: str, **options: object) -> SegSam:
    with torch.device("meta"):
        return SegSam(replace(SIZES[size], **options))


@pytest.mark.parametrize("adapters", [False, True], ids=["plain", "adapters"])
@pytest.mark.parametrize("size", PUBLISHED)
def test_sam_part_has_exactly_the_tensors_of_sam(size, adapters):
    state = meta_model(size, adapters=adapters).state_dict()
    ours = {
        name: tuple(tensor.shape)
        for name, tensor in state.items()
        if name.startswith(("image_encoder.", "prompt_encoder.", "mask_decoder."))
    }
    assert ours == published(size, adapters)


@pytest.mark.parametrize("size", PUBLISHED)
def test_sam_part_has_as_many_parameters_as_sam(size):
    model = meta_model(size)
    parts = (model.image_encoder, model.prompt_encoder, model.mask_decoder)
    assert sum(p.numel() for part in parts for p in part.parameters()) == PUBLISHED[size][4]


def test_nothing_but_the_sam_part_and_the_semantic_parts():
    parts = {name.split(".")[0] for name in meta_model("vit_b").state_dict()}
    assert parts == {"image_encoder", "prompt_encoder", "mask_decoder", "text_to_vision", "semantic_decoder"}
    without = {name.split(".")[0] for name in meta_model("vit_b", semantic="none").state_dict()}
    assert without == {"image_encoder", "prompt_encoder", "mask_decoder"}


def test_the_decoders_share_weights_only_when_told_to():
    def shared(model: SegSam) -> bool:
        semantic = {id(p) for p in model.semantic_decoder.parameters()}
        return any(id(p) in semantic for p in model.mask_decoder.parameters())

    assert not shared(meta_model("tiny"))
    assert shared(meta_model("tiny", semantic="shared"))
