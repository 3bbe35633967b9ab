"""Converted checkpoints against a recomputation that shares no code with ours, and against `transformers`."""

import json
import re
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

import convert
import export
from seg_sam import conversion
from seg_sam.bundle import Bundle
from seg_sam.config import SIZES
from seg_sam.model import SegSam
from seg_sam.text import embed_cards
from synthetic import MICRO, lively
from test_sam_keys import PUBLISHED, published

sys.path.append(str(Path(__file__).resolve().parents[2] / "test" / "reference"))
from plain_sam import VIT_B, Shape, decode, encode, random_state

SAM = Shape()
MED2D = replace(SAM, adapters=True)
SAM_MEAN, SAM_STD = [123.675, 116.28, 103.53], [58.395, 57.12, 57.375]


@pytest.fixture
def converted(run_main, tmp_path, text_folder, card_file):
    def of(source: object, *more: object, out: str = "bundle") -> Path:
        run_main(convert, source, "--text", text_folder, "--cards", card_file, "--out", tmp_path / out, *more)
        return tmp_path / out

    return of


def saved(tmp_path: Path, content: object, name: str = "sam.pth") -> Path:
    torch.save(content, tmp_path / name)
    return tmp_path / name


def prompts(side: int):
    """Points, labels, box, with a mask."""
    s = float(side)
    yield [[0.4 * s, 0.3 * s]], [1], None, False
    yield [[0.4 * s, 0.3 * s], [0.9 * s, 0.1 * s], [0.0, s - 1]], [1, 0, 1], None, False
    yield [], [], [0.1 * s, 0.2 * s, 0.7 * s, 0.9 * s], False
    yield [[0.5 * s, 0.5 * s]], [1], [3.0, 4.5, s - 2, 0.8 * s], False
    yield [[0.6 * s, 0.6 * s]], [0], None, True
    yield [], [], [0.1 * s, 0.2 * s, 0.7 * s, 0.9 * s], True


def assert_bundle_as_published(folder: Path, state: dict[str, torch.Tensor], shape: Shape) -> None:
    bundle = Bundle(folder)
    text = embed_cards(bundle.text_encoder, bundle.tokenizer, bundle.cards)
    assert_same_as_published(bundle.encoder, bundle.decoder, text, state, shape)


@torch.inference_mode()
def assert_same_as_published(encoder, decoder, text, state: dict[str, torch.Tensor], shape: Shape) -> None:
    generator = torch.Generator().manual_seed(1)
    image = torch.randn(1, 3, shape.side, shape.side, generator=generator)
    expected = encode(state, shape, image)
    features = encoder(image)
    assert expected.std() > 0.1
    assert (features[0] - expected).abs().max() < 1e-4
    tokens, summary = decoder.condition(features, decoder.embed_classes(*text))
    for points, labels, box, with_mask in prompts(shape.side):
        side = 4 * shape.grid
        mask = 4 * torch.randn(side, side, generator=generator) if with_mask else None
        logits, iou = decode(state, shape, expected, points, labels, box, mask)
        assert logits.std() > 0.1, "logits that hardly vary would show nothing"
        corners = [[0.0, 0.0]] if box is None else [box[:2], box[2:]]
        ours = decoder.decode(
            features,
            tokens,
            summary,
            torch.tensor([[*points, *corners]]),
            torch.tensor([[*labels, *([-1] if box is None else [2, 3])]]),
            None if mask is None else mask[None, None],
        )
        assert (ours[0][0] - logits).abs().max() < 1e-4
        assert (ours[1][0] - iou).abs().max() < 1e-4


