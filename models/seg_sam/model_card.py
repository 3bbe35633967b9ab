"""The tables of a model card, from the metrics that `evaluate.py` measures."""

from pathlib import Path

from .marked_region import replace_region

BEGIN, END = "<!-- metrics: written by models/evaluate.py -->", "<!-- end of metrics -->"
CALIBRATION_BEGIN, CALIBRATION_END = "<!-- calibration: written by models/card.py -->", "<!-- end of calibration -->"
SCORES = ("dice", "semantic_dice", "ellipse_dice", "class_right", "class_top3")
# The large tissues of `brain_aseg`; what remains are its deep structures and ventricles.
BRAIN_TISSUES = {"cerebral_white_matter", "cerebral_cortex", "cerebellum_white_matter", "cerebellum_cortex"}


def write_metrics(card: Path, metrics: dict) -> None:
    """Replaces what stands between the two marks of a card."""
    replace_region(card, BEGIN, END, tables(metrics))


def write_calibration(card: Path, calibration: dict) -> None:
    """Replaces the line on calibration and unprompted classes of a card."""
    replace_region(card, CALIBRATION_BEGIN, CALIBRATION_END, calibration_line(calibration))


def calibration_of(report: dict, bundle: str) -> dict:
    """What a card says of calibration, from the report.json of `seg-sam eval` (docs/evaluation.md), of box prompts."""
    run, box = report["run"], report["prompts"]["box"]
    sets = [s["name"] for s in run["sets"]]
    command = f"npx seg-sam eval {bundle} {' '.join(f'DATA/{s}' for s in sets)} --prompts box"
    return {
        "bundle": run["bundle"]["name"],
        "version": run["bundle"]["version"],
        "command": command + (f" --limit {run['limit']}" if run["limit"] else "") + " --report out",
        "sets": sets,
        "objects": box["overall"]["objects"],
        "error": {k: round(v["error"], 4) for k, v in box["calibration"].items()},
        "others": {k: round(box["overall"][f"others{k.capitalize()}"], 4) for k in ("precision", "recall", "f1")},
    }


def calibration_line(calibration: dict) -> str:
    error, others = calibration["error"], calibration["others"]
    return (
        f"- Box prompts on {' and '.join(calibration['sets'])} (`{calibration['command']}`, {calibration['objects']} "
        f"objects): the expected calibration error is {error['predictedIou']:.2f} for the predicted IoU, "
        f"{error['classProbability']:.2f} for the probability of the class, and {error['agreement']:.2f} for "
        f"`agreement`. Of the unprompted classes {others['precision']:.2f} of those named are there, and "
        f"{others['recall']:.2f} of those that are there are named (F1 {others['f1']:.2f})."
    )


def tables(metrics: dict) -> str:
    """Markdown: by set, by modality and by class."""
    rows = by_set(metrics)
    parts = [f"Measured by `{metrics['command']}`.\n", _table("set", rows)]
    target = [rows[name] for name in ("us_nerve_vessel", "nuclei", "sarcoma", DEEP) if name in rows]
    if len(target) == 4:
        parts.append(_target_line(target))
    modalities = _merged(metrics, "by_modality")
    parts += [
        "By modality:\n",
        _table("modality", modalities),
        "By class:\n",
        _table("class", _merged(metrics, "by_class")),
    ]
    return "\n".join(parts)


DEEP = "brain_aseg, deep structures"


def by_set(metrics: dict) -> dict[str, dict]:
    """Name of the set to its entries for each kind of prompt, and how many images and subjects stand behind them."""
    rows: dict[str, dict] = {}
    for name, entry in metrics["sets"].items():
        kinds = {kind: entry[kind]["by_set"][name] for kind in ("box", "point") if kind in entry}
        rows[name] = {**kinds, "images": entry["images"], "subjects": entry["subjects"]}
        if name == "brain_aseg":
            deep = {}
            for kind in kinds:
                classes = [v for k, v in entry[kind]["by_class"].items() if k not in BRAIN_TISSUES]
                deep[kind] = _mean(classes)
            rows[DEEP] = {**rows[name], **deep}
    return rows


def _mean(groups: list[dict]) -> dict:
    n = sum(g["n"] for g in groups)
    return {"n": n, **{s: sum(g["n"] * g[s] for g in groups) / n for s in SCORES}}


def _merged(metrics: dict, key: str) -> dict[str, dict]:
    rows: dict[str, dict] = {}
    for kind in ("box", "point"):
        found: dict[str, list[dict]] = {}
        for entry in metrics["sets"].values():
            for name, group in entry.get(kind, {}).get(key, {}).items():
                found.setdefault(name, []).append(group)
        for name, groups in found.items():
            rows.setdefault(name, {})[kind] = _mean(groups)
    return dict(sorted(rows.items()))


def _table(title: str, rows: dict[str, dict]) -> str:
    counted = any("images" in row for row in rows.values())
    head = [
        title,
        *(["images", "subjects"] if counted else []),
        "objects",
        "box Dice",
        "semantic Dice, box",
        "Dice of the box's ellipse",
        "class right, box",
        "class in top 3",
        "point Dice",
        "class right, point",
    ]
    lines = ["| " + " | ".join(head) + " |", "| --- " + "| ---: " * (len(head) - 1) + "|"]
    for name, row in rows.items():
        box, point = row.get("box"), row.get("point")
        cells = [name, *([str(row["images"]), str(row["subjects"])] if counted else []), str((box or point)["n"])]
        cells += [_number(box, s) for s in SCORES] + [_number(point, "dice"), _number(point, "class_right")]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _number(group: dict | None, score: str) -> str:
    return "" if group is None else f"{group[score]:.2f}"


def _target_line(rows: list[dict]) -> str:
    def mean(kind: str, score: str) -> float:
        return sum(row[kind][score] for row in rows) / len(rows)

    line = (
        f"Mean over us_nerve_vessel, nuclei, sarcoma and the deep structures of brain_aseg: "
        f"box Dice {mean('box', 'dice'):.3f} (lowest {min(row['box']['dice'] for row in rows):.3f}; "
        f"the ellipses alone: {mean('box', 'ellipse_dice'):.3f}), "
        f"class right {mean('box', 'class_right'):.3f}"
    )
    if all("point" in row for row in rows):
        line += f"; one point: Dice {mean('point', 'dice'):.3f}, class right {mean('point', 'class_right'):.3f}"
    return line + ".\n"
