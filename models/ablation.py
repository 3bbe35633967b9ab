"""The paper's ablation as one command: five arms, each trained alike with several seeds, measured on test subjects.

    python models/ablation.py --data DATA/brain_mr --text runs/text --out runs/ablation --unlicensed \
      --doc docs/ablation.md

What each arm is, and how to read the tables: docs/ablation.md. An encoder and SAM's decoder are trained first, in the
place of SAM's weights, and every arm of every seed starts from them. A run that finished is not run again; one that was
cut off begins anew, so that all arms of a seed see the same batches.
"""

import argparse
import json
import os
import shutil
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path

import torch

import train
from seg_sam.ablation import ARMS, BEGIN, COLUMNS, END, Arm, scores_of_run, tables
from seg_sam.bundle import write_json
from seg_sam.checkpoint import trained_model
from seg_sam.class_cards import read_cards, select_cards
from seg_sam.dataset import read_dataset
from seg_sam.evaluation import evaluate, unprompted_scores
from seg_sam.marked_region import replace_region
from seg_sam.text import embed_cards, load_text_encoder

# What all runs of a folder have in common.
RECIPE = (
    "size",
    "image_size",
    "steps",
    "encoder_steps",
    "sam_steps",
    "batch",
    "prompts",
    "boxes",
    "rounds",
    "lr",
    "ema",
    "test_every",
)


def main(arguments: list[str] | None = None) -> None:
    args = parser().parse_args(arguments)
    args.out.mkdir(parents=True, exist_ok=True)
    keep_recipe(args)
    jobs = [(arm, seed) for seed in args.seeds for arm in ARMS if arm.name in args.arms]
    waiting = [job for job in jobs if not (run_folder(args, *job) / "scores.json").exists()]
    with ProcessPoolExecutor(args.parallel, get_context("spawn"), set_threads, (args.threads,)) as pool:
        if waiting and not (args.out / "start.ckpt").exists():
            pool.submit(train_start, args).result()
        if waiting:
            write_copied_decoder(args.out / "start.ckpt")
        started = [pool.submit(train_and_measure, args, arm, seed) for arm, seed in waiting]
        for done in as_completed(started):
            arm, seed, scores = done.result()
            print(arm, "seed", seed, {k: None if v is None else round(v, 3) for k, v in scores.items()}, flush=True)
    results = collect(args, jobs)
    write_json(args.out / "results.json", results)
    text = tables(results)
    print(text)
    if args.doc:
        replace_region(args.doc, BEGIN, END, text)
        write_json(args.doc.with_suffix(".json"), results)


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    names = [arm.name for arm in ARMS]
    parser.add_argument("--data", type=Path, nargs="+", required=True, help="folders of data sets")
    parser.add_argument("--text", type=Path, required=True, help="folder written by train_text.py")
    parser.add_argument("--cards", type=Path, help="folder or file of class cards (default: models/cards)")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--doc", type=Path, help="file whose tables are rewritten; the results go beside it, as .json")
    parser.add_argument("--arms", nargs="+", choices=names, default=names)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--size", default="tiny")
    parser.add_argument("--image-size", type=int, default=128)
    parser.add_argument("--steps", type=int, default=220, help="of each arm")
    parser.add_argument("--encoder-steps", type=int, default=400, help="of the encoder that all arms start from")
    parser.add_argument("--sam-steps", type=int, default=500, help="of that encoder with SAM's decoder")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--prompts", type=int, default=4)
    parser.add_argument("--boxes", type=float, default=0.5)
    parser.add_argument("--rounds", type=float, default=0.0)
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--ema", type=float, default=0.98)
    parser.add_argument("--test-every", type=int, default=3, help="measure every third test image, and so on")
    parser.add_argument("--unlicensed", action="store_true", help="admit non-commercial sets; the weights may not ship")
    parser.add_argument("--parallel", type=int, default=1, help="runs at a time")
    parser.add_argument("--threads", type=int, default=max(1, os.cpu_count() or 1), help="of each run")
    return parser


def keep_recipe(args: argparse.Namespace) -> None:
    """ValueError where the folder holds runs of another recipe: they cannot be compared."""
    recipe = {name: getattr(args, name) for name in RECIPE} | {"data": [f.name for f in args.data]}
    path = args.out / "recipe.json"
    if not path.exists():
        write_json(path, recipe)
        return
    before = json.loads(path.read_text())
    changed = [f"{k} {before.get(k)}, not {v}" for k, v in recipe.items() if before.get(k) != v]
    if changed:
        raise ValueError(f"{args.out} holds runs with {'; '.join(changed)}: take the same options, or another --out")


def run_folder(args: argparse.Namespace, arm: Arm, seed: int) -> Path:
    return args.out / f"{arm.name}-{seed}"


def set_threads(threads: int) -> None:
    torch.set_num_threads(threads)


def train_start(args: argparse.Namespace) -> None:
    """Writes `start.ckpt`, what stands for SAM's weights: an encoder trained on the classes of the pixels, then with
    SAM's decoder on masks alone, mostly of boxes, which break the plateau of empty masks.
    """
    torch.set_num_threads(args.threads * args.parallel)
    encoder, sam = args.out / "encoder", args.out / "sam-start"
    for folder in (encoder, sam):
        shutil.rmtree(folder, ignore_errors=True)
    train.main([*common(args, encoder), "--encoder-only", "--steps", str(args.encoder_steps)])
    keep(encoder / "model.ckpt", args.out / "encoder.ckpt", ("image_encoder.",))
    steps = ("--steps", str(args.sam_steps), "--prompts", "6", "--boxes", "0.9", "--rounds", "0")
    train.main([*common(args, sam), *steps, "--semantic", "none", "--start", str(args.out / "encoder.ckpt")])
    keep(sam / "model.ckpt", args.out / "start.ckpt", ("image_encoder.", "prompt_encoder.", "mask_decoder."))
    torch.set_num_threads(args.threads)


