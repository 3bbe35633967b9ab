"""PyTorch as a peer of the benchmark: answers requests, one JSON a line, with the milliseconds that each took.

    python models/peers/serve.py eager|eager-bf16|compile|compile-bf16

ViT-B is Hugging Face's `SamModel`, tiny our own module. With `compile` the encoder is compiled, and the decoder runs
eagerly; with `eager-bf16` both are computed in bf16, the decoder by autocast.
"""

import contextlib
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

started = time.perf_counter()

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

RATE_SIDE = 2048
COPY_BYTES = 1 << 28
DEVICE = torch.device(os.environ.get("BENCH_DEVICE", "cpu"))


class Peer:
    def __init__(self, mode: str) -> None:
        self.compiled = mode.startswith("compile")
        self.dtype = torch.bfloat16 if mode.endswith("bf16") else torch.float32

    def load(self, size: dict) -> dict:
        from sizes import prompts_for, tiny_model

        self.size, self.prompts_for = size, prompts_for
        folder, side = Path(size["folder"]), size["imageSize"]
        self.sam, self.segsam = None, None
        if size["huggingFace"]:
            from transformers import SamModel, logging

            logging.disable_progress_bar()
            self.sam = SamModel.from_pretrained(folder / "hf").eval().to(DEVICE)
            self.positions = self.sam.get_image_wide_positional_embeddings()
            encoder = self.sam.vision_encoder
        else:
            self.segsam = tiny_model().to(DEVICE)
            self.decoder = self.segsam.decoder()
            encoder = self.segsam.image_encoder
            self.tokens = self.read(folder / "tokens.f32", size["tokens"])
            self.summary = self.read(folder / "summary.f32", [1, 1, size["tokens"][2]])
        encoder = encoder.to(self.dtype)
        self.encoder = torch.compile(encoder) if self.compiled else encoder
        self.values = self.read(folder / "pixel_values.f32", [1, 3, side, side])
        self.original = self.test_original(size["originalSide"])
        return {"torch": torch.__version__}

    def read(self, path: Path, shape: list[int]) -> Tensor:
        return torch.from_numpy(np.fromfile(path, "<f4")).reshape(shape).to(DEVICE)

    def test_original(self, side: int) -> Tensor:
        row = torch.arange(side)
        inside = torch.hypot((row - side / 2).unsqueeze(0), (row - side / 2).unsqueeze(1)) < side / 4
        return torch.where(inside, 200, 60).to(torch.uint8).expand(3, -1, -1)

    def encoded(self, values: Tensor) -> list[Tensor]:
        out = self.encoder(values.to(self.dtype))
        features = [out[0]] if self.sam is not None else list(out)
        return [feature.float() for feature in features]

    def decoded(self, features: list[Tensor], points: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (P, 3, h, h) and IoU (P, 3)."""
        reduced = self.dtype != torch.float32 and not self.compiled
        with torch.autocast(DEVICE.type, torch.bfloat16, enabled=reduced):
            logits, iou = self.decoded_in_type(features, points, labels)
        return logits.float(), iou.float()

    def decoded_in_type(self, features: list[Tensor], points: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        if self.sam is not None:
            out = self.sam(
                image_embeddings=features[0], input_points=points.unsqueeze(0), input_labels=labels.unsqueeze(0)
            )
            return out.pred_masks[0], out.iou_scores[0]
        padded = F.pad(points, (0, 0, 0, 1)), F.pad(labels, (0, 1), value=-1)
        logits, iou, *_ = self.decoder.decode(features, self.tokens, self.summary, *padded, None)
        return logits[:, 1:], iou[:, 1:]

    def encode(self, message: dict) -> None:
        self.features = self.encoded(self.values)

    def decode(self, message: dict) -> None:
        self.decoded(self.features, *self.clicks(self.size["imageSize"], message["prompts"]))

    def clicks(self, side: int, count: int) -> tuple[Tensor, Tensor]:
        points, labels = self.prompts_for(side, count)
        return points.to(DEVICE), labels.to(DEVICE)

    def at_once(self, message: dict) -> None:
        """Many calls, none of which is waited for."""
        for _ in range(message["requests"]):
            self.encode(message) if message["call"] == "encode" else self.decode(message)

    def encode_original(self, message: dict) -> None:
        side = self.size["imageSize"]
        mean, std = torch.tensor([123.675, 116.28, 103.53]), torch.tensor([58.395, 57.12, 57.375])
        values = (self.original.to(DEVICE).float().permute(1, 2, 0) - mean.to(DEVICE)) / std.to(DEVICE)
        values = F.interpolate(values.permute(2, 0, 1).unsqueeze(0), size=(side, side), mode="bilinear", antialias=True)
        self.features_of_original = self.encoded(values)

    def click(self, message: dict) -> None:
        side, original = self.size["imageSize"], self.size["originalSide"]
        points, labels = self.clicks(original, 1)
        logits, _ = self.decoded(self.features_of_original, points * side / original, labels)
        framed = F.interpolate(logits[:, :1], size=(side, side), mode="bilinear")
        self.mask = (F.interpolate(framed, size=(original, original), mode="bilinear") > 0).cpu()

    def encode_and_click(self, message: dict) -> None:
        self.encode_original(message)
        self.click(message)

    def outputs(self, message: dict) -> None:
        self.encode(message)
        prompts = self.clicks(self.size["imageSize"], self.size["checkedPrompts"])
        logits, iou = self.decoded(self.features, *prompts)
        torch.cat([logits.reshape(-1), iou.reshape(-1)]).cpu().numpy().tofile(message["out"])


def machine() -> dict:
    """Rates of the machine: matrix products in float32, and in bf16 where the processor multiplies it; copying."""
    bf16 = DEVICE.type != "cpu" or bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    return {
        "fp32Flops": matrix_rate(torch.float32),
        "bf16Flops": matrix_rate(torch.bfloat16) if bf16 else None,
        "copyBytes": copy_rate(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "gpu": torch.cuda.get_device_name() if DEVICE.type == "cuda" else None,
    }


def matrix_rate(dtype: torch.dtype) -> float:
    """Best of several, in operations a second."""
    a, b = (torch.randn(RATE_SIDE, RATE_SIDE, device=DEVICE).to(dtype) for _ in range(2))
    return 2 * RATE_SIDE**3 / best_of(lambda: a @ b)


def copy_rate() -> float:
    """Bytes read and written a second."""
    source = torch.ones(COPY_BYTES, dtype=torch.uint8, device=DEVICE)
    target = torch.empty_like(source)
    return 2 * COPY_BYTES / best_of(lambda: target.copy_(source))


def best_of(call: Callable[[], object], repeats: int = 7) -> float:
    return min(seconds(call) for _ in range(repeats))


def seconds(call: Callable[[], object]) -> float:
    """Until the device has done it."""
    begun = time.perf_counter()
    call()
    if DEVICE.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - begun


@torch.inference_mode()
def answer(peer: Peer, message: dict, require_ms: float) -> dict:
    op = message["op"]
    if op == "machine":
        return machine()
    if op == "load":
        notes: dict = {}
        ms = seconds(lambda: notes.update(peer.load(message["size"]))) * 1e3
        return {"ms": ms, "requireMs": require_ms, "notes": notes}
    if op == "atOnce":
        return {"ms": seconds(lambda: peer.at_once(message)) * 1e3 / message["requests"]}
    calls = {
        "encode": peer.encode,
        "decode": peer.decode,
        "click": peer.click,
        "encodeOriginal": peer.encode_original,
        "encodeAndClick": peer.encode_and_click,
        "outputs": peer.outputs,
    }
    if op not in calls:
        raise ValueError(f"no operation {op}")
    return {"ms": seconds(lambda: calls[op](message)) * 1e3}


def main() -> None:
    require_ms = (time.perf_counter() - started) * 1e3
    # Only answers go to the runner; what a library prints goes beside them.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    peer = Peer(sys.argv[1])
    for line in sys.stdin:
        try:
            reply = {"ok": True, **answer(peer, json.loads(line), require_ms)}
        except Exception as error:
            reply = {"ok": False, "error": f"{type(error).__name__}: {error}"}
        with contextlib.suppress(BrokenPipeError):
            answers.write(json.dumps(reply) + "\n")
            answers.flush()


if __name__ == "__main__":
    main()
