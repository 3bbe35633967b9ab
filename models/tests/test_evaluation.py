import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional as F

import evaluate as command
from seg_sam.bundle import write_bundle
from seg_sam.class_cards import read_cards
from seg_sam.evaluation import dice, evaluate, objects_to_prompt, unprompted_scores, upscale
from seg_sam.model import SegSam
from synthetic import MICRO, lively, rectangle, sample_of, write_labelled_slices

CARDS = [{"id": i, "name": i, "sentences": ["."]} for i in ("bar", "dot", "square")]


class Oracle:
    """A decoder that knows the truth: it cuts the labels out of the encoder's features by the prompt it is given."""

    def __init__(self, classes: list[str], mask_size: int) -> None:
        self.classes, self.mask_size = classes, mask_size

    def embed_classes(self, sentences, valid):
        return sentences.mean(dim=1)

    def condition(self, features, vectors):
        return vectors.unsqueeze(0), vectors[:1].unsqueeze(0)

    def decode(self, features, tokens, summary, points, labels, mask):
        frame = features[0][0, 0].round().long()  # the object's number at each pixel of the S x S frame
        logits, so = [], []
        for xy, label in zip(points, labels, strict=True):
            if label.tolist() == [2, 3]:
                (x0, y0), (x1, y1) = xy.round().long().tolist()
                inside = frame[y0 : y1 + 1, x0 : x1 + 1]
                number = int(inside[inside > 0].mode().values)
            else:
                assert label.tolist() == [1, -1]
                number = int(frame[int(xy[0, 1]), int(xy[0, 0])])
            soft = F.adaptive_avg_pool2d((frame == number).float().unsqueeze(0), self.mask_size)
            logits.append((soft - 0.5).expand(4, -1, -1))
            so.append(torch.tensor([float(c["id"] == self.classes[number - 1]) for c in CARDS] + [5.0]))
        stacked = torch.stack(logits)
        return stacked, torch.ones(len(points), 4), -stacked[:, :1], torch.stack(so), torch.zeros(len(points), 4, 4)


def scores_of(sample, kind: str, **options):
    def encoder(image):
        mean, std = torch.tensor(MICRO.pixel_mean), torch.tensor(MICRO.pixel_std)
        return [(image * std.reshape(1, 3, 1, 1) + mean.reshape(1, 3, 1, 1))[:, :1] / 40]

    text = (torch.zeros(3, 1, 256), torch.ones(3, 1, dtype=torch.bool))
    oracle = Oracle(sample.classes, 64)
    return evaluate(encoder, oracle, MICRO, [sample], CARDS, text, torch.device("cpu"), kind, **options)


