import json

import pytest
import torch
from tokenizers import Tokenizer

from seg_sam.class_cards import read_cards, select_cards, sentences_of
from seg_sam.text import LENGTH, embed_cards, load_text_encoder, some_sentences, tokenize
from seg_sam.text_encoder import TextEncoder


def test_every_shipped_card_is_complete():
    cards = read_cards()
    assert len(cards) > 80
    for card in cards:
        assert card["name"] and card["modalities"], card["id"]
        assert 4 <= len(card["sentences"]) <= 8, card["id"]
        for code in card["codes"]:
            assert code["scheme"] and code["value"] and code["meaning"], card["id"]


def test_codes_tell_left_from_right():
    sides = {"left": ("SCT", "7771000"), "right": ("SCT", "24028007")}
    pairs = {}
    for card in read_cards():
        codes = [(code["scheme"], code["value"]) for code in card["codes"]]
        named = [side for side in sides if side in card["name"].lower().split()]
        assert len(named) <= 1, card["id"]
        said = (
            [side for side in sides if sides[side] in codes or side in card["codes"][0]["meaning"].lower()]
            if codes
            else []
        )
        assert said == named, card["id"]
        # The side qualifies the code before it, so that it is never the first.
        assert not codes or codes[0] not in sides.values(), card["id"]
        if codes:
            pairs.setdefault(tuple(codes), []).append(card["id"])
    assert {codes: ids for codes, ids in pairs.items() if len(ids) > 1} == {}


def test_cards_are_selected_in_the_order_asked_and_missing_ones_named(card_file):
    cards = read_cards(card_file)
    assert [c["id"] for c in select_cards(cards, ["dot", "square"])] == ["dot", "square"]
    with pytest.raises(ValueError, match="no class card for circle"):
        select_cards(cards, ["dot", "circle"])


def test_two_cards_of_one_id_are_refused(card_file, tmp_path):
    for name in ("a.json", "b.json"):
        (tmp_path / name).write_text(card_file.read_text())
    with pytest.raises(ValueError, match="more than one card for bar"):
        read_cards(tmp_path)


def test_the_line_of_names_comes_first():
    card = {"name": "Liver", "synonyms": ["hepar"], "sentences": ["It is large."]}
    assert sentences_of(card) == ["Liver, hepar.", "It is large."]


def test_encoder_and_tokenizer_come_back_as_they_were_saved(text_folder, card_file):
    encoder, tokenizer = load_text_encoder(text_folder)
    vectors, valid = embed_cards(encoder, tokenizer, read_cards(card_file))
    assert vectors.shape == (3, 3, 256) and valid.all()
    assert torch.allclose(vectors.norm(dim=-1), torch.ones(3, 3), atol=1e-5)
    saved = torch.load(text_folder / "text_encoder.ckpt", weights_only=True)
    again = TextEncoder(**saved["config"]).eval()
    again.load_state_dict(saved["state"])
    ids, attention = tokenize(tokenizer, ["A square is bright."])
    assert torch.allclose(again(ids, attention)[0], vectors[0, 1], atol=1e-6)
    assert not any(p.requires_grad for p in encoder.parameters())


def test_the_vocabulary_spells_any_word(text_folder):
    tokenizer = Tokenizer.from_file(str(text_folder / "tokenizer.json"))
    unknown = tokenizer.token_to_id("[UNK]")
    encoded = tokenizer.encode("Zyxwvut Quokka 90210")
    assert encoded.ids and unknown not in encoded.ids
    assert tokenizer.decode(encoded.ids) == "zyxwvut quokka 90210"


def test_words_of_the_cards_are_tokens_of_their_own(text_folder):
    tokenizer = Tokenizer.from_file(str(text_folder / "tokenizer.json"))
    assert tokenizer.encode("It lies on the picture.").tokens == ["it", "lies", "on", "the", "picture", "."]
    assert tokenizer.encode("[PAD]").ids == [0], "the runtime fills up with 0"


@torch.no_grad()
def test_a_sentence_has_the_same_vector_in_any_company(text_folder):
    encoder, tokenizer = load_text_encoder(text_folder)
    sentences = ["A dot.", "A square is bright, far from the border, and " + "very " * 20 + "large."]
    ids, attention = tokenize(tokenizer, sentences)
    assert attention.sum(dim=1)[0] < attention.sum(dim=1)[1] <= LENGTH
    together = encoder(ids, attention)
    for row, sentence in enumerate(sentences):
        assert torch.allclose(encoder(*tokenize(tokenizer, [sentence]))[0], together[row], atol=1e-5)
    assert (together[0] - together[1]).abs().max() > 1e-3


@torch.no_grad()
def test_long_sentences_are_cut_and_cards_of_different_length_filled_up(text_folder):
    encoder, tokenizer = load_text_encoder(text_folder)
    ids, attention = tokenize(tokenizer, ["word " * 300])
    assert ids.shape == attention.shape == (1, LENGTH)
    cards = [{"name": "A", "sentences": ["One."]}, {"name": "B", "sentences": ["One.", "Two.", "Three."]}]
    vectors, valid = embed_cards(encoder, tokenizer, cards)
    assert valid.tolist() == [[True, True, False, False], [True] * 4]
    assert not vectors[0, 2:].any() and torch.allclose(vectors[0, 1], vectors[1, 1], atol=1e-5)


def test_cards_are_valid_json_with_a_schema():
    from seg_sam.class_cards import CARDS

    for file in CARDS.glob("*.json"):
        assert json.loads(file.read_text())["schema"] == 1, file.name


def test_some_sentences_are_a_part_of_each_card_and_never_none():
    valid = torch.tensor([[True] * 6, [True, True, False, False, False, False], [True] + [False] * 5])
    drawn = torch.stack([some_sentences(valid, 0.5) for _ in range(200)])
    assert not (drawn & ~valid).any()
    assert drawn.any(dim=2).all()
    assert 2.5 < drawn[:, 0].sum(dim=1).float().mean() < 3.6
    assert (some_sentences(valid, 1.0) == valid).all()
    assert (some_sentences(valid, 0.0).sum(dim=1) == 1).all()
