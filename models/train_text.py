"""Trains the small text encoder of the default bundle on the class cards.

Two sentences of one card are drawn together, those of different cards apart (supervised contrastive loss, Khosla et al.
2020), with random words left out. Two minutes on two CPU cores. Usage: python models/train_text.py --out runs/text
"""

import argparse
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from torch.nn import functional as F
from tqdm import tqdm

from seg_sam.class_cards import CARDS, read_cards, sentences_of
from seg_sam.text import LENGTH, embed_cards, tokenize
from seg_sam.text_encoder import TextEncoder

UNKNOWN, PAD = "[UNK]", "[PAD]"


def train_tokenizer(sentences: list[str], vocabulary: int) -> Tokenizer:
    """A WordPiece vocabulary that can spell any word of Latin letters and digits."""
    tokenizer = Tokenizer(models.WordPiece(unk_token=UNKNOWN))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    letters = "abcdefghijklmnopqrstuvwxyz0123456789"
    # No word of one occurrence becomes a token, so this one only brings each letter in, at the start and within.
    alphabet = [*letters, "a" + letters]
    trainer = trainers.WordPieceTrainer(
        vocab_size=vocabulary, min_frequency=2, special_tokens=[PAD, UNKNOWN], show_progress=False
    )
    tokenizer.train_from_iterator([*sentences, *alphabet], trainer)
    return tokenizer


def contrastive_loss(embedding: torch.Tensor, labels: torch.Tensor, temperature: float) -> torch.Tensor:
    similarity = embedding @ embedding.t() / temperature
    itself = torch.eye(len(labels), dtype=torch.bool)
    similarity = similarity.masked_fill(itself, -1e9)
    positive = (labels[:, None] == labels[None, :]) & ~itself
    log_probability = similarity - similarity.logsumexp(dim=1, keepdim=True)
    return -(log_probability * positive).sum(1).div(positive.sum(1).clamp(min=1)).mean()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cards", type=Path, default=CARDS)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--vocabulary", type=int, default=3000)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    torch.manual_seed(args.seed)

    cards = read_cards(args.cards)
    sentences = [s for card in cards for s in sentences_of(card)]
    owner = torch.tensor([k for k, card in enumerate(cards) for _ in sentences_of(card)])
    tokenizer = train_tokenizer(sentences, args.vocabulary)
    config = {"vocabulary": tokenizer.get_vocab_size(), "length": LENGTH}
    encoder = TextEncoder(**config)
    ids, attention = tokenize(tokenizer, sentences)
    unknown = tokenizer.token_to_id(UNKNOWN)
    optimiser = torch.optim.AdamW(encoder.parameters(), lr=1e-3, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 1e-3, total_steps=args.steps)
    bar = tqdm(range(args.steps), desc="text encoder")
    for _ in bar:
        classes = torch.randperm(len(cards))[:32]
        rows = torch.cat(
            [torch.nonzero(owner == c)[:, 0][torch.randperm(int((owner == c).sum()))[:3]] for c in classes]
        )
        dropped = torch.rand(ids[rows].shape) < 0.15
        embedding = encoder(ids[rows].masked_fill(dropped, unknown), attention[rows])
        loss = contrastive_loss(embedding, owner[rows], 0.1)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
        bar.set_postfix(loss=f"{loss.item():.3f}")

    args.out.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(args.out / "tokenizer.json"))
    torch.save({"config": config, "state": encoder.state_dict()}, args.out / "text_encoder.ckpt")
    vectors, valid = embed_cards(encoder.eval(), tokenizer, cards)
    mean = F.normalize((vectors * valid.unsqueeze(-1)).sum(1), dim=-1)
    closest = (mean @ mean.t() - 2 * torch.eye(len(cards))).max(dim=1)
    worst = int(closest.values.argmax())
    pair = f"{cards[worst]['id']} and {cards[int(closest.indices[worst])]['id']}"
    print(
        f"{len(cards)} cards, vocabulary {config['vocabulary']}; closest: {pair} at cosine {closest.values[worst]:.2f}"
    )


if __name__ == "__main__":
    main()