@pytest.mark.parametrize("kind", ["box", "point"])
@pytest.mark.parametrize("shape", [(64, 64), (96, 128), (128, 72)])
def test_a_decoder_that_is_right_scores_one(kind, shape):
    """Prompts, frame and masks are in the right place: any slip of coordinates or padding would cost Dice."""
    height, width = shape
    instances = np.zeros(shape, dtype=np.int32)
    instances[4 : height // 2, 6 : width // 3] = 1
    instances[height // 2 + 8 : height - 4, width // 2 : width - 6] = 2
    sample = sample_of((40 * instances).astype(np.uint8), instances, ["square", "bar"])
    scores = scores_of(sample, kind)
    assert len(scores["records"]) == 2
    for record in scores["records"]:
        assert record["dice"] > 0.95 and record["semantic_dice"] < 0.2
        assert record["class_right"] == 1.0, "the entry of nothing does not compete"
    assert set(scores["by_set"]) == {"set"} and set(scores["by_class"]) == {"square", "bar"}
    assert scores["by_class"]["bar"]["n"] == 1 and set(scores["by_modality"]) == {"ct"}


def test_semantic_sets_score_the_largest_piece_of_a_class_and_sets_of_instances_each():
    instances = np.zeros((40, 40), dtype=np.int32)
    instances[0:6, 0:6], instances[10:20, 10:20], instances[25:30, 0:5], instances[25:33, 20:30] = 1, 2, 3, 4
    classes = ["a", "a", "b", "a"]
    sample = sample_of(np.zeros((40, 40), np.uint8), instances, classes)
    assert objects_to_prompt(sample) == [2], "b has fewer than 30 pixels"
    sample.semantic_labels = False
    assert objects_to_prompt(sample) == [1, 2, 4]


def test_a_limit_caps_the_objects_of_an_image():
    instances = np.zeros((64, 64), dtype=np.int32)
    for n in range(9):
        y, x = divmod(n, 3)
        instances[20 * y + 2 : 20 * y + 14, 20 * x + 2 : 20 * x + 14] = 1 + n % 6
    sample = sample_of((40 * instances).astype(np.uint8), instances, ["square"] * 6, semantic_labels=False)
    assert len(scores_of(sample, "box", limit=4)["records"]) == 4


def test_upscaling_cuts_the_padding_of_the_frame():
    logits = torch.full((1, 16, 16), -1.0)
    logits[0, :8] = 1  # the image fills the upper half of the frame
    whole = upscale(logits, (30, 60), (64 / 60, 32 / 30), 64)
    assert whole.shape == (1, 30, 60) and (whole[:, :28] > 0).all()


def test_dice_counts_pixels():
    a, b = rectangle(0, 4, 0, 4), rectangle(2, 6, 0, 4)
    assert dice(a, b) == 0.5 and dice(a, a) == 1.0 and dice(a, ~a) == 0.0
    assert dice(np.zeros_like(a), np.zeros_like(a)) == 1.0


def test_the_command_measures_a_bundle_on_test_subjects(run_main, tmp_path, text_folder, card_file):
    cards = read_cards(card_file)
    write_bundle(
        tmp_path / "bundle", lively(SegSam(MICRO)), text_folder, cards, "micro", "1", "float32", "trained", "CC0-1.0"
    )
    options = {"test_subjects": 2, "slices": 2, "title": "Shapes"}
    known = write_labelled_slices(tmp_path / "known", **options)
    foreign = write_labelled_slices(
        tmp_path / "foreign", classes=[{"value": 1, "id": "heart", "name": ""}, {"value": 2, "id": "bar", "name": ""}]
    )
    out = tmp_path / "metrics.json"
    run_main(command, tmp_path / "bundle", "--data", known, foreign, "--device", "cpu", "--out", out)
    result = json.loads(out.read_text())
    assert result["bundle"] == "micro" and set(result["sets"]) == {"known"}, "classes without a card are left out"
    entry = result["sets"]["known"]
    assert (entry["images"], entry["subjects"]) == (4, 2) and entry["about"]["title"] == "Shapes"
    for kind in ("box", "point"):
        assert entry[kind]["by_set"]["known"]["n"] == 8
        assert 0 <= entry[kind]["by_set"]["known"]["dice"] <= 1
        assert entry[kind]["by_set"]["known"]["class_top3"] == 1.0, "there are three classes"


def test_unprompted_classes_are_counted_where_their_absence_is_known(monkeypatch):
    """As docs/evaluation.md defines them, on a case worked out by hand."""
    instances = np.zeros((64, 64), dtype=np.int32)
    instances[4:24, 4:24], instances[34:60, 34:60] = 1, 2
    sample = sample_of((40 * instances).astype(np.uint8), instances, ["square", "bar"], known=["square", "bar", "dot"])
    decode = Oracle.decode

    def naming(presence):
        # CO-tokens of bar, dot, square and nothing.
        def decoded(*arguments):
            out = decode(*arguments)
            tokens = torch.tensor([[10.0 * p if i == j else 0.0 for i in range(4)] for j, p in enumerate(presence)])
            return (*out[:4], tokens.expand(len(out[0]), -1, -1))

        monkeypatch.setattr(Oracle, "decode", decoded)
        return [r["others"] for r in scores_of(sample, "box")["records"]]

    # The oracle's "nothing" is above any class: no name, so only the prompted class is left out of the others.
    both = naming([1, 1, 0])  # bar and dot are named
    assert both[0] == {"found": 1, "wrong": 1, "missed": 0, "absence_known": True}, "square: bar is there, dot is not"
    assert both[1] == {"found": 0, "wrong": 1, "missed": 1, "absence_known": True}, "bar: square is missed"
    assert unprompted_scores(both) == {"precision": 0.3333, "recall": 0.5, "f1": 0.4}
    sample.specks = ["dot"]
    assert [o["wrong"] for o in naming([1, 1, 0])] == [0, 0], "a speck is neither there nor absent"
    sample.specks, sample.known = [], []
    scores = unprompted_scores(naming([1, 1, 0]))
    assert scores == {"precision": None, "recall": 0.5, "f1": None}
    assert naming([0, 0, 0])[0]["missed"] == 1


def test_dec_sag_alone_is_measured_by_its_masks():
    config = replace(MICRO, semantic="none")
    model = lively(SegSam(config))
    instances = rectangle(4, 40, 4, 40, 64, 64).astype(np.int32)
    sample = sample_of((200 * instances).astype(np.uint8), instances, ["square"])
    with pytest.raises(ValueError, match="no bundle of it"):
        model.decoder()
    text = (torch.zeros(3, 1, 256), torch.ones(3, 1, dtype=torch.bool))
    decoder = model.decoder_to_measure()
    found = evaluate(model.image_encoder, decoder, config, [sample], CARDS, text, torch.device("cpu"))
    assert set(found["by_set"]["set"]) == {"n", "dice", "ellipse_dice"} and found["others"] == {}
    # The same weights under a semantic-aware decoder draw the same binary mask.
    whole = SegSam(MICRO).eval()
    whole.load_state_dict(model.state_dict(), strict=False)
    both = evaluate(whole.image_encoder, whole.decoder_to_measure(), MICRO, [sample], CARDS, text, torch.device("cpu"))
    assert both["by_set"]["set"]["dice"] == found["by_set"]["set"]["dice"]
    assert "semantic_dice" in both["by_set"]["set"]
