import numpy as np
import pytest
import torch

from seg_sam import augmentation
from seg_sam.augmentation import Strength, random_view, tells_sides
from synthetic import MICRO, sample_of

STILL = Strength(rotation=0, scale=(1.0, 1.0), shift=0, shear=0, elastic=0)


def quadrants(side: int) -> np.ndarray:
    """Four different blocks, the left ones 1 and 3, with a border of background."""
    labels = np.zeros((side, side), dtype=np.int32)
    q, half = side // 8, side // 2
    labels[q:half, q:half], labels[q:half, half : side - q] = 1, 2
    labels[half : side - q, q:half], labels[half : side - q, half : side - q] = 3, 4
    return labels


@pytest.mark.parametrize("modality", ["ct", "microscopy", "unknown"])
@pytest.mark.parametrize("shape", [(64, 64), (50, 64), (300, 300)])
def test_image_and_labels_move_together(monkeypatch, modality, shape):
    """An image that shows its own label map still does after any view."""
    monkeypatch.setattr(augmentation, "_change_intensity", lambda view, strength, rng: view)
    labels = quadrants(max(shape))[: shape[0], : shape[1]]
    sample = sample_of((60 * labels).astype(np.uint8), labels, ["a", "b", "c", "d"], modality=modality)
    rng = np.random.default_rng(0)
    seen = []
    for _ in range(12):
        view, objects = random_view(sample, MICRO, Strength(), rng)
        assert view.shape == (3, 64, 64) and objects.shape == (64, 64)
        flat = objects.float().unsqueeze(0).unsqueeze(0)
        high, low = (torch.nn.functional.max_pool2d(s * flat, 9, 1, 4)[0, 0] * s for s in (1, -1))
        inner = (high == low) & (objects > 0)  # away from edges, where the image is a mixture
        inner[:4], inner[-4:], inner[:, :4], inner[:, -4:] = False, False, False, False
        assert (view[0][inner] - 60 * objects[inner]).abs().max() < 10
        assert inner.sum() > 100
        seen.append(objects)
    assert any(not torch.equal(seen[0], other) for other in seen[1:])


def test_a_still_view_is_the_image(monkeypatch):
    monkeypatch.setattr(augmentation, "_change_intensity", lambda view, strength, rng: view)
    labels = quadrants(64)
    sample = sample_of((60 * labels).astype(np.uint8), labels, ["a", "b", "c", "d"], modality="unknown")
    view, objects = random_view(sample, MICRO, STILL, np.random.default_rng(0))
    assert torch.equal(objects, torch.from_numpy(labels).long())
    assert (view[0] - 60 * objects).abs().max() < 1e-2


def test_a_view_of_a_part_is_as_sharp_as_the_image():
    stripes = np.tile(np.array([0, 255], dtype=np.uint8), (512, 256))
    sharp = augmentation._shrink_before_sampling(torch.from_numpy(stripes)[None, None].float(), 64 * 6)
    coarse = augmentation._shrink_before_sampling(torch.from_numpy(stripes)[None, None].float(), 64)
    assert sharp.shape == (1, 1, 512, 512) and coarse.shape == (1, 1, 64, 64)


def test_outside_the_image_lies_the_mean_colour_and_no_object(monkeypatch):
    monkeypatch.setattr(augmentation, "_change_intensity", lambda view, strength, rng: view)
    labels = np.ones((20, 64), dtype=np.int32)
    sample = sample_of(np.full((20, 64), 250, np.uint8), labels, ["a"], modality="unknown")
    for seed in range(6):
        view, objects = random_view(sample, MICRO, STILL, np.random.default_rng(seed))
        rows = torch.nonzero(objects.any(dim=1))[:, 0]
        assert (len(rows), int(rows.min())) in {(20, 0), (20, 22)}, "at the top as at run time, or centred"
        outside = view[:, objects == 0]
        assert torch.allclose(outside, torch.tensor(MICRO.pixel_mean).unsqueeze(1).expand_as(outside))


def mirrored(seed: int, **values: object) -> bool:
    labels = quadrants(64)
    values = {"known": ["a"], **values}
    sample = sample_of((60 * labels).astype(np.uint8), labels, ["a", "b", "c", "d"], **values)
    _, objects = random_view(sample, MICRO, STILL, np.random.default_rng(seed))
    return int(objects[20, 20]) == 2


def test_images_are_mirrored_where_their_mirror_image_could_be_real():
    assert 5 < sum(mirrored(seed, modality="ct") for seed in range(40)) < 35


@pytest.mark.parametrize(
    "values",
    [
        {"modality": "ct", "known": ["kidney_left"]},
        {"modality": "ct", "known": ["rib_right_9", "a"]},
        {"modality": "mr", "name": "ct1-sagittal_050"},
        {"modality": "unknown"},
    ],
    ids=["left", "right", "sagittal", "unknown"],
)
def test_images_are_not_mirrored_where_sides_have_a_meaning(values):
    assert not any(mirrored(seed, **values) for seed in range(40))


def test_sides_are_told_by_a_class_that_is_there_or_may_be():
    blank = np.zeros((4, 4), dtype=np.uint8)
    assert tells_sides(sample_of(blank, blank, ["lung_upper_lobe_left"], known=[]))
    assert tells_sides(sample_of(blank, blank, ["liver"], known=["liver", "right_atrium"]))
    assert not tells_sides(sample_of(blank, blank, ["brightness_cleft"], known=["liver"]))


def test_intensities_change_within_their_range():
    labels = quadrants(64)
    sample = sample_of((60 * labels).astype(np.uint8), labels, ["a", "b", "c", "d"], modality="unknown")
    rng = np.random.default_rng(0)
    views = [random_view(sample, MICRO, Strength(), rng)[0] for _ in range(10)]
    assert min(v.min() for v in views) >= 0 and max(v.max() for v in views) <= 255
    assert len({round(float(v.mean()), 3) for v in views}) == 10
