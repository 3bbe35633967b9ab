"""The paper's ablation: its arms, and the tables of what they reach."""

import math
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from scipy import stats

BEGIN, END = "<!-- ablation: written by models/ablation.py -->", "<!-- end of ablation -->"


@dataclass(frozen=True)
class Arm:
    """One model of the ablation; each has all that the one before it has."""

    name: str
    title: str
    options: tuple[str, ...]  # of train.py


ARMS = (
    Arm("sag", "SAM's decoder alone", ("--semantic", "none")),
    Arm("shared", "+ shared semantic head", ("--semantic", "shared", "--no-text-to-vision", "--alignment", "0")),
    Arm(
        "independent",
        "+ independent semantic-aware decoder",
        ("--semantic", "independent", "--no-text-to-vision", "--alignment", "0"),
    ),
    Arm("text", "+ text-to-vision", ("--semantic", "independent", "--alignment", "0")),
    Arm("alignment", "+ cross-mask spatial alignment", ("--semantic", "independent")),
)
# Score of a run to the heading of its column.
COLUMNS = {
    "box_dice": "box Dice",
    "point_dice": "point Dice",
    "semantic_dice": "semantic Dice, box",
    "class_right": "class right, box",
    "class_top3": "class in top 3",
    "precision": "unprompted: precision",
    "recall": "recall",
    "f1": "F1",
}


def scores_of_run(box: dict, point: dict) -> dict[str, float | None]:
    """The scores of one run, from `evaluation.evaluate` with boxes and with points: means over all objects."""

    def mean(result: dict, score: str) -> float | None:
        values = [r[score] for r in result["records"] if score in r]
        return float(np.mean(values)) if values else None

    return {
        "box_dice": mean(box, "dice"),
        "point_dice": mean(point, "dice"),
        **{s: mean(box, s) for s in ("semantic_dice", "class_right", "class_top3")},
        **box["unprompted"],
    }


def summary(runs: dict[str, dict[str, dict]]) -> dict:
    """Mean and spread of each arm, and the paired differences between each arm and the one before it.

    `runs` is scores by arm and seed. Spread is the standard deviation over seeds (n - 1); differences are taken within
    a seed, and `half` is half the 95 % confidence interval of their mean (paired t).
    """
    names = [arm.name for arm in ARMS if runs.get(arm.name)]
    arms = {n: {c: _statistics([r[c] for r in runs[n].values()]) for c in COLUMNS} for n in names}
    differences = {}
    for before, after in pairwise(names):
        seeds = sorted(runs[before].keys() & runs[after].keys(), key=int)
        differences[f"{before} to {after}"] = {
            c: _statistics(
                [
                    runs[after][s][c] - runs[before][s][c]
                    for s in seeds
                    if runs[after][s][c] is not None and runs[before][s][c] is not None
                ]
            )
            for c in COLUMNS
        }
    return {"arms": arms, "differences": differences}


def _statistics(values: list[float | None]) -> dict | None:
    known = [v for v in values if v is not None]
    if not known:
        return None
    n = len(known)
    sd = float(np.std(known, ddof=1)) if n > 1 else None
    half = float(stats.t.ppf(0.975, n - 1) * sd / math.sqrt(n)) if n > 1 else None
    return {"mean": float(np.mean(known)), "sd": sd, "n": n, "half": half}


def tables(results: dict) -> str:
    """Markdown: each arm's mean and spread, and the paired differences."""
    found = summary(results["runs"])
    about = results["about"]
    command = about["command"]
    title = {arm.name: arm.title for arm in ARMS}
    seeds = sorted({s for runs in results["runs"].values() for s in runs}, key=int)
    return "\n".join(
        [
            f"Measured by `{command}`: {about['steps']} steps each, seeds {', '.join(seeds)}; {about['objects']} "
            f"objects in {about['images']} images of {about['subjects']} test subjects. Mean ± standard deviation "
            "over seeds.\n",
            _table("arm", {title[n]: row for n, row in found["arms"].items()}, signed=False),
            "What each step adds, within a seed: mean ± standard deviation of the differences; bold where the 95 % "
            "interval of the mean (paired t) leaves out 0.\n",
            _table(
                "step", {title[n.split(" to ")[1]]: row for n, row in found["differences"].items()}, signed=True
            ).removesuffix("\n"),
        ]
    )


def _table(heading: str, rows: dict[str, dict], signed: bool) -> str:
    head = [heading, "runs", *COLUMNS.values()]
    lines = ["| " + " | ".join(head) + " |", "| --- " + "| ---: " * (len(head) - 1) + "|"]
    for title, row in rows.items():
        runs = max((v["n"] for v in row.values() if v), default=0)
        cells = [title, str(runs), *(_cell(row[c], signed) for c in COLUMNS)]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _cell(value: dict | None, signed: bool) -> str:
    if value is None:
        return ""
    text = f"{value['mean']:{'+' if signed else ''}.3f}" + ("" if value["sd"] is None else f" ± {value['sd']:.3f}")
    shows = signed and value["half"] is not None and abs(value["mean"]) > value["half"]
    return f"**{text}**" if shows else text
