from itertools import permutations

import pytest
import torch
from torch.nn import functional as F

from seg_sam.losses import (
    alignment_loss,
    binary_decoder_loss,
    dense_loss,
    dice_loss,
    focal_loss,
    iou_of_logits,
    mask_loss,
    object_class_loss,
    set_loss,
)


def test_focal_loss_is_its_definition():
    logits, target = torch.randn(2, 3, 4), (torch.rand(2, 3, 4) < 0.5).float()
    for n in range(2):
        total = 0.0
        for x, y in zip(logits[n].flatten(), target[n].flatten(), strict=True):
            p = x.sigmoid() if y == 1 else 1 - x.sigmoid()
            total += (0.25 if y == 1 else 0.75) * (1 - p) ** 2 * -p.log()
        assert abs(focal_loss(logits, target)[n] - total / 12) < 1e-5


def test_dice_loss_counts_overlap_against_both_areas():
    a, b = torch.zeros(1, 4, 4), torch.zeros(1, 4, 4)
    a[0, :2], b[0, 1:3] = 1, 1
    assert dice_loss(a, b).item() == pytest.approx(1 - (2 * 4 + 1) / (8 + 8 + 1))
    assert dice_loss(a, a).item() == pytest.approx(0)
    assert dice_loss(a, 1 - a).item() > 0.9


def test_iou_is_that_of_the_thresholded_masks():
    logits = torch.full((1, 4, 4), -3.0)
    logits[0, :2] = 0.1
    target = torch.zeros(1, 4, 4)
    target[0, 1:3] = 1
    assert iou_of_logits(logits, target).item() == pytest.approx(4 / 12)
    assert iou_of_logits(-torch.ones(1, 4, 4), torch.zeros(1, 4, 4)).item() == 0


def test_only_the_best_of_the_multimask_outputs_is_trained():
    target = torch.zeros(2, 8, 8)
    target[:, 2:6, 2:6] = 1
    logits = torch.randn(2, 4, 8, 8) * 0.1
    logits[0, 2] += 4 * target[0] - 2
    logits[1, 3] += 4 * target[1] - 2
    logits.requires_grad_()
    iou = torch.zeros(2, 4, requires_grad=True)
    binary_decoder_loss(logits, iou, target).backward()
    trained = logits.grad.abs().amax(dim=(2, 3)) > 0
    assert trained.tolist() == [[True, False, True, False], [True, False, False, True]]


def test_predicted_iou_is_drawn_to_the_actual_one():
    target = torch.zeros(1, 8, 8)
    target[:, :4] = 1
    logits = (20 * target - 10).unsqueeze(1).repeat(1, 4, 1, 1)
    logits[:, 1] = -logits[:, 1]
    right = torch.tensor([[1.0, 0.0, 1.0, 1.0]])
    exact, off = binary_decoder_loss(logits, right, target), binary_decoder_loss(logits, right - 0.5, target)
    assert (off - exact).item() == pytest.approx(0.25, abs=1e-5)


def test_mask_loss_is_twenty_focal_and_one_dice():
    logits, target = torch.randn(3, 5, 5), (torch.rand(3, 5, 5) < 0.4).float()
    expected = 20 * focal_loss(logits, target) + dice_loss(logits.sigmoid(), target)
    assert torch.allclose(mask_loss(logits, target), expected)
    lighter = mask_loss(logits, target, 4.0)
    assert torch.allclose(expected - lighter, 16 * focal_loss(logits, target))


def test_alignment_is_least_where_the_masks_agree():
    a = torch.full((2, 6, 6), -9.0)
    a[:, :3] = 9
    assert alignment_loss(a, a) < 0.01 < 0.9 < alignment_loss(a, -a)


def best_by_trying_all(log_p: torch.Tensor, classes: list[int], nothing_weight: float) -> float:
    """The loss of the assignment of classes to tokens that makes the classes most likely, found by brute force."""
    tokens, nothing = log_p.shape[0], log_p.shape[1] - 1
    chosen = max(
        permutations(range(tokens), len(classes)),
        key=lambda order: sum(float(log_p[t, c]) for t, c in zip(order, classes, strict=True)),
    )
    target = dict(zip(chosen, classes, strict=True))
    loss = weight = 0.0
    for token in range(tokens):
        w = 1.0 if token in target else nothing_weight
        loss -= w * float(log_p[token, target.get(token, nothing)])
        weight += w
    return loss / weight


