"""Class cards: what each class is called, and sentences that tell it from the others."""

import json
from pathlib import Path

CARDS = Path(__file__).resolve().parent.parent / "cards"


def read_cards(path: Path = CARDS) -> list[dict]:
    """All cards of a folder of JSON files, or of one file, in a stable order; ids are unique."""
    files = sorted(path.glob("*.json")) if path.is_dir() else [path]
    cards = [card for file in files for card in json.loads(file.read_text())["classes"]]
    ids = [card["id"] for card in cards]
    twice = sorted({i for i in ids if ids.count(i) > 1})
    if twice:
        raise ValueError(f"{path}: more than one card for {', '.join(twice)}")
    return cards


def select_cards(cards: list[dict], ids: list[str]) -> list[dict]:
    """The cards of these ids, in their order."""
    by_id = {card["id"]: card for card in cards}
    missing = [i for i in ids if i not in by_id]
    if missing:
        raise ValueError(f"no class card for {', '.join(missing)}: add one under {CARDS}")
    return [by_id[i] for i in ids]


def sentences_of(card: dict) -> list[str]:
    """What the text encoder reads of a card: the line of its names first."""
    return [", ".join([card["name"], *card.get("synonyms", [])]) + ".", *card["sentences"]]
