"""Writes what a bundle's card says of its measurements, from the files kept beside it.

    npx seg-sam eval models/seg-sam-tiny DATA/brain_aseg DATA/us_nerve_vessel --prompts box --limit 4 --report out
    python models/card.py models/seg-sam-tiny --report out/report.json

`metrics.json` of the bundle's folder becomes the tables; `--report`, a report.json of `seg-sam eval`, is summed up in
`calibration.json` there, which becomes the line on calibration and unprompted classes.
"""

import argparse
import json
from pathlib import Path

from seg_sam.bundle import write_json
from seg_sam.model_card import calibration_of, write_calibration, write_metrics


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--report", type=Path, help="report.json of `seg-sam eval` with box prompts")
    args = parser.parse_args()
    card, kept = args.bundle / "README.md", args.bundle / "calibration.json"
    version = json.loads((args.bundle / "manifest.json").read_text())["version"]
    if args.report:
        bundle = args.bundle if not args.bundle.is_absolute() else args.bundle.name
        write_json(kept, calibration_of(json.loads(args.report.read_text()), str(bundle)))
    for path, write in ((args.bundle / "metrics.json", write_metrics), (kept, write_calibration)):
        measured = json.loads(path.read_text())
        if measured["version"] != version:
            raise ValueError(
                f"{path} was measured on version {measured['version']}, the bundle is {version}: measure it again"
            )
        write(card, measured)


if __name__ == "__main__":
    main()
