"""What export.py and convert.py share: their options, and a checked bundle of a model."""

import argparse
from pathlib import Path

from .bundle import DTYPES, check_bundle, write_bundle
from .class_cards import CARDS, read_cards, select_cards
from .model import SegSam


def add_bundle_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--text", type=Path, required=True, help="folder written by train_text.py, or bundle")
    parser.add_argument(
        "--cards", type=Path, default=CARDS, help="folder or file of class cards (default: models/cards)"
    )
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--name", help="name of the bundle (default: the folder's)")
    parser.add_argument("--version", default="0.1.0")
    parser.add_argument("--dtype", choices=DTYPES)
    parser.add_argument("--licence")


def export(model: SegSam, class_ids: list[str] | None, dtype: str, licence: str, args: argparse.Namespace) -> str:
    """Writes a bundle and compares it with the model. `class_ids` None: the semantic part is untrained.

    Returns a line that tells what was written.
    """
    cards = read_cards(args.cards)
    if class_ids is not None:
        cards = select_cards(cards, class_ids)
    name = args.name or args.out.resolve().name
    semantic = "untrained" if class_ids is None else "trained"
    write_bundle(args.out, model, args.text, cards, name, args.version, dtype, semantic, licence)
    difference = check_bundle(model, args.out)
    size = sum(f.stat().st_size for f in args.out.iterdir()) / 1e6
    return (
        f"{args.out}: {size:.1f} MB, {len(cards)} classes; "
        f"logits differ by at most {difference:.4f} from the checkpoint's"
    )