@pytest.mark.parametrize(
    ("kind", "shape", "prepared"),
    [
        ("sam", SAM, ("longest", "auto", SAM_MEAN, SAM_STD)),
        ("medsam", SAM, ("stretch", "min_max", [0.0] * 3, [255.0] * 3)),
        ("sam-med2d", MED2D, ("stretch", "auto", SAM_MEAN, SAM_STD)),
    ],
    ids=["sam", "medsam", "sam_med2d"],
)
def test_a_bundle_gives_the_masks_of_the_published_code(converted, tmp_path, kind, shape, prepared):
    state = random_state(shape)
    folder = converted(saved(tmp_path, state), *([] if shape.adapters else ["--kind", kind]))
    assert_bundle_as_published(folder, state, shape)
    manifest = json.loads((folder / "manifest.json").read_text())
    keys = ("resize_mode", "default_window", "pixel_mean", "pixel_std")
    assert tuple(manifest[k] for k in keys) == prepared
    assert manifest["semantic"] == "untrained"
    assert manifest["image_size"] == 96
    assert manifest["mask_size"] == 24
    assert manifest["dtype"] == "float32", "nothing of the weights is lost"
    assert manifest["licence"] == "unknown"
    assert manifest["architecture"] == ("vit_32x3_adapters" if shape.adapters else "vit_32x3")


def test_sam_med2d_at_its_own_size(tmp_path):
    """Width, depth, grid and window of the published checkpoint, wrapped as in a training."""
    shape = replace(VIT_B, grid=16, adapters=True)
    state = random_state(shape)
    weight = torch.nn.Parameter(torch.ones(2))
    optimiser = torch.optim.Adam([weight])
    weight.sum().backward()
    optimiser.step()
    wrapped = {"model": state, "optimizer": optimiser.state_dict(), "epoch": 3}
    model = conversion.convert(saved(tmp_path, wrapped), None, 16).model
    text = (torch.randn(2, 1, 16), torch.ones(2, 1, dtype=torch.bool))
    assert_same_as_published(model.image_encoder, model.decoder(), text, state, shape)
    assert model.config.name == "vit_b_adapters"
    assert (model.config.image_size, model.config.resize_mode) == (256, "stretch")


@pytest.mark.parametrize("source", ["folder", "file"])
@torch.inference_mode()
def test_hugging_face_checkpoints_give_the_masks_of_transformers(converted, tmp_path, source):
    pytest.importorskip("transformers")
    from reference import SIZES as REFERENCE_SIZES
    from reference import random_sam, reference_cases

    config = REFERENCE_SIZES["micro"]
    sam = random_sam(config)
    sam.save_pretrained(tmp_path / "hf")
    path = tmp_path / "hf" if source == "folder" else tmp_path / "hf" / "model.safetensors"
    bundle = Bundle(converted(path, "--kind", "sam"))
    pixels, cases = reference_cases(sam, config)
    mean, std = torch.tensor(config.pixel_mean), torch.tensor(config.pixel_std)
    features = bundle.encoder(((pixels.float() - mean) / std).permute(2, 0, 1).unsqueeze(0))
    vectors = bundle.decoder.embed_classes(*embed_cards(bundle.text_encoder, bundle.tokenizer, bundle.cards))
    tokens, summary = bundle.decoder.condition(features, vectors)
    for case in cases:
        mask = case["mask"].unsqueeze(0).unsqueeze(0) if "mask" in case else None
        points, labels = torch.tensor([case["points"]]), torch.tensor([case["labels"]])
        logits, iou, *_ = bundle.decoder.decode(features, tokens, summary, points, labels, mask)
        shown = slice(1, 4) if case["multimask"] else slice(0, 1)
        assert (logits[0, shown] - case["logits"]).abs().max() < 1e-4, case["name"]
        assert (iou[0, shown] - case["iou"]).abs().max() < 1e-4, case["name"]


