"""Trains SEG-SAM.

    python models/train_text.py --out runs/text
    python models/train.py --data DIR ... --text runs/text --out runs/tiny --minutes 60

Reads folders of our data format or of SAM-Med2D's layout. Runs on the CPU, on CUDA, or on several GPUs:

    torchrun --nproc-per-node 4 models/train.py ...

Writes `last.ckpt` (resumable with --resume), `metrics.jsonl`, and at the end `model.ckpt` with the averaged weights.
"""

import argparse
import json
import math
import os
import time
from dataclasses import replace
from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.parallel import DistributedDataParallel
from tqdm import tqdm

from seg_sam.batch import Batch, PromptedBatches
from seg_sam.bundle import bundle_weights, is_bundle
from seg_sam.class_cards import read_cards, select_cards
from seg_sam.config import SIZES
from seg_sam.dataset import read_dataset, split_validation
from seg_sam.dense_head import DenseHead
from seg_sam.evaluation import evaluate
from seg_sam.losses import (
    alignment_loss,
    binary_decoder_loss,
    dense_loss,
    mask_loss,
    object_class_loss,
    set_loss,
)
from seg_sam.model import SegSam
from seg_sam.optimiser import make_optimisers
from seg_sam.prompts import add_points, correction_points
from seg_sam.text import embed_cards, load_text_encoder, some_sentences


