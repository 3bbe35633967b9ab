import hashlib
import json
from dataclasses import replace

import pytest
import torch

import export
from seg_sam.bundle import Bundle
from seg_sam.class_cards import read_cards
from seg_sam.model import SegSam
from seg_sam.text import embed_cards, load_text_encoder
from synthetic import MICRO, lively


def write_checkpoint(path, **options):
    config = replace(MICRO, num_classes=3, **options)
    model = lively(SegSam(config))
    classes = ["square", "bar", "dot"]
    torch.save({"model": model.state_dict(), "config": config.to_dict(), "classes": classes, "training": {}}, path)
    return model


@pytest.fixture
def exported(run_main, tmp_path, text_folder, card_file):
    def of(source: object, *more: str):
        fixed = ["--text", text_folder, "--cards", card_file, "--out", tmp_path / "bundle"]
        run_main(export, source, *fixed, *more)
        return tmp_path / "bundle"

    return of


def outputs(encoder, decoder, sentences, valid, masks: bool) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    features = encoder(torch.randn(1, 3, 64, 64, generator=generator))
    tokens, summary = decoder.condition(features, decoder.embed_classes(sentences, valid))
    points = torch.rand(3, 2, 2, generator=generator) * 63
    labels = torch.tensor([[2, 3], [1, -1], [0, 1]])
    mask = torch.randn(3, 1, 32, 32, generator=generator) if masks else None
    return [*features, tokens, summary, *decoder.decode(features, tokens, summary, points, labels, mask)]


@pytest.mark.parametrize(
    "options",
    [{}, {"adapters": True}, {"semantic": "shared"}, {"text_to_vision": False}, {"raster_prompts": False}],
    ids=["micro", "adapters", "shared", "no_text", "no_raster"],
)
@torch.inference_mode()
def test_a_bundle_computes_what_its_checkpoint_does(exported, tmp_path, card_file, text_folder, options):
    model = write_checkpoint(tmp_path / "model.ckpt", **options)
    bundle = Bundle(exported(tmp_path / "model.ckpt", "--dtype", "float32"))
    by_id = {card["id"]: card for card in read_cards(card_file)}
    assert bundle.cards == [by_id[i] for i in ("square", "bar", "dot")], "the order of the classes is the checkpoint's"
    text = embed_cards(*load_text_encoder(text_folder), bundle.cards)
    for a, b in zip(embed_cards(bundle.text_encoder, bundle.tokenizer, bundle.cards), text, strict=True):
        assert (a.float() - b.float()).abs().max() < 1e-5
    for masks in (False, True):
        ours = outputs(model.image_encoder, model.decoder(), *text, masks)
        theirs = outputs(bundle.encoder, bundle.decoder, *text, masks)
        for a, b in zip(ours, theirs, strict=True):
            assert (a - b).abs().max() < 1e-4


@torch.inference_mode()
def test_half_precision_on_disk_changes_little_and_leaves_positions_whole(exported, tmp_path, text_folder):
    model = write_checkpoint(tmp_path / "model.ckpt")
    folder = exported(tmp_path / "model.ckpt")
    stored = dict(torch.jit.load(folder / "decoder.pt").state_dict())
    assert {v.dtype for k, v in stored.items() if "gaussian" not in k} == {torch.float16}
    assert torch.equal(
        stored["prompt_encoder.pe_layer.positional_encoding_gaussian_matrix"],
        model.prompt_encoder.pe_layer.positional_encoding_gaussian_matrix,
    )
    bundle = Bundle(folder)
    text = embed_cards(*load_text_encoder(text_folder), bundle.cards)
    ours = outputs(model.image_encoder, model.decoder(), *text, True)
    theirs = outputs(bundle.encoder, bundle.decoder, *text, True)
    for a, b in zip(ours, theirs, strict=True):
        assert (a - b).abs().max() < 0.05 * max(1.0, float(a.abs().max()))


def test_the_manifest_tells_the_truth(exported, tmp_path):
    write_checkpoint(tmp_path / "model.ckpt", resize_mode="stretch")
    folder = exported(tmp_path / "model.ckpt", "--name", "shapes", "--dtype", "bfloat16", "--licence", "CC0-1.0")
    manifest = json.loads((folder / "manifest.json").read_text())
    files = manifest.pop("files")
    assert set(files) == {f.name for f in folder.iterdir()} - {"manifest.json"}
    for name, entry in files.items():
        content = (folder / name).read_bytes()
        assert entry == {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    assert manifest == {
        "schema": 1,
        "name": "shapes",
        "version": "0.1.0",
        "architecture": "micro",
        "image_size": 64,
        "mask_size": 32,
        "resize_mode": "stretch",
        "default_window": "auto",
        "pixel_mean": [123.675, 116.28, 103.53],
        "pixel_std": [58.395, 57.12, 57.375],
        "dtype": "bfloat16",
        "text_width": 256,
        "text_length": 64,
        "semantic": "trained",
        "licence": "CC0-1.0",
    }


def test_untrained_weights_say_so(exported):
    manifest = json.loads((exported("random:micro") / "manifest.json").read_text())
    assert manifest["semantic"] == "untrained"


def test_a_model_without_semantic_decoder_is_refused_before_anything_is_written(exported, tmp_path):
    write_checkpoint(tmp_path / "model.ckpt", semantic="none")
    with pytest.raises(ValueError, match=r"semantic='none'.*--semantic independent"):
        exported(tmp_path / "model.ckpt")
    assert not (tmp_path / "bundle").exists()


def test_an_unknown_size_and_a_class_without_card_are_named(exported, tmp_path, card_file):
    with pytest.raises(ValueError, match=r"'huge'.*vit_b"):
        exported("random:huge")
    write_checkpoint(tmp_path / "model.ckpt")
    cards = json.loads(card_file.read_text())
    (tmp_path / "fewer.json").write_text(json.dumps({**cards, "classes": cards["classes"][:2]}))
    with pytest.raises(ValueError, match="no class card for dot"):
        exported(tmp_path / "model.ckpt", "--cards", str(tmp_path / "fewer.json"))


def test_a_checkpoint_with_code_in_it_is_not_run(exported, tmp_path):
    class Trap:
        def __reduce__(self):
            return (open, (str(tmp_path / "sprung"), "w"))

    torch.save({"model": Trap(), "config": {}, "classes": []}, tmp_path / "trap.ckpt")
    with pytest.raises(Exception, match=r"[Ww]eights"):
        exported(tmp_path / "trap.ckpt")
    assert not (tmp_path / "sprung").exists()


def test_the_readme_of_an_earlier_bundle_stays(exported, tmp_path):
    write_checkpoint(tmp_path / "model.ckpt")
    (tmp_path / "bundle").mkdir()
    (tmp_path / "bundle" / "README.md").write_text("a model card")
    assert (exported(tmp_path / "model.ckpt") / "README.md").read_text() == "a model card"
