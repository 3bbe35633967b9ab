"""Sentences of class cards to embeddings, with a frozen text encoder and its tokenizer."""

from pathlib import Path

import torch
from tokenizers import Tokenizer
from torch import Tensor, nn

from .class_cards import sentences_of
from .text_encoder import TextEncoder

LENGTH = 64


def load_text_encoder(folder: Path) -> tuple[nn.Module, Tokenizer]:
    """Reads what `train_text.py` writes, `text_encoder.ckpt` and `tokenizer.json`, or the text encoder of a bundle."""
    if (folder / "text_encoder.ckpt").exists():
        saved = torch.load(folder / "text_encoder.ckpt", map_location="cpu", weights_only=True)
        encoder = TextEncoder(**saved["config"])
        encoder.load_state_dict(saved["state"])
    else:
        encoder = torch.jit.load(folder / "text_encoder.pt", map_location="cpu").float()
    for parameter in encoder.parameters():
        parameter.requires_grad_(False)
    return encoder.eval(), Tokenizer.from_file(str(folder / "tokenizer.json"))


def tokenize(tokenizer: Tokenizer, sentences: list[str]) -> tuple[Tensor, Tensor]:
    """Ids and attention (n, L) int64, where L is the longest sentence's length, at most 64."""
    encoded = [tokenizer.encode(s) for s in sentences]
    length = min(LENGTH, max(len(e.ids) for e in encoded))
    ids = torch.zeros(len(encoded), length, dtype=torch.int64)
    attention = torch.zeros_like(ids)
    for row, item in enumerate(encoded):
        kept = item.ids[:length]
        ids[row, : len(kept)] = torch.tensor(kept)
        attention[row, : len(kept)] = 1
    return ids, attention


def some_sentences(valid: Tensor, share: float) -> Tensor:
    """A random choice among a class's sentences (K, M) bool, at least one of each class: for training.

    A class is then known by any part of its card, not by all of it together.
    """
    score = torch.rand(valid.shape, device=valid.device).masked_fill(~valid, 2.0)
    first = score == score.min(dim=1, keepdim=True).values
    return valid & ((score < share) | first)


@torch.no_grad()
def embed_cards(encoder: TextEncoder, tokenizer: Tokenizer, cards: list[dict]) -> tuple[Tensor, Tensor]:
    """Sentence embeddings (K, M, D) and which of them exist (K, M)."""
    counts = [len(sentences_of(card)) for card in cards]
    ids, attention = tokenize(tokenizer, [s for card in cards for s in sentences_of(card)])
    flat = encoder(ids, attention)
    out = torch.zeros(len(cards), max(counts), flat.shape[1])
    valid = torch.zeros(len(cards), max(counts), dtype=torch.bool)
    start = 0
    for k, count in enumerate(counts):
        out[k, :count] = flat[start : start + count]
        valid[k, :count] = True
        start += count
    return out, valid