@pytest.mark.parametrize("present", [[], [2], [0, 3], [1, 2, 4]])
def test_set_loss_matches_like_trying_all_assignments(present):
    for seed in range(5):
        logits = 3 * torch.randn(1, 4, 6, generator=torch.Generator().manual_seed(seed))
        got = set_loss(logits, [torch.tensor(present, dtype=torch.int64)], [torch.ones(5, dtype=torch.bool)])
        assert float(got) == pytest.approx(best_by_trying_all(logits[0].log_softmax(-1), present, 0.15), abs=1e-5)


def test_unmatched_tokens_teach_nothing_about_classes_whose_absence_is_unknown():
    logits = torch.randn(1, 3, 5, requires_grad=True)
    known = torch.tensor([True, False, True, False])
    with torch.no_grad():
        logits[0, 1, 2] += 20
    set_loss(logits, [torch.tensor([2])], [known]).backward()
    grad = logits.grad[0]
    for token in (0, 2):
        assert (grad[token, ~F.pad(known, (0, 1), value=True)] == 0).all()
        assert (grad[token, [0, 2, 4]] != 0).all()


def test_more_present_classes_than_tokens_are_matched_as_far_as_tokens_reach():
    loss = set_loss(torch.randn(1, 2, 6), [torch.arange(5)], [torch.ones(5, dtype=torch.bool)])
    assert torch.isfinite(loss) and loss > 0


def test_object_class_loss_is_smoothed_cross_entropy_where_all_is_known():
    so, classes = torch.randn(6, 5), torch.tensor([0, 1, 4, 2, 4, 3])
    expected = F.cross_entropy(so, classes, label_smoothing=0.02)
    assert torch.allclose(object_class_loss(so, classes, torch.ones(6, 4, dtype=torch.bool)), expected)


def test_a_prompt_at_nothing_teaches_nothing_about_classes_whose_absence_is_unknown():
    so = torch.randn(2, 4, requires_grad=True)
    known = torch.tensor([[True, False, False], [True, False, False]])
    loss = object_class_loss(so, torch.tensor([3, 1]), known)
    loss.backward()
    assert loss < 50
    assert (so.grad[0, 1:3] == 0).all() and (so.grad[0, [0, 3]] != 0).all()
    assert (so.grad[1] != 0).all(), "the class of an object is known, whatever else may be in the image"


def test_dense_loss_ignores_pixels_of_unknown_class():
    logits = torch.randn(1, 4, 3, 3, requires_grad=True)
    target = torch.tensor([[[0, -1, 3], [2, -1, -1], [1, 1, 0]]])
    loss = dense_loss(logits, target, torch.ones(1, 3, dtype=torch.bool))
    loss.backward()
    assert (logits.grad.abs().sum(dim=1)[target == -1] == 0).all()
    assert (logits.grad.abs().sum(dim=1)[target != -1] > 0).all()
    each = F.cross_entropy(logits, target, ignore_index=-1, reduction="none")
    root = torch.tensor([2.0, 2.0, 1.0, 1.0]).rsqrt()  # of the number of pixels of each class
    weight = root[target.clamp(min=0)] * (target >= 0)
    assert torch.allclose(loss, (each * weight).sum() / weight.sum())


def test_a_pixel_does_not_compete_with_classes_that_may_be_there_unlabelled():
    logits = torch.randn(2, 4, 2, 2, requires_grad=True)
    known = torch.tensor([[True, False, True], [True, True, True]])
    dense_loss(logits, torch.full((2, 2, 2), 3), known).backward()
    assert (logits.grad[0, 1] == 0).all() and (logits.grad[1, 1] != 0).all()


def test_dense_loss_teaches_a_class_of_a_set_that_leaves_all_others_open():
    logits = torch.zeros(1, 4, 2, 2, requires_grad=True)
    target = torch.tensor([[[1, -1], [-1, -1]]])
    loss = dense_loss(logits, target, torch.zeros(1, 3, dtype=torch.bool))
    loss.backward()
    assert loss.item() == pytest.approx(0.6931, abs=1e-3), "one of two: its own class and background"
    assert logits.grad[0, 1, 0, 0] < 0


def test_dense_loss_of_an_image_without_any_known_pixel_is_zero():
    assert dense_loss(torch.randn(1, 4, 2, 2), torch.full((1, 2, 2), -1), torch.zeros(1, 3, dtype=torch.bool)) == 0
