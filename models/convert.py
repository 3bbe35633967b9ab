"""Turns a checkpoint of SAM, MedSAM, SAM-Med2D or of train.py into a bundle.

python models/convert.py sam_vit_b_01ec64.pth --text runs/text --out sam-vit-b
"""

import argparse
import sys
from pathlib import Path

from seg_sam.conversion import KINDS, convert
from seg_sam.exporting import add_bundle_options, export
from seg_sam.text import load_text_encoder

FRESH = "Its semantic part is fresh: the bundle draws binary masks and names no classes."
SAME_KEYS = "MedSAM's checkpoints have the same keys: say --kind medsam if it is one."


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checkpoint", type=Path, help="file, or a folder of Hugging Face's with a SamModel")
    parser.add_argument("--kind", choices=KINDS, help="default: told from the keys")
    add_bundle_options(parser)
    args = parser.parse_args()
    try:
        text_encoder, _ = load_text_encoder(args.text)
        converted = convert(args.checkpoint, args.kind, text_encoder.proj.out_features)
        trained = converted.classes is not None
        dtype = args.dtype or converted.dtype
        licence = args.licence or ("Apache-2.0" if trained else "unknown")
        written = export(converted.model, converted.classes, dtype, licence, args)
    except (ValueError, OSError) as error:
        sys.exit(f"convert.py: {error}")
    config = converted.model.config
    print(f"{args.checkpoint}: {converted.kind}, {config.name}, {config.image_size} pixels, {dtype}")
    print(written)
    if not trained:
        print(FRESH)
    if converted.kind == "sam" and args.kind is None:
        print(SAME_KEYS)


if __name__ == "__main__":
    main()
