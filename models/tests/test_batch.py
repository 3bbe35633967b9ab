import itertools

import numpy as np
import pytest
import torch

from seg_sam import batch
from seg_sam.batch import MIN_VIEW_PIXELS, PromptedBatches
from seg_sam.dataset import read_dataset
from synthetic import MICRO, rectangle, sample_of, write_labelled_slices, write_sam_med2d

CLASSES = ["bar", "dot", "square"]


def batches_of(images, count: int, classes=CLASSES, **options):
    values = {"batch_size": 2, "prompts": 4, "box_share": 0.5, "seed": 0, **options}
    return list(itertools.islice(PromptedBatches(images, classes, {}, MICRO, **values), count))


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    return read_dataset(write_labelled_slices(tmp_path_factory.mktemp("sets") / "organs"), "train")


def test_a_prompt_lies_on_its_mask_and_the_class_is_that_of_the_pixels(images):
    kinds = set()
    for drawn in batches_of(images, 8):
        assert drawn.image.shape == (2, 3, 64, 64) and drawn.masks.shape == (8, 64, 64)
        for i, mask in enumerate(drawn.masks):
            semantic = drawn.semantic[i // 4]
            if drawn.classes[i] == 3:
                kinds.add("nothing")
                x, y = drawn.points[i, 0].long().tolist()
                assert not mask.any() and semantic[y, x] == 3 and drawn.labels[i].tolist() == [1, -1]
                continue
            assert mask.sum() >= MIN_VIEW_PIXELS and (semantic[mask] == drawn.classes[i]).all()
            if drawn.labels[i].tolist() == [2, 3]:
                kinds.add("box")
                rows, columns = torch.nonzero(mask, as_tuple=True)
                truth = torch.tensor([columns.min(), rows.min(), columns.max(), rows.max()])
                assert (drawn.points[i].flatten() - truth).abs().max() <= 0.05 * 64 + 1
            else:
                kinds.add("point")
                x, y = drawn.points[i, 0].long().tolist()
                assert mask[y, x] and drawn.labels[i].tolist() == [1, -1]
    assert kinds == {"box", "point", "nothing"}


def test_present_are_the_classes_outside_the_prompted_object(images):
    for drawn in batches_of(images, 6):
        for i, mask in enumerate(drawn.masks):
            outside = drawn.semantic[i // 4][~mask]
            expected = [c for c in range(3) if (outside == c).sum() >= MIN_VIEW_PIXELS]
            assert drawn.present[i].tolist() == expected


def test_images_with_labels_for_fewer_classes_are_drawn_less_often():
    labels = np.zeros((64, 64), dtype=np.int32)
    labels[8:40, 8:40] = 1
    whole = sample_of(labels, labels, ["square"], known=CLASSES)
    part = sample_of(labels, labels, ["square"], known=["square"])
    of_whole = torch.cat([drawn.known.all(dim=1) for drawn in batches_of([whole, part], 100)])
    assert 0.65 < of_whole.float().mean() < 0.85, "three quarters, as three classes to one"


def test_another_object_of_the_prompted_class_counts_as_present():
    labels = np.zeros((64, 64), dtype=np.int32)
    labels[8:30, 8:24], labels[34:56, 36:56] = 1, 2
    sample = sample_of((100 * labels).astype(np.uint8), labels, ["square", "square"])
    (drawn,) = batches_of([sample], 1)
    prompted = drawn.classes < 3
    both = torch.stack([(drawn.semantic[i // 4] == 2).sum() > drawn.masks[i].sum() + 50 for i in range(8)])
    assert (prompted & both).any()
    for i in torch.nonzero(prompted & both)[:, 0]:
        assert drawn.present[i].tolist() == [2]


def test_what_is_not_labelled_is_unknown_instead_of_background(tmp_path):
    folder = write_labelled_slices(tmp_path / "set", subjects=1, unlabelled={"s00": ["dot"]})
    for drawn in batches_of(read_dataset(folder, "train"), 4):
        assert drawn.known.tolist() == [[True, False, True]] * 2
        assert set(drawn.semantic.unique().tolist()) <= {-1, 0, 2}
        assert (drawn.classes < 3).all(), "no prompt at nothing where an unlabelled object may lie"


def test_sets_of_the_sam_med2d_layout_know_no_absence(tmp_path):
    folder = write_sam_med2d(tmp_path / "demo", {"a_1": {"_dot_000": rectangle(4, 28, 4, 28)}})
    (drawn,) = batches_of(read_dataset(folder, "train"), 1)
    assert not drawn.known.any() and set(drawn.semantic.unique().tolist()) == {-1, 1}


def test_a_single_prompt_always_has_an_object(images):
    for drawn in batches_of(images, 20, prompts=1):
        assert (drawn.classes < 3).all() and drawn.masks.flatten(1).any(dim=1).all()


def test_objects_too_small_for_the_model_end_in_an_error(monkeypatch):
    monkeypatch.setattr(batch, "TRIES", 5)
    labels = rectangle(0, 3, 0, 4, 640, 640).astype(np.int32)
    sample = sample_of(np.zeros((640, 640), np.uint8), labels, ["square"])
    with pytest.raises(RuntimeError, match="too small"):
        batches_of([sample], 1)


def test_sets_are_drawn_by_weight_and_the_order_follows_the_seed(images):
    labels = rectangle(8, 40, 8, 40, 64, 64).astype(np.int32)
    other = sample_of(np.full((64, 64), 128, np.uint8), labels, ["dot"], dataset="other")

    def share(weights: dict[str, float]) -> float:
        endless = PromptedBatches([*images, other], CLASSES, weights, MICRO, 2, 2, 0.5, 0)
        classes = torch.cat([b.classes for b in itertools.islice(endless, 25)])
        return float((classes == 1).float().mean())

    assert share({"organs": 0.9, "other": 0.1}) < 0.3 < 0.6 < share({"organs": 0.1, "other": 0.9})
    first, again, differently = (batches_of(images, 1, seed=s)[0] for s in (3, 3, 4))
    assert torch.equal(first.image, again.image) and torch.equal(first.points, again.points)
    assert not torch.equal(first.image, differently.image)