def test_our_own_checkpoints_give_what_export_gives(converted, run_main, tmp_path, text_folder, card_file):
    config = replace(MICRO, num_classes=3)
    checkpoint = {
        "model": lively(SegSam(config)).state_dict(),
        "config": config.to_dict(),
        "classes": ["square", "bar", "dot"],
        "training": {},
    }
    path = saved(tmp_path, checkpoint, "model.ckpt")
    ours = json.loads((converted(path, "--name", "a") / "manifest.json").read_text())
    fixed = ["--text", text_folder, "--cards", card_file, "--out", tmp_path / "exported", "--name", "a"]
    run_main(export, path, *fixed)
    exported = json.loads((tmp_path / "exported" / "manifest.json").read_text())
    assert ours == exported, "the same hashes, too"
    assert ours["semantic"] == "trained"
    with pytest.raises(ValueError, match=r"model\.ckpt was written by train\.py: it is no sam"):
        conversion.convert(path, "sam", 256)


def test_the_fresh_part_is_the_same_at_every_conversion(tmp_path):
    path = saved(tmp_path, random_state(SAM))
    torch.manual_seed(1)
    first = conversion.convert(path, "sam", 16)
    after = torch.rand(1)
    second = conversion.convert(path, "sam", 16)
    for (name, a), b in zip(first.model.state_dict().items(), second.model.state_dict().values(), strict=True):
        assert torch.equal(a, b), name
    torch.manual_seed(1)
    assert torch.equal(torch.rand(1), after), "the caller's random numbers are left alone"
    assert first.classes is None


@pytest.mark.parametrize("size", PUBLISHED)
def test_shapes_tell_the_size(size):
    for adapters in (False, True):
        state = {k: torch.empty(s, device="meta") for k, s in published(size, adapters).items()}
        told = conversion.config_from_shapes(state)
        expected = replace(SIZES[size], adapters=adapters)
        assert replace(told, name=size) == expected
        assert told.name == (f"{size}_adapters" if adapters else size)
        assert conversion.kind_of(told) == ("sam-med2d" if adapters else "sam")


@pytest.mark.parametrize(("grid", "window"), [(4, 4), (3, 5)], ids=["as large as the grid", "larger than it"])
def test_windows_that_reach_beyond_the_grid(converted, tmp_path, grid, window):
    shape = replace(SAM, grid=grid, window=window)
    state = random_state(shape)
    assert_bundle_as_published(converted(saved(tmp_path, state), "--kind", "sam"), state, shape)


@pytest.mark.parametrize("wrapper", ["model", "state_dict", "model_state_dict", None])
def test_wrapped_and_prefixed_weights(tmp_path, wrapper):
    state = random_state(SAM)
    plain = conversion.convert(saved(tmp_path, state), "sam", 16)
    prefixed = {f"module.{key}": value for key, value in state.items()}
    path = saved(tmp_path, {wrapper: prefixed, "epoch": 7, "name": "run"} if wrapper else prefixed, "wrapped.pth")
    for (name, a), b in zip(
        plain.model.state_dict().items(), conversion.convert(path, "sam", 16).model.state_dict().values(), strict=True
    ):
        assert torch.equal(a, b), name


def test_normalisation_that_is_stored_is_kept_but_for_medsam(tmp_path):
    stored = {
        "pixel_mean": torch.tensor([1.0, 2.0, 3.5]).reshape(3, 1, 1),
        "pixel_std": torch.tensor([4.0, 5.0, 6.0]).reshape(3, 1, 1),
    }
    path = saved(tmp_path, random_state(SAM) | stored)
    config = conversion.convert(path, "sam", 16).model.config
    assert (config.pixel_mean, config.pixel_std) == ((1.0, 2.0, 3.5), (4.0, 5.0, 6.0))
    config = conversion.convert(path, "medsam", 16).model.config
    assert (config.pixel_mean, config.pixel_std) == ((0.0,) * 3, (255.0,) * 3)
    path = saved(tmp_path, random_state(SAM) | {"pixel_std": torch.zeros(3)})
    with pytest.raises(ValueError, match=r"sam\.pth: pixel_std is \[0\.0, 0\.0, 0\.0\]"):
        conversion.convert(path, "sam", 16)