def write_copied_decoder(start: Path) -> None:
    """Writes beside a start one whose semantic-aware decoder has the transformer and the upscaling of SAM's decoder.

    The shared head has them by sharing; so arms with and without a decoder of their own begin alike.
    """
    saved = torch.load(start, map_location="cpu", weights_only=True)
    for part in ("transformer.", "output_upscaling."):
        own = f"mask_decoder.{part}"
        copied = {k.replace(own, f"semantic_decoder.{part}"): v for k, v in saved["model"].items() if k.startswith(own)}
        saved["model"].update(copied)
    train.write_checkpoint(start.with_name("start-copied.ckpt"), saved)


def keep(checkpoint: Path, out: Path, parts: tuple[str, ...]) -> None:
    """The parts of a checkpoint that others start from, with its pixel classes."""
    saved = torch.load(checkpoint, map_location="cpu", weights_only=True)
    model = {k: v for k, v in saved["model"].items() if k.startswith(parts)}
    train.write_checkpoint(out, {"model": model, "dense_head": saved["dense_head"], "classes": saved["classes"]})


def train_and_measure(args: argparse.Namespace, arm: Arm, seed: int) -> tuple[str, int, dict]:
    out = run_folder(args, arm, seed)
    shutil.rmtree(out, ignore_errors=True)
    start = "start-copied.ckpt" if "independent" in arm.options else "start.ckpt"
    train.main(
        [
            *common(args, out),
            *arm.options,
            *("--start", str(args.out / start), "--steps", str(args.steps), "--seed", str(seed)),
            *("--prompts", str(args.prompts), "--boxes", str(args.boxes), "--rounds", str(args.rounds)),
        ]
    )
    scores, about = measure(args, out / "model.ckpt")
    write_json(out / "scores.json", {"scores": scores, "about": about})
    return arm.name, seed, scores


def common(args: argparse.Namespace, out: Path) -> list[str]:
    """Arguments of train.py that the encoder's run and those of the arms share."""
    options = {
        "--text": args.text,
        "--out": out,
        "--size": args.size,
        "--image-size": args.image_size,
        "--batch": args.batch,
        "--lr": args.lr,
        "--ema": args.ema,
        "--validation": 0,
        "--workers": 1,  # draws the batches apart from the model's random numbers: they are the same for all arms
        "--device": "cpu",
        **({"--cards": args.cards} if args.cards else {}),
    }
    flags = [str(part) for pair in options.items() for part in pair]
    return ["--data", *map(str, args.data), *flags, "--quiet", *(["--unlicensed"] if args.unlicensed else [])]


def measure(args: argparse.Namespace, checkpoint: Path) -> tuple[dict, dict]:
    """The scores of a checkpoint on the test subjects, and on how much they were measured."""
    saved = torch.load(checkpoint, map_location="cpu", weights_only=True)
    model, class_ids = trained_model(saved, checkpoint)
    cards = select_cards(read_cards(args.cards) if args.cards else read_cards(), class_ids)
    text = embed_cards(*load_text_encoder(args.text), cards)
    images = [i for folder in args.data for i in read_dataset(folder, "test", 1024, args.unlicensed)]
    images = [i for i in images if set(i.classes) <= set(class_ids)][:: args.test_every]
    found = {}
    for kind in ("box", "point"):
        found[kind] = evaluate(
            model.image_encoder,
            model.decoder_to_measure(),
            model.config,
            images,
            cards,
            text,
            torch.device("cpu"),
            kind,
        )
    others = [r["others"] for r in found["box"]["records"] if "others" in r]
    found["box"]["unprompted"] = unprompted_scores(others) if others else {}
    about = {
        "objects": len(found["box"]["records"]),
        "images": len(images),
        "subjects": len({i.subject for i in images}),
        "minutes": round(saved["training"]["minutes"], 2),
    }
    return scores_of_run(found["box"], found["point"]), about


def collect(args: argparse.Namespace, jobs: list[tuple[Arm, int]]) -> dict:
    """All scores by arm and seed, with how they came about."""
    runs: dict[str, dict[str, dict]] = {}
    about: dict = {}
    for arm, seed in jobs:
        saved = json.loads((run_folder(args, arm, seed) / "scores.json").read_text())
        runs.setdefault(arm.name, {})[str(seed)] = {c: saved["scores"].get(c) for c in COLUMNS}
        about = saved["about"]
    recipe = {name: getattr(args, name) for name in RECIPE}
    return {"about": {**about, "command": command_of(args), **recipe}, "runs": runs}


def command_of(args: argparse.Namespace) -> str:
    """The command that gives these results, with what differs from the defaults."""
    sets = " ".join(f"DATA/{folder.name}" for folder in args.data)
    words = ["python models/ablation.py --data", sets, "--text runs/text --out runs/ablation"]
    for name in ("arms", "seeds", *RECIPE):
        value = getattr(args, name)
        if value != parser().get_default(name):
            listed = value if isinstance(value, list) else [value]
            words += [f"--{name.replace('_', '-')}", *map(str, listed)]
    return " ".join([*words, *(["--unlicensed"] if args.unlicensed else []), "--doc docs/ablation.md"])


if __name__ == "__main__":
    main()
