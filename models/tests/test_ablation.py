import json
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import stats

import ablation
from seg_sam.ablation import ARMS, BEGIN, COLUMNS, END, summary, tables
from seg_sam.marked_region import read_region, replace_region
from synthetic import write_labelled_slices

DOC = Path(ablation.__file__).parent.parent / "docs" / "ablation.md"
SMALL = {
    "image-size": 32,
    "steps": 2,
    "encoder-steps": 2,
    "sam-steps": 2,
    "batch": 2,
    "prompts": 2,
    "test-every": 1,
    "threads": 1,
}


def checkpoint(path: Path) -> dict:
    return torch.load(path, map_location="cpu", weights_only=True)


def test_arms_and_seeds_are_trained_from_one_start_measured_and_not_run_again(
    tmp_path, text_folder, card_file, monkeypatch
):
    data = write_labelled_slices(tmp_path / "shapes", test_subjects=2)
    doc = tmp_path / "ablation.md"
    doc.write_text(f"Above\n{BEGIN}\nold\n{END}\nbelow\n")
    options = {"data": data, "text": text_folder, "cards": card_file, "out": tmp_path / "runs", "doc": doc, **SMALL}
    given = [str(a) for k, v in options.items() for a in (f"--{k}", v)] + ["--arms", "sag", "text", "--seeds", "0", "1"]
    ablation.main(given)

    start = checkpoint(tmp_path / "runs" / "start.ckpt")
    parts = {k.split(".")[0] for k in start["model"]}
    assert parts == {"image_encoder", "prompt_encoder", "mask_decoder"}, "the semantic parts are the seeds'"
    trained = {
        f"{a}-{s}": checkpoint(tmp_path / "runs" / f"{a}-{s}" / "model.ckpt") for a in ("sag", "text") for s in (0, 1)
    }
    assert {k: v["config"]["semantic"] for k, v in trained.items() if k.endswith("0")} == {
        "sag-0": "none",
        "text-0": "independent",
    }
    assert all(v["config"]["image_size"] == 32 and v["training"]["steps"] == 2 for v in trained.values())
    matrix = "prompt_encoder.pe_layer.positional_encoding_gaussian_matrix"
    assert all(torch.equal(v["model"][matrix], start["model"][matrix]) for v in trained.values())
    tokens = [trained[f"text-{s}"]["model"]["semantic_decoder.co_tokens.weight"] for s in (0, 1)]
    assert (tokens[0] - tokens[1]).abs().mean() > 0.5, "the semantic parts are the seeds'"
    projection = "decoder.transformer.layers.0.self_attn.q_proj.weight"
    moved = trained["text-0"]["model"][f"semantic_{projection}"] - start["model"][f"mask_{projection}"]
    assert moved.abs().max() < 0.01, "a decoder of its own begins as a copy of SAM's"

    results = json.loads((tmp_path / "ablation.json").read_text())
    assert results == json.loads((tmp_path / "runs" / "results.json").read_text())
    assert {a: set(runs) for a, runs in results["runs"].items()} == {"sag": {"0", "1"}, "text": {"0", "1"}}
    assert (results["about"]["images"], results["about"]["subjects"], results["about"]["objects"]) == (4, 2, 8)
    for runs in results["runs"]["text"].values():
        assert set(runs) == set(COLUMNS) and all(
            0 <= runs[c] <= 1 for c in ("box_dice", "semantic_dice", "class_right")
        )
    for runs in results["runs"]["sag"].values():
        assert {c for c, v in runs.items() if v is not None} == {"box_dice", "point_dice"}, "it names nothing"
    assert read_region(doc, BEGIN, END) == tables(results)
    assert doc.read_text().startswith("Above\n") and doc.read_text().endswith("below\n")

    before = {p: p.stat().st_mtime_ns for p in (tmp_path / "runs").rglob("*.ckpt")}
    ablation.main(given)
    assert {p: p.stat().st_mtime_ns for p in (tmp_path / "runs").rglob("*.ckpt")} == before
    with pytest.raises(ValueError, match=r"steps 2, not 3.*another --out"):
        ablation.main([*given, "--steps", "3"])


def test_differences_are_paired_within_a_seed():
    rng = np.random.default_rng(0)
    seeds = [str(s) for s in range(4)]
    base = {s: dict.fromkeys(COLUMNS, None) | {"box_dice": rng.random()} for s in seeds}
    more = {
        s: dict.fromkeys(COLUMNS, 0.5) | {"box_dice": base[s]["box_dice"] + 0.1 + 0.01 * rng.random()} for s in seeds
    }
    found = summary({"sag": base, "shared": {**more, "9": more["0"]}})
    arm, step = found["arms"]["sag"]["box_dice"], found["differences"]["sag to shared"]
    values = [base[s]["box_dice"] for s in seeds]
    assert arm["mean"] == pytest.approx(np.mean(values)) and arm["sd"] == pytest.approx(np.std(values, ddof=1))
    assert found["arms"]["sag"]["f1"] is None and step["f1"] is None
    assert step["box_dice"]["n"] == 4, "a seed that only one arm has is no pair"
    paired = stats.ttest_rel([more[s]["box_dice"] for s in seeds], values).confidence_interval()
    assert step["box_dice"]["mean"] - step["box_dice"]["half"] == pytest.approx(paired.low)
    assert step["box_dice"]["mean"] + step["box_dice"]["half"] == pytest.approx(paired.high)


def test_the_table_marks_what_shows_over_seeds():
    def runs(values):
        return {str(s): dict.fromkeys(COLUMNS, None) | {"box_dice": v} for s, v in enumerate(values)}

    about = {"steps": 2, "objects": 3, "images": 2, "subjects": 1, "command": "x"}
    results = {"about": about, "runs": {"sag": runs([0.1, 0.2, 0.3]), "shared": runs([0.2, 0.3, 0.41])}}
    text = tables(results)
    assert f"| {ARMS[0].title} | 3 | 0.200 ± 0.100 |" in text
    assert f"| {ARMS[1].title} | 3 | **+0.103 ± 0.006** |" in text
    results["runs"]["shared"] = runs([0.2, 0.1, 0.35])
    assert f"| {ARMS[1].title} | 3 | +0.017 ± 0.104 |" in tables(results)


def test_each_arm_has_what_the_one_before_it_has():
    options = [" ".join(arm.options) for arm in ARMS]
    assert [arm.name for arm in ARMS] == ["sag", "shared", "independent", "text", "alignment"]
    table = DOC.read_text()
    for arm, given in zip(ARMS, options, strict=True):
        assert f"| `{arm.name}` |" in table and f"`{given}` |" in table


def test_the_tables_of_the_docs_are_made_of_the_results_beside_them():
    results = DOC.with_suffix(".json")
    if not results.exists():
        assert read_region(DOC, BEGIN, END).strip() == ""
        pytest.skip("the ablation has not been run: docs/ablation.json is not there")
    assert read_region(DOC, BEGIN, END) == tables(json.loads(results.read_text()))


def test_a_file_without_marks_is_left_alone(tmp_path):
    (tmp_path / "a.md").write_text("nothing here")
    with pytest.raises(ValueError, match="lacks the lines"):
        replace_region(tmp_path / "a.md", BEGIN, END, "x")
    assert (tmp_path / "a.md").read_text() == "nothing here"
