"""Scripts a checkpoint into a bundle.

python models/export.py runs/tiny/model.ckpt --text runs/text --out models/seg-sam-tiny
"""

import argparse
from pathlib import Path

import torch

from seg_sam.checkpoint import read_checkpoint, trained_model
from seg_sam.config import SIZES
from seg_sam.exporting import add_bundle_options, export
from seg_sam.model import SegSam


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checkpoint", help="file written by train.py, or random:SIZE for untrained weights")
    add_bundle_options(parser)
    parser.set_defaults(dtype="float16", licence="Apache-2.0")
    args = parser.parse_args()
    model, class_ids = load_checkpoint(args.checkpoint)
    print(export(model, class_ids, args.dtype, args.licence, args))


def load_checkpoint(source: str) -> tuple[SegSam, list[str] | None]:
    """The model, and the classes it was trained on (None without training)."""
    if source.startswith("random:"):
        size = source.removeprefix("random:")
        if size not in SIZES:
            raise ValueError(f"no size {size!r}: random: takes {', '.join(SIZES)}")
        torch.manual_seed(0)
        return SegSam(SIZES[size]).eval(), None
    return trained_model(read_checkpoint(Path(source)), Path(source))


if __name__ == "__main__":
    main()
