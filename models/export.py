"""Scripts a checkpoint into a bundle.

python models/export.py runs/tiny/model.ckpt --text runs/text --out models/seg-sam-tiny
"""

import argparse
from pathlib import Path

import torch

from seg_sam.bundle import DTYPES, Bundle, write_bundle
from seg_sam.class_cards import read_cards, select_cards
from seg_sam.config import SIZES, Config
from seg_sam.model import SegSam
from seg_sam.text import embed_cards


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checkpoint", help="file written by train.py, or random:SIZE for untrained weights")
    parser.add_argument("--text", type=Path, required=True, help="folder written by train_text.py")
    parser.add_argument("--cards", type=Path, help="folder or file of class cards (default: models/cards)")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--name", help="name of the bundle (default: the folder's)")
    parser.add_argument("--version", default="0.1.0")
    parser.add_argument("--dtype", choices=DTYPES, default="float16")
    parser.add_argument("--licence", default="Apache-2.0")
    args = parser.parse_args()
    cards = read_cards(args.cards) if args.cards else read_cards()
    model, class_ids = load_checkpoint(args.checkpoint)
    if class_ids is not None:
        cards = select_cards(cards, class_ids)
    write_bundle(
        args.out,
        model,
        args.text,
        cards,
        args.name or args.out.resolve().name,
        args.version,
        args.dtype,
        "untrained" if class_ids is None else "trained",
        args.licence,
    )
    difference = check(model, args.out)
    size = sum(f.stat().st_size for f in args.out.iterdir()) / 1e6
    print(
        f"{args.out}: {size:.1f} MB, {len(cards)} classes; "
        f"logits differ by at most {difference:.4f} from the checkpoint's"
    )


def load_checkpoint(source: str) -> tuple[SegSam, list[str] | None]:
    """The model, and the classes it was trained on (None without training). Unpickles tensors only."""
    if source.startswith("random:"):
        size = source.removeprefix("random:")
        if size not in SIZES:
            raise ValueError(f"no size {size!r}: random: takes {', '.join(SIZES)}")
        torch.manual_seed(0)
        return SegSam(SIZES[size]).eval(), None
    saved = torch.load(source, map_location="cpu", weights_only=True)
    model = SegSam(Config.from_dict(saved["config"])).eval()
    model.load_state_dict(saved["model"])
    return model, saved["classes"]


@torch.inference_mode()
def check(model: SegSam, folder: Path) -> float:
    """Largest difference of the mask logits between a model and its bundle, for one random image."""
    bundle = Bundle(folder)
    side = model.config.image_size
    generator = torch.Generator().manual_seed(0)
    image = torch.randn(1, 3, side, side, generator=generator)
    points = torch.rand(4, 2, 2, generator=generator) * side
    labels = torch.tensor([[1, -1], [2, 3], [0, 1], [1, 1]])
    sentences, valid = embed_cards(bundle.text_encoder, bundle.tokenizer, bundle.cards)
    outputs = []
    for encoder, decoder in ((model.image_encoder, model.decoder()), (bundle.encoder, bundle.decoder)):
        features = encoder(image)
        tokens, summary = decoder.condition(features, decoder.embed_classes(sentences, valid))
        outputs.append(decoder.decode(features, tokens, summary, points, labels, None)[0])
    return float((outputs[0] - outputs[1]).abs().max())


if __name__ == "__main__":
    main()