def test_half_precision_weights_stay_what_they_are(tmp_path):
    state = {key: value.half() for key, value in random_state(SAM).items()}
    save_file(state, tmp_path / "half.safetensors")
    result = conversion.convert(tmp_path / "half.safetensors", "sam", 16)
    assert result.dtype == "float16"
    for key, value in state.items():
        assert torch.equal(result.model.state_dict()[key], value.float()), key


RENAMED = "mask_decoder.iou_token.weight"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({RENAMED: None}, rf"missing: {RENAMED}$"),
        ({"image_encoder.pos_embed": None}, r"image_encoder\.pos_embed is missing"),
        ({"image_encoder.blocks.1.norm1.bias": None}, r"missing: image_encoder\.blocks\.1\.norm1\.bias"),
        ({"mask_decoder.hf_token.weight": torch.ones(1, 32)}, r"left over.*mask_decoder\.hf_token\.weight"),
        ({"extra": torch.ones(1)}, "left over.*extra"),
        ({RENAMED: torch.ones(2, 32)}, rf"{RENAMED} has shape \(2, 32\); \(1, 32\) was expected"),
        ({RENAMED: torch.full((1, 32), torch.nan)}, rf"{RENAMED} holds values that are not finite"),
        ({RENAMED: 3}, f"{RENAMED} is a int, not a tensor"),
        ({"image_encoder.pos_embed": torch.ones(1, 6, 5, 32)}, r"pos_embed has shape \(1, 6, 5, 32\); \(1, 6, 6, 32\)"),
        ({"image_encoder.pos_embed": torch.ones(36, 32)}, r"pos_embed has shape \(36, 32\), not 4 axes"),
        ({"image_encoder.blocks.2.attn.rel_pos_h": torch.ones(5, 16)}, r"blocks\.\d\.attn\.rel_pos_h has"),
    ],
)
def test_what_does_not_come_across_is_named(tmp_path, change, message):
    state = {k: v for k, v in {**random_state(SAM), **change}.items() if v is not None}
    with pytest.raises(ValueError, match=message) as raised:
        conversion.convert(saved(tmp_path, state), "sam", 16)
    assert "sam.pth: " in str(raised.value)


@pytest.mark.parametrize(
    ("shape", "kind", "message"),
    [
        (SAM, None, r"96 pixels instead of 1024.*--kind sam .*--kind sam-med2d"),
        (MED2D, "sam", "adapters.*no sam$"),
        (MED2D, "medsam", "adapters.*no medsam"),
        (SAM, "seg-sam", r"was not written by train\.py"),
    ],
)
def test_a_kind_that_does_not_fit_is_refused(tmp_path, shape, kind, message):
    with pytest.raises(ValueError, match=message):
        conversion.convert(saved(tmp_path, random_state(shape)), kind, 16)


def test_sam_med2d_without_adapters_is_taken_when_said(tmp_path):
    result = conversion.convert(saved(tmp_path, random_state(SAM)), "sam-med2d", 16)
    assert result.model.config.resize_mode == "stretch"


@pytest.mark.parametrize("kind", [torch.optim.Adam, torch.optim.AdamW, torch.optim.SGD])
def test_an_optimiser_beside_the_weights_is_dropped(tmp_path, kind):
    weight = torch.nn.Parameter(torch.ones(2))
    optimiser = kind([weight], lr=1e-4)
    weight.sum().backward()
    optimiser.step()
    path = saved(tmp_path, {"model": random_state(MED2D), "optimizer": optimiser})
    assert conversion.convert(path, None, 16).kind == "sam-med2d"