def main(arguments: list[str] | None = None) -> None:
    """`arguments` are those of the command line where none are given."""
    args = parse_arguments(arguments)
    rank, world = start_distributed()
    device = torch.device(args.device or ("cuda" if torch.cuda.is_available() else "cpu"))
    if device.type == "cuda":
        device = torch.device("cuda", rank % torch.cuda.device_count())
        torch.backends.cuda.matmul.allow_tf32 = True
    torch.manual_seed(args.seed)

    images = [i for folder in args.data for i in read_dataset(folder, "train", 1024, args.unlicensed)]
    weights = parse_weights(args.weights, {i.dataset for i in images})
    train, validation = split_validation(images, args.validation, args.seed)
    class_ids = sorted({c for i in images for c in [*i.classes, *i.known]})
    cards = select_cards(read_cards(args.cards) if args.cards else read_cards(), class_ids)
    text_encoder, tokenizer = load_text_encoder(args.text)
    sentences, valid = embed_cards(text_encoder, tokenizer, cards)
    config = replace(
        SIZES[args.size],
        image_size=args.image_size or SIZES[args.size].image_size,
        adapters=args.adapters,
        semantic=args.semantic,
        text_to_vision=not args.no_text_to_vision,
        text_width=sentences.shape[2],
        num_classes=len(class_ids),
        resize_mode=args.resize_mode,
    )

    model = SegSam(config)
    learner = Learner(model, len(class_ids), sentences, valid, args).to(device)
    head_is_fresh = load_start(learner, args.start, class_ids) if args.start else False
    freeze(learner, args.freeze)
    if device.type == "cpu":
        learner = learner.to(memory_format=torch.channels_last)
    average = AveragedWeights(learner, args.ema)
    optimisers = make_optimisers(learner, args.optimiser == "muon", args.lr, args.weight_decay)
    state = {"step": 0, "elapsed": 0.0}
    if args.resume and (args.out / "last.ckpt").exists():
        saved = torch.load(args.out / "last.ckpt", map_location="cpu", weights_only=True)
        learner.load_state_dict(saved["learner"])
        for optimiser, values in zip(optimisers, saved["optimisers"], strict=True):
            optimiser.load_state_dict(values)
        state = saved["state"]
        average.load(saved["average"], state["step"])
    wrapped = DistributedDataParallel(learner, find_unused_parameters=True) if world > 1 else learner

    batches = PromptedBatches(
        train,
        class_ids,
        weights,
        config,
        args.batch,
        args.prompts,
        args.boxes,
        args.seed + 1000 * rank + state["step"],
    )
    loader = torch.utils.data.DataLoader(batches, batch_size=None, num_workers=args.workers)
    if head_is_fresh and args.dense > 0 and state["step"] == 0:
        fit_dense_head(learner, loader, device)
        average = AveragedWeights(learner, args.ema)
    args.out.mkdir(parents=True, exist_ok=True)
    metrics = MetricsFile(args.out / "metrics.jsonl", rank == 0)
    if rank == 0:
        sizes = {name: sum(p.numel() for p in part.parameters()) / 1e6 for name, part in model.named_children()}
        print(
            f"{len(train)} images for training, {len(validation)} held back; {len(class_ids)} classes; "
            f"{sum(sizes.values()):.2f} M parameters",
            {k: round(v, 2) for k, v in sizes.items()},
        )
    run(
        args,
        wrapped,
        learner,
        average,
        optimisers,
        loader,
        state,
        metrics,
        device,
        rank,
        validation,
        cards,
        (sentences, valid),
    )
    if rank == 0:
        average.copy_to(learner)
        save_model(args.out / "model.ckpt", learner, class_ids, args, state)
        print(f"wrote {args.out / 'model.ckpt'} after {state['step']} steps")
    if world > 1:
        dist.destroy_process_group()


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, nargs="+", required=True, help="folders of data sets")
    parser.add_argument("--text", type=Path, required=True, help="folder written by train_text.py, or bundle")
    parser.add_argument("--cards", type=Path, help="folder or file of class cards (default: models/cards)")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--size", choices=SIZES, default="tiny")
    parser.add_argument("--image-size", type=int, help="side of the model's frame in pixels (default: the size's own)")
    parser.add_argument("--resize-mode", choices=["longest", "stretch"], default="longest")
    parser.add_argument("--adapters", action="store_true", help="SAM-Med2D's adapters in the image encoder")
    parser.add_argument("--semantic", choices=["independent", "shared", "none"], default="independent")
    parser.add_argument("--no-text-to-vision", action="store_true")
    parser.add_argument("--alignment", type=float, default=0.3, help="weight of cross-mask spatial alignment")
    parser.add_argument("--start", type=Path, help="checkpoint of ours or of SAM's layout, or bundle, to start from")
    parser.add_argument("--encoder-only", action="store_true", help="train the encoder on the pixels' classes alone")
    parser.add_argument("--freeze", choices=["nothing", "encoder", "encoder-but-adapters"], default="nothing")
    parser.add_argument("--minutes", type=float, help="length of the run in time; the schedule follows it")
    parser.add_argument("--steps", type=int, help="length of the run in steps")
    parser.add_argument("--batch", type=int, default=8, help="images a step and process")
    parser.add_argument("--prompts", type=int, default=8, help="prompts an image")
    parser.add_argument("--boxes", type=float, default=0.65, help="share of prompts that start as boxes")
    parser.add_argument("--rounds", type=float, default=0.35, help="share of steps with a round of corrections")
    parser.add_argument("--sentences", type=float, default=0.6, help="share of a card's sentences seen in a step")
    parser.add_argument(
        "--focal", type=float, default=20.0, help="weight of the masks' focal loss beside Dice (SAM: 20)"
    )
    parser.add_argument("--dense", type=float, default=1.0, help="weight of the encoder's auxiliary pixel classes")
    parser.add_argument("--lr", type=float, default=6e-4)
    parser.add_argument(
        "--optimiser", choices=["muon", "adamw"], default="muon", help="Muon is for hidden layers; AdamW does the rest"
    )
    parser.add_argument("--weight-decay", type=float, default=0.05)
    parser.add_argument("--ema", type=float, default=0.998)
    parser.add_argument("--weights", default="", help="share of each set, for example brain_aseg=3,nuclei=2")
    parser.add_argument("--validation", type=float, default=0.05, help="share of subjects held back")
    parser.add_argument("--validate-every", type=float, default=20, help="minutes")
    parser.add_argument("--unlicensed", action="store_true", help="admit non-commercial sets; the weights may not ship")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--device")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--resume", action="store_true")
    parser.add_argument("--quiet", action="store_true", help="no progress bar")
    args = parser.parse_args(arguments)
    if (args.minutes is None) == (args.steps is None):
        parser.error("give the length of the run: either --minutes or --steps")
    patch = SIZES[args.size].patch_size
    if args.image_size is not None and (args.image_size <= 0 or args.image_size % patch):
        parser.error(f"--image-size {args.image_size} is no multiple of {patch}, the side of the model's patches")
    if args.encoder_only and args.dense <= 0:
        parser.error("--encoder-only trains on the pixels' classes: give --dense a weight above 0")
    return args


