import numpy as np
import pytest
import torch

from seg_sam.prompts import add_points, box_of, correction_points, first_prompt, inner_point, jitter_box
from synthetic import rectangle


def test_box_runs_through_the_outermost_pixels():
    mask = rectangle(5, 9, 3, 20) | rectangle(12, 13, 7, 8)
    assert box_of(mask).tolist() == [3, 5, 19, 12]
    assert box_of(rectangle(4, 5, 6, 7)).tolist() == [6, 4, 6, 4]


def test_jittered_box_stays_in_the_frame_and_near_the_box():
    rng = np.random.default_rng(0)
    boxes = np.stack([jitter_box(np.array([2.0, 10, 41, 29]), 64, rng) for _ in range(300)])
    assert boxes.min() >= 0 and boxes.max() <= 63
    assert (boxes[:, 0] < boxes[:, 2]).all() and (boxes[:, 1] < boxes[:, 3]).all()
    assert np.abs(boxes - [2, 10, 41, 29]).max() <= 0.05 * 64 + 1e-5
    assert np.ptp(boxes, axis=0).min() > 2


def test_jittered_box_of_one_pixel_at_the_corner_has_two_corners():
    rng = np.random.default_rng(1)
    for corner in (0.0, 63.0):
        box = jitter_box(np.array([corner] * 4), 64, rng)
        assert box[2] > box[0] and box[3] > box[1]


@pytest.mark.parametrize("central", [False, True])
def test_inner_point_is_a_pixel_of_the_mask_as_x_y(central):
    rng = np.random.default_rng(0)
    mask = rectangle(4, 9, 15, 29)
    points = np.stack([inner_point(mask, rng, central) for _ in range(200)])
    assert all(mask[int(y), int(x)] for x, y in points)
    at_edge = (points[:, 0] == 15) | (points[:, 0] == 28) | (points[:, 1] == 4) | (points[:, 1] == 8)
    assert at_edge.any() != central, "a central point keeps off the edge, another does not"


def test_first_prompt_is_a_box_or_a_point_with_its_padding_point():
    rng = np.random.default_rng(0)
    points, labels = first_prompt(rectangle(5, 20, 5, 20), "box", rng)
    assert points.shape == (2, 2) and labels.tolist() == [2, 3]
    points, labels = first_prompt(rectangle(5, 20, 5, 20), "point", rng)
    assert points.shape == (2, 2) and labels.tolist() == [1, -1]
    assert points[0].min() >= 5 and points[0].max() < 20


def test_correction_points_lie_where_prediction_and_truth_differ():
    truth = torch.from_numpy(np.stack([rectangle(4, 16, 4, 16)] * 40))
    predicted = torch.from_numpy(np.stack([rectangle(8, 20, 4, 16)] * 40))
    points, labels = correction_points(predicted, truth, np.random.default_rng(0))
    assert points.shape == (40, 1, 2) and labels.shape == (40, 1)
    for (x, y), label in zip(points[:, 0].long().tolist(), labels[:, 0].tolist(), strict=True):
        missed, excess = 4 <= y < 8 and 4 <= x < 16, 16 <= y < 20 and 4 <= x < 16
        assert missed or excess
        assert label == (1 if missed else 0)
    assert set(labels[:, 0].tolist()) == {0, 1}


def test_correction_point_without_an_error_lies_inside_and_without_an_object_anywhere():
    mask = torch.from_numpy(rectangle(4, 16, 4, 16)).unsqueeze(0)
    points, labels = correction_points(mask, mask, np.random.default_rng(0))
    x, y = points[0, 0].long().tolist()
    assert mask[0, y, x] and labels.tolist() == [[1]]
    empty = torch.zeros_like(mask)
    points, labels = correction_points(empty, empty, np.random.default_rng(0))
    assert labels.tolist() == [[0]] and points.min() >= 0 and points.max() < 32


def test_points_come_first_then_corners_or_the_padding_point():
    points = torch.arange(8.0).reshape(2, 2, 2)
    labels = torch.tensor([[2, 3], [1, -1]])
    more, more_labels = torch.tensor([[[50.0, 51]], [[60, 61]]]), torch.tensor([[0], [1]])
    joined, joined_labels = add_points(points, labels, more, more_labels)
    assert joined_labels.tolist() == [[0, 2, 3], [1, 1, -1]]
    assert joined.tolist() == [[[50, 51], [0, 1], [2, 3]], [[4, 5], [60, 61], [6, 7]]]
