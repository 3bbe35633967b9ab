"""Measures a bundle on the test subjects of data sets: Dice of both decoders, and the class of the prompted object.

    python models/evaluate.py models/seg-sam-tiny --data DIR ... --out models/seg-sam-tiny/metrics.json \
      --card models/seg-sam-tiny/README.md

One prompt an object: the box of its mask, or one random point inside. Semantic sets score the largest piece of each
class in an image, sets of instances every instance, of 30 pixels or more. Masks are compared at the image's own size,
modules run in float32.
"""

import argparse
import json
from pathlib import Path

import torch

from seg_sam.bundle import Bundle, write_json
from seg_sam.dataset import read_dataset
from seg_sam.evaluation import evaluate
from seg_sam.model_card import by_set, write_metrics
from seg_sam.text import embed_cards


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--data", type=Path, nargs="+", required=True)
    parser.add_argument("--split", choices=["train", "test"], default="test")
    parser.add_argument("--kinds", default="box,point")
    parser.add_argument("--images", type=int, default=0, help="at most so many images a set, the first (0: all)")
    parser.add_argument("--limit", type=int, default=0, help="at most so many objects an image (0: all)")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--card", type=Path, help="model card whose tables are made of these metrics")
    args = parser.parse_args()
    bundle = Bundle(args.bundle, args.device)
    text = embed_cards(bundle.text_encoder, bundle.tokenizer, bundle.cards)
    known = {card["id"] for card in bundle.cards}
    result: dict = {
        "bundle": bundle.manifest["name"],
        "version": bundle.manifest["version"],
        "weights": {f: bundle.manifest["files"][f]["sha256"] for f in ("encoder.pt", "decoder.pt", "text_encoder.pt")},
        "command": command_of(args),
        "split": args.split,
        "images": args.images,
        "limit": args.limit,
        "sets": {},
    }
    for folder in args.data:
        images = [i for i in read_dataset(folder, args.split, unlicensed=True) if set(i.classes) <= known]
        images = images[: args.images or None]
        if not images:
            print(f"{folder.name}: no image in the {args.split} part whose classes the bundle has; left out")
            continue
        entry: dict = {"about": about(folder), "images": len(images), "subjects": len({i.subject for i in images})}
        for kind in args.kinds.split(","):
            scores = evaluate(
                bundle.encoder,
                bundle.decoder,
                bundle.config,
                images,
                bundle.cards,
                text,
                torch.device(args.device),
                kind,
                args.limit,
            )
            entry[kind] = {k: scores[k] for k in ("by_set", "by_class", "by_modality", "others")}
            print(folder.name, kind, json.dumps(scores["by_set"][folder.name]))
        result["sets"][folder.name] = entry
        write_json(args.out, result)
    if args.card:
        write_metrics(args.card, result)
    for name, row in by_set(result).items():
        print(name, {k: row[k] for k in args.kinds.split(",")})


def command_of(args: argparse.Namespace) -> str:
    """The command that measures this, with what differs from the defaults."""
    sets = " ".join(f"DATA/{folder.name}" for folder in args.data)
    bundle = args.bundle if not args.bundle.is_absolute() else args.bundle.name
    words = [f"python models/evaluate.py {bundle} --data {sets}"]
    words += [f"--{name} {getattr(args, name)}" for name in ("images", "limit") if getattr(args, name)]
    return " ".join([*words, f"--out {args.out if not args.out.is_absolute() else args.out.name}"])


def about(folder: Path) -> dict:
    """What a model card says of a set."""
    path = folder / "dataset.json"
    if not path.exists():
        return {"title": folder.name}
    description = json.loads(path.read_text())
    keys = ("title", "modality", "source", "licence", "licence_note", "attribution")
    return {k: description[k] for k in keys if k in description}


if __name__ == "__main__":
    main()