def test_a_checkpoint_with_more_than_tensors_is_not_unpickled(tmp_path):
    class Trap:
        def __reduce__(self):
            return (open, (str(tmp_path / "sprung"), "w"))

    path = saved(tmp_path, {"model": random_state(SAM), "optimizer": Trap()})
    with pytest.raises(ValueError, match=r"sam\.pth holds a \S*open beside tensors.*weights alone"):
        conversion.convert(path, None, 16)
    assert not (tmp_path / "sprung").exists()
    schedule = torch.optim.lr_scheduler.StepLR(torch.optim.Adam([torch.nn.Parameter(torch.ones(1))]), 1)
    path = saved(tmp_path, {"model": random_state(MED2D), "scheduler": schedule})
    with pytest.raises(ValueError, match=r"StepLR") as raised:
        conversion.convert(path, None, 16)
    advice = (
        str(raised.value).split('python -c "')[1].rstrip('"').replace("'weights.pth'", repr(str(tmp_path / "w.pth")))
    )
    exec(advice)
    assert conversion.convert(tmp_path / "w.pth", None, 16).kind == "sam-med2d"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("missing.pth", None, "there is no .*missing.pth"),
        ("noise.pth", b"not a checkpoint at all", "noise.pth is no checkpoint"),
        ("empty.pth", b"", "empty.pth is no checkpoint"),
        ("noise.safetensors", b"\x00\x01", "noise.safetensors is no safetensors file"),
    ],
)
def test_files_that_are_no_checkpoints(tmp_path, name, content, message):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=message):
        conversion.convert(tmp_path / name, None, 16)


def test_checkpoints_of_other_models(tmp_path):
    with pytest.raises(ValueError, match=r"neither model\.safetensors nor pytorch_model\.bin"):
        conversion.convert(tmp_path, None, 16)
    with pytest.raises(ValueError, match=r"list, not weights by their names"):
        conversion.convert(saved(tmp_path, [torch.ones(1)]), None, 16)
    with pytest.raises(ValueError, match=r"known layout \(first keys: conv1\.weight\)"):
        conversion.convert(saved(tmp_path, {"conv1.weight": torch.ones(1)}), None, 16)
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "sam2"}))
    save_file(random_state(SAM), tmp_path / "model.safetensors")
    for path in (tmp_path, tmp_path / "model.safetensors"):
        with pytest.raises(ValueError, match="model_type 'sam2', not 'sam'"):
            conversion.convert(path, "sam", 16)
    assert conversion.convert(saved(tmp_path, random_state(SAM)), "sam", 16).kind == "sam", "not that file's config"


def test_positions_that_hugging_face_stores_twice(tmp_path):
    from seg_sam.hugging_face import to_sam_keys

    one, two = "shared_image_embedding.positional_embedding", "prompt_encoder.shared_embedding.positional_embedding"
    matrix = torch.randn(2, 4)
    expected = "prompt_encoder.pe_layer.positional_encoding_gaussian_matrix"
    for names in ((one,), (two,), (one, two)):
        state = to_sam_keys({name: matrix.clone() for name in names})
        assert list(state) == [expected]
        assert torch.equal(state[expected], matrix)
    with pytest.raises(ValueError, match=f"{one} and {two} differ"):
        to_sam_keys({one: matrix, two: matrix + 1})


def test_the_command_says_in_one_line_what_is_wrong(converted, tmp_path):
    with pytest.raises(SystemExit, match=r"^convert\.py: there is no .*nothing\.pth$"):
        converted(tmp_path / "nothing.pth")
    assert not (tmp_path / "bundle").exists()
    state = random_state(SAM)
    state["image_encoder.pos_embed"] += 1e6
    with pytest.raises(SystemExit, match=r"logits that are not finite: take another --dtype"):
        converted(saved(tmp_path, state), "--kind", "sam", "--dtype", "float16")


def test_the_command_says_what_it_took_a_checkpoint_for(converted, tmp_path, capsys):
    converted(saved(tmp_path, random_state(MED2D)), "--name", "x", "--licence", "CC0-1.0", "--dtype", "bfloat16")
    said = capsys.readouterr().out
    assert re.search(r"sam\.pth: sam-med2d, vit_32x3_adapters, 96 pixels, bfloat16", said)
    assert "names no classes" in said
    manifest = json.loads((tmp_path / "bundle" / "manifest.json").read_text())
    assert (manifest["name"], manifest["licence"], manifest["dtype"]) == ("x", "CC0-1.0", "bfloat16")