class Learner(nn.Module):
    """The model with its training-only parts; one forward gives the loss of one batch."""

    def __init__(self, model: SegSam, classes: int, sentences: Tensor, valid: Tensor, args: argparse.Namespace) -> None:
        super().__init__()
        self.model = model
        self.dense_head = DenseHead(model.config, classes)
        self.register_buffer("sentences", sentences, persistent=False)
        self.register_buffer("valid", valid, persistent=False)
        self.alignment, self.dense, self.encoder_only = args.alignment, args.dense, args.encoder_only
        self.focal = args.focal
        self.sentence_share = args.sentences
        config = model.config
        self.register_buffer("mean", torch.tensor(config.pixel_mean).reshape(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(config.pixel_std).reshape(1, 3, 1, 1), persistent=False)

    def forward(self, batch: Batch, corrections: bool, rng) -> tuple[Tensor, dict[str, Tensor]]:
        model = self.model
        features = self.features(batch)
        small = F.avg_pool2d(batch.masks.unsqueeze(1).float(), batch.masks.shape[-1] // model.config.mask_size)[:, 0]
        parts = {"dense": self.dense_term(features, batch)} if self.dense > 0 else {}
        if self.encoder_only:
            return parts["dense"], {"dense": parts["dense"].detach()}
        class_tokens = summary = None
        if model.semantic != "none":
            valid = some_sentences(self.valid, self.sentence_share) if self.training else self.valid
            vectors = model.text_to_vision.embed_classes(self.sentences, valid)
            pe = model.prompt_encoder.image_positions()
            class_tokens, summary = model.text_to_vision.condition(features[0], pe, vectors)

        logits = self._round(
            features, batch, batch.points, batch.labels, None, class_tokens, summary, small, parts, 1.0
        )
        if corrections:
            best = logits[:, :1].detach()
            full = F.interpolate(best, size=batch.masks.shape[-2:], mode="bilinear")[:, 0] > 0
            more, more_labels = correction_points(full, batch.masks, rng)
            points, labels = add_points(
                batch.points, batch.labels, more.to(batch.points.device), more_labels.to(batch.labels.device)
            )
            self._round(features, batch, points, labels, best, class_tokens, summary, small, parts, 0.7)
        return sum(parts.values()), {k: v.detach() for k, v in parts.items()}

    def features(self, batch: Batch) -> list[Tensor]:
        image = (batch.image - self.mean) / self.std
        if image.device.type == "cpu":
            image = image.contiguous(memory_format=torch.channels_last)
        return self.model.image_encoder(image)

    def dense_term(self, features: list[Tensor], batch: Batch) -> Tensor:
        logits = self.dense_head(features)
        step = batch.semantic.shape[-1] // logits.shape[-1]
        return self.dense * dense_loss(logits, batch.semantic[:, step // 2 :: step, step // 2 :: step], batch.known)

    def _round(
        self, features, batch: Batch, points, labels, mask, class_tokens, summary, small, parts: dict, weight: float
    ) -> Tensor:
        """Adds the losses of one decode to `parts`; returns Dec_sag's logits."""
        model = self.model
        sparse, dense, maps = model.prompt_encoder(points, labels, mask)
        pe = model.prompt_encoder.image_positions()
        logits, iou = model.mask_decoder(features, pe, sparse, dense, maps)
        logits = logits.float()
        real = batch.classes < self.sentences.shape[0]
        terms = {"binary": binary_decoder_loss(logits[real], iou[real].float(), small[real], self.focal)}
        if model.semantic != "none":
            semantic, so, co = model.semantic_decoder(features, pe, sparse, dense, maps, class_tokens, summary)
            semantic = semantic.float()[:, 0]
            terms["semantic"] = mask_loss(semantic[real], small[real], self.focal).mean()
            known = batch.known.repeat_interleave(len(batch.present) // batch.known.shape[0], dim=0)
            terms["so"] = object_class_loss(so, batch.classes, known)
            terms["co"] = 0.5 * set_loss(co, batch.present, list(known))
            if self.alignment > 0:
                terms["alignment"] = self.alignment * alignment_loss(logits[real, 0], semantic[real])
        for name, value in terms.items():
            parts[name] = parts.get(name, 0) + weight * value
        return logits


def run(args, wrapped, learner, average, optimisers, loader, state, metrics, device, rank, validation, cards, text):
    """The loop; `state` counts steps and seconds over resumptions."""
    import numpy as np

    rng = np.random.default_rng(args.seed + rank + state["step"])
    bf16 = multiplies_bf16(device)
    started, before = time.monotonic(), state["elapsed"]
    last_save = last_validation = time.monotonic()
    total = args.steps or args.minutes * 60
    hidden = rank != 0 or args.quiet
    bar = tqdm(total=100, unit="%", disable=hidden, bar_format="{l_bar}{bar}| {elapsed} {postfix}", mininterval=10)
    window: dict[str, list[float]] = {}
    for batch in loader:
        state["elapsed"] = before + time.monotonic() - started
        progress = (state["step"] if args.steps else state["elapsed"]) / total
        if not agree(progress < 1, device):
            break
        lr = (
            args.lr
            * min(1.0, (state["step"] + 1) / 80)
            * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * min(progress, 1.0))))
        )
        for group in (group for optimiser in optimisers for group in optimiser.param_groups):
            group["lr"] = lr
        corrections = bool(rng.random() < args.rounds)
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=bf16):
            loss, parts = wrapped(to_device(batch, device), corrections, rng)
        for optimiser in optimisers:
            optimiser.zero_grad(set_to_none=True)
        loss.backward()
        norm = nn.utils.clip_grad_norm_(learner.parameters(), 1.0)
        if torch.isfinite(norm):
            for optimiser in optimisers:
                optimiser.step()
            average.update(learner)
        state["step"] += 1
        for name, value in parts.items():
            window.setdefault(name, []).append(float(value))
        if state["step"] % 20 == 0:
            means = {k: round(sum(v) / len(v), 4) for k, v in window.items()}
            window.clear()
            metrics.write({"step": state["step"], "elapsed": round(state["elapsed"]), "lr": lr, **means})
            bar.n = round(100 * progress, 1)
            bar.set_postfix(step=state["step"], **means)
        if rank == 0 and time.monotonic() - last_save > 300:
            save_state(args, learner, optimisers, average, state)
            last_save = time.monotonic()
        if rank == 0 and validation and time.monotonic() - last_validation > 60 * args.validate_every:
            with average.applied(learner):
                model = learner.model.eval()
                scores = evaluate(
                    model.image_encoder,
                    model.decoder_to_measure(),
                    model.config,
                    validation,
                    cards,
                    text,
                    device,
                    limit=4,
                )
            learner.train()
            metrics.write({"step": state["step"], "validation": scores["by_set"]})
            last_validation = time.monotonic()
    bar.close()
    if rank == 0:
        save_state(args, learner, optimisers, average, state)


class AveragedWeights:
    """Exponential moving average of the weights; what ships."""

    def __init__(self, learner: Learner, decay: float) -> None:
        self.decay, self.updates = decay, 0
        self.values = {k: v.detach().clone() for k, v in learner.state_dict().items()}

    def update(self, learner: Learner) -> None:
        self.updates += 1
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        with torch.no_grad():
            for name, value in learner.state_dict().items():
                if value.is_floating_point():
                    self.values[name].lerp_(value, 1 - decay)

    def copy_to(self, learner: Learner) -> None:
        learner.load_state_dict(self.values)

    def load(self, values: dict[str, Tensor], updates: int) -> None:
        self.values = {k: v.to(self.values[k].device) for k, v in values.items()}
        self.updates = updates

    def applied(self, learner: Learner):
        """A context in which the learner has the averaged weights."""
        import contextlib

        @contextlib.contextmanager
        def swap():
            own = {k: v.detach().clone() for k, v in learner.state_dict().items()}
            self.copy_to(learner)
            try:
                yield
            finally:
                learner.load_state_dict(own)

        return swap()


class MetricsFile:
    """One JSON object a line, flushed, so that a run can be watched and plotted."""

    def __init__(self, path: Path, enabled: bool) -> None:
        self.file = path.open("a") if enabled else None

    def write(self, values: dict) -> None:
        if self.file:
            self.file.write(json.dumps(values) + "\n")
            self.file.flush()


def start_distributed() -> tuple[int, int]:
    if "RANK" not in os.environ:
        return 0, 1
    dist.init_process_group("cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo")
    return dist.get_rank(), dist.get_world_size()


def agree(go_on: bool, device: torch.device) -> bool:
    """All processes stop at the same step, or the others would wait for gradients for ever."""
    if not dist.is_initialized():
        return go_on
    vote = torch.tensor(int(go_on), device=device)
    dist.all_reduce(vote, op=dist.ReduceOp.MIN)
    return bool(vote)


def multiplies_bf16(device: torch.device) -> bool:
    """bf16 in hardware; emulated, it is a hundred times slower than float32."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.backends.mkldnn.is_available() and torch.ops.mkldnn._is_mkldnn_bf16_supported()


def parse_weights(text: str, sets: set[str]) -> dict[str, float]:
    weights = {k: float(v) for k, v in (item.split("=") for item in text.split(",") if item)}
    unknown = sorted(weights.keys() - sets)
    if unknown:
        raise ValueError(f"--weights names {', '.join(unknown)}; the sets are {', '.join(sorted(sets))}")
    return weights


def freeze(learner: Learner, what: str) -> None:
    if what == "nothing":
        return
    for name, parameter in learner.model.image_encoder.named_parameters():
        parameter.requires_grad_(what == "encoder-but-adapters" and ".Adapter." in name)


def load_start(learner: Learner, path: Path, class_ids: list[str]) -> bool:
    """Loads what a checkpoint or a bundle has of the model; says what starts fresh. Whether the dense head does."""
    saved = bundle_weights(path) if is_bundle(path) else torch.load(path, map_location="cpu", weights_only=True)
    # SAM's checkpoints may hold the normalisation, which is the config's here.
    weights = {k: v for k, v in saved.get("model", saved).items() if k not in ("pixel_mean", "pixel_std")}
    try:
        missing, unexpected = learner.model.load_state_dict(weights, strict=False)
    except RuntimeError as error:
        raise ValueError(
            f"{path} is of another architecture or version: {str(error).splitlines()[1].strip()}"
        ) from error
    if unexpected:
        raise ValueError(f"{path} has keys this size does not: {', '.join(unexpected[:8])}")
    # Its rows are classes.
    if "dense_head" in saved and saved.get("classes") == class_ids:
        learner.dense_head.load_state_dict(saved["dense_head"])
    else:
        missing.append("dense_head")
    print(f"start from {path}; fresh: {', '.join(sorted({m.split('.')[0] for m in missing})) or 'nothing'}")
    return "dense_head" in missing


def fit_dense_head(learner: Learner, loader, device: torch.device, steps: int = 100) -> None:
    """Fits a fresh dense head to the features of a trained encoder, before its gradients change them."""
    optimiser = torch.optim.AdamW(learner.dense_head.parameters(), lr=0.01)
    bf16 = multiplies_bf16(device)
    for _, batch in zip(range(steps), loader, strict=False):
        batch = to_device(batch, device)
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=bf16):
            with torch.no_grad():
                features = learner.features(batch)
            loss = learner.dense_term(features, batch)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
    print(f"dense head fitted in {steps} steps: loss {loss.item():.3f}")


def to_device(batch: Batch, device: torch.device) -> Batch:
    if device.type == "cpu":
        return batch
    moved = {k: v.to(device, non_blocking=True) for k, v in vars(batch).items() if isinstance(v, Tensor)}
    return replace(batch, **moved)


def save_state(args, learner, optimisers, average, state) -> None:
    write_checkpoint(
        args.out / "last.ckpt",
        {
            "learner": learner.state_dict(),
            "optimisers": [optimiser.state_dict() for optimiser in optimisers],
            "average": average.values,
            "state": dict(state),
            "config": learner.model.config.to_dict(),
        },
    )


def write_checkpoint(path: Path, content: dict) -> None:
    """Whole or not at all, should it be interrupted."""
    part = path.with_suffix(".part")
    torch.save(content, part)
    part.replace(path)


def save_model(path: Path, learner: Learner, class_ids: list[str], args, state) -> None:
    torch.save(
        {
            "model": learner.model.state_dict(),
            "dense_head": learner.dense_head.state_dict(),
            "config": learner.model.config.to_dict(),
            "classes": class_ids,
            "training": {
                "data": [f.name for f in args.data],
                "steps": state["step"],
                "minutes": state["elapsed"] / 60,
                "seed": args.seed,
                "encoder_only": args.encoder_only,
            },
        },
        path,
    )


if __name__ == "__main__":
    main()
