import json

import numpy as np
import pytest
from PIL import Image

from seg_sam.config import Config
from seg_sam.dataset import class_of_mask, read_dataset, resize_to_model, split_components, split_validation
from synthetic import rectangle, sample_of, shapes, write_labelled_slices, write_sam_med2d


def test_semantic_set_is_read_by_split_with_its_classes(tmp_path):
    folder = write_labelled_slices(tmp_path / "organs", subjects=3, test_subjects=1, slices=2)
    train, test, both = (read_dataset(folder, split) for split in ("train", "test", None))
    assert [i.name for i in test] == ["s03-axial_000", "s03-axial_001"]
    assert {i.subject for i in train} == {"s00", "s01", "s02"} and len(both) == len(train) + len(test) == 8
    image = train[0]
    assert (image.dataset, image.modality) == ("organs", "ct")
    assert image.image.shape == (64, 64, 3) and image.image.dtype == np.uint8
    assert sorted(image.classes) == ["bar", "square"] and image.known == ["square", "bar", "dot"]
    assert image.semantic_labels and image.fully_labelled
    labels = np.array(Image.open(folder / "labels" / "s00-axial_000.png"))
    for number, name in enumerate(image.classes, start=1):
        assert np.array_equal(image.instances == number, labels == {"square": 1, "bar": 2}[name])


def test_pieces_of_a_class_are_objects_of_their_own_and_specks_are_none():
    labels = np.zeros((20, 20), dtype=np.uint8)
    labels[0:4, 0:4] = 1
    labels[4:8, 4:8] = 1  # touches the first at a corner
    labels[12:16, 0:4] = 1
    labels[0:2, 15:18] = 3
    instances, classes = split_components(labels, {1: "a", 3: "b"})
    assert classes == ["a", "a"]
    assert instances[0, 0] == instances[7, 7] != instances[12, 0] > 0
    assert not instances[labels == 3].any()


def test_classes_of_specks_alone_are_told_from_those_that_are_absent(tmp_path):
    folder = write_labelled_slices(tmp_path / "set", subjects=1, test_subjects=0, slices=1)
    path = folder / "labels" / "s00-axial_000.png"
    labels = np.array(Image.open(path))
    labels[0:2, 0:2] = 7
    Image.fromarray(labels).save(path)
    (image,) = read_dataset(folder, "train")
    assert "dot" not in image.classes and image.specks == ["dot"]


def test_set_of_instances_keeps_every_object_with_sixteen_bit_numbers(tmp_path):
    folder = write_labelled_slices(tmp_path / "cells", subjects=1, test_subjects=0, slices=1, labels="instances")
    labels = np.zeros((64, 64), dtype=np.uint16)
    labels[2:10, 2:10], labels[10:20, 2:10], labels[30:40, 30:40] = 40000, 7, 300
    Image.fromarray(labels).save(folder / "labels" / "s00-axial_000.png")
    (image,) = read_dataset(folder, "train")
    assert image.classes == ["square"] * 3 and not image.semantic_labels
    assert [int((image.instances == n).sum()) for n in (1, 2, 3)] == [80, 100, 64], "in the order of their numbers"


def test_classes_that_a_subject_lacks_are_unknown_there(tmp_path):
    folder = write_labelled_slices(tmp_path / "set", subjects=2, unlabelled={"s01": ["dot"]})
    first, second = (next(i for i in read_dataset(folder, "train") if i.subject == s) for s in ("s00", "s01"))
    assert first.known == ["square", "bar", "dot"] and first.fully_labelled
    assert second.known == ["square", "bar"] and not second.fully_labelled


def test_modality_comes_from_the_series_where_the_set_says_so(tmp_path):
    folder = write_labelled_slices(tmp_path / "set", modality="ct, axial (given in the series name)")
    assert {i.modality for i in read_dataset(folder, None)} == {"axial"}


def test_large_images_shrink_together_with_their_labels(tmp_path):
    folder = write_labelled_slices(tmp_path / "set", subjects=1, slices=1)
    (whole,), (small,) = read_dataset(folder, "train"), read_dataset(folder, "train", max_side=32)
    assert small.image.shape == (32, 32, 3) and small.instances.shape == (32, 32)
    assert (small.instances > 0).mean() == pytest.approx((whole.instances > 0).mean(), abs=0.05)
    inside, outside = small.image[small.instances > 0].mean(), small.image[small.instances == 0].mean()
    assert inside > outside + 60


def test_a_label_map_of_another_size_is_named(tmp_path):
    folder = write_labelled_slices(tmp_path / "set")
    Image.new("L", (64, 60)).save(folder / "labels" / "s00-axial_001.png")
    with pytest.raises(ValueError, match=r"s00-axial_001\.png is \(64, 60\).*\(64, 64\)"):
        read_dataset(folder, "train")


def test_a_label_value_outside_the_class_table_is_named(tmp_path):
    folder = write_labelled_slices(tmp_path / "set")
    _, labels = shapes(np.random.default_rng(0))
    labels[0, 0] = 9
    Image.fromarray(labels).save(folder / "labels" / "s00-axial_001.png")
    with pytest.raises(ValueError, match=r"s00-axial_001\.png has label value 9.*1, 2, 7"):
        read_dataset(folder, "train")


def test_a_label_map_in_colours_is_refused(tmp_path):
    folder = write_labelled_slices(tmp_path / "set")
    Image.new("RGB", (64, 64)).save(folder / "labels" / "s00-axial_000.png")
    with pytest.raises(ValueError, match="a label map has one"):
        read_dataset(folder, "train")


def test_missing_labels_and_folders_of_no_known_layout_are_named(tmp_path):
    folder = write_labelled_slices(tmp_path / "set")
    (folder / "labels" / "s00-axial_000.png").unlink()
    with pytest.raises(FileNotFoundError, match=r"s00-axial_000\.png"):
        read_dataset(folder, "train")
    with pytest.raises(FileNotFoundError, match=r"dataset\.json.*image2label_train\.json"):
        read_dataset(tmp_path, "train")


@pytest.mark.parametrize("licence", ["CC-BY-NC-3.0", "CC BY-NC-SA 4.0", "non-commercial research only"])
def test_non_commercial_sets_are_for_evaluation_only(tmp_path, licence):
    folder = write_labelled_slices(tmp_path / "set", licence=licence)
    for split in ("train", None):
        with pytest.raises(PermissionError, match="--unlicensed"):
            read_dataset(folder, split)
    assert len(read_dataset(folder, "test")) == 2
    assert len(read_dataset(folder, "train", unlicensed=True)) == 6


def test_a_licence_is_not_non_commercial_for_having_the_letters(tmp_path):
    assert read_dataset(write_labelled_slices(tmp_path / "set", licence="NCSA Open Source"), "train")


def test_sam_med2d_layout_gives_each_mask_its_class(tmp_path):
    liver, vein, rib = rectangle(2, 20, 2, 20), rectangle(4, 9, 4, 9), rectangle(25, 31, 3, 9)
    folder = write_sam_med2d(
        tmp_path / "data_demo",
        {
            "amos_0006_90": {"_liver_000": liver, "_inferior_vena_cava_000": vein},
            "s0114_111": {"_rib_left_9_000": rib, "_vertebrae_T9_000": liver, "_vertebrae_T9_001": rib[:, ::-1]},
        },
    )
    amos, total = read_dataset(folder, "train")
    assert (amos.name, amos.subject, total.subject) == ("amos_0006_90", "amos_0006", "s0114")
    assert amos.classes == ["liver", "inferior_vena_cava"]
    assert np.array_equal(amos.instances == 2, vein), "a small object inside a large one keeps its pixels"
    assert np.array_equal(amos.instances == 1, liver & ~vein)
    assert sorted(total.classes) == ["rib_left_9", "vertebrae_T9", "vertebrae_T9"]
    assert not amos.known and not amos.fully_labelled and not amos.semantic_labels


def test_sam_med2d_lists_are_the_split(tmp_path):
    folder = write_sam_med2d(tmp_path / "demo", {"a_1": {"_liver_000": rectangle(0, 9, 0, 9)}})
    write_sam_med2d(
        folder, {"b_1": {"_liver_000": rectangle(0, 9, 0, 9), "_colon_000": rectangle(9, 20, 0, 9)}}, "test"
    )
    names = {split: [i.name for i in read_dataset(folder, split)] for split in ("train", "test", None)}
    assert names == {"train": ["a_1"], "test": ["b_1"], None: ["a_1", "b_1"]}
    assert sorted(read_dataset(folder, "test")[0].classes) == ["colon", "liver"]


def test_sa_med2d_20m_numbers_are_looked_up_and_cases_are_subjects(tmp_path):
    mask = rectangle(0, 9, 0, 9)
    names = [f"ct_00--AbdomenCT1K--Case_00011--{axis}_0041" for axis in ("x", "z")] + [
        "mr_t1--Other--Case_00011--x_0001"
    ]
    folder = write_sam_med2d(tmp_path / "SAMed2Dv1", {n: {"--0001_000": mask} for n in names})
    with pytest.raises(ValueError, match="class number 0001"):
        read_dataset(folder, "train")
    mapping = {"AbdomenCT1K": {"liver": "0000", "left kidney": "0001"}, "Other": {"cancer": 1}}
    (folder / "SAMed2D_v1_class_mapping_id.json").write_text(json.dumps(mapping))
    images = read_dataset(folder, "train")
    assert [i.classes for i in images] == [["left_kidney"], ["left_kidney"], ["cancer"]]
    assert [i.subject for i in images] == ["AbdomenCT1K--Case_00011"] * 2 + ["Other--Case_00011"]
    assert [i.modality for i in images] == ["ct", "ct", "mr_t1"]


def test_a_mask_whose_name_does_not_begin_with_its_image_is_refused():
    with pytest.raises(ValueError, match="s0114_11_<class>_<instance>"):
        class_of_mask("masks/s0114_111_aorta_000.png", "images/s0114_11.png", {})
    with pytest.raises(ValueError, match="<class>_<instance>"):
        class_of_mask("masks/s0114_111_aorta.png", "images/s0114_111.png", {})


def test_lists_are_followed_from_wherever_the_set_lies_and_missing_files_are_named(tmp_path):
    folder = write_sam_med2d(tmp_path / "elsewhere", {"a_1": {"_liver_000": rectangle(0, 9, 0, 9)}})
    moved = folder.rename(tmp_path / "moved")
    assert len(read_dataset(moved, "train")) == 1
    (moved / "masks" / "a_1_liver_000.png").unlink()
    with pytest.raises(FileNotFoundError, match=r"masks/a_1_liver_000\.png"):
        read_dataset(moved, "train")


def test_a_missing_image_is_not_taken_from_the_masks(tmp_path):
    folder = write_sam_med2d(tmp_path / "set", {"a_1": {"_liver_000": rectangle(0, 9, 0, 9)}})
    (folder / "images" / "a_1.png").rename(folder / "masks" / "a_1.png")
    with pytest.raises(FileNotFoundError, match=r"images/a_1\.png"):
        read_dataset(folder, "train")


def test_a_mask_of_another_size_is_named(tmp_path):
    folder = write_sam_med2d(tmp_path / "set", {"a_1": {"_liver_000": rectangle(0, 9, 0, 9)}})
    Image.new("L", (16, 16), 255).save(folder / "masks" / "a_1_liver_000.png")
    with pytest.raises(ValueError, match=r"a_1_liver_000\.png is \(16, 16\)"):
        read_dataset(folder, "train")


def test_validation_holds_back_whole_subjects_of_sets_with_enough():
    def images(dataset: str, subjects: int):
        blank = np.zeros((4, 4), dtype=np.uint8)
        names = [f"p{i}" for i in range(subjects) for _ in range(3)]
        return [sample_of(blank, blank, [], dataset=dataset, subject=name) for name in names]

    everything = images("large", 40) + images("small", 19)
    train, held = split_validation(everything, 0.1, seed=0)
    assert len(train) + len(held) == len(everything)
    assert {i.dataset for i in held} == {"large"} and len({i.subject for i in held}) == 4 and len(held) == 12
    assert not {i.subject for i in held} & {i.subject for i in train if i.dataset == "large"}
    again = split_validation(everything, 0.1, seed=0)[1]
    other = split_validation(everything, 0.1, seed=1)[1]
    assert [i.subject for i in again] == [i.subject for i in held] != [i.subject for i in other]


def test_the_frame_keeps_the_aspect_or_stretches():
    image = np.full((30, 60, 3), 200, dtype=np.uint8)
    frame, scale = resize_to_model(image, Config(image_size=40))
    assert frame.shape == (40, 40, 3) and scale == pytest.approx((40 / 60, 20 / 30))
    assert (frame[:20] == 200).all() and np.allclose(frame[20:], Config().pixel_mean)
    frame, scale = resize_to_model(image, Config(image_size=40, resize_mode="stretch"))
    assert (frame == 200).all() and scale == pytest.approx((40 / 60, 40 / 30))


def test_the_frame_may_span_the_intensities_of_its_image():
    image = np.random.default_rng(0).integers(30, 120, size=(30, 60, 3), dtype=np.uint8)
    raw, _ = resize_to_model(image, Config(image_size=40))
    frame, _ = resize_to_model(image, Config(image_size=40, default_window="min_max"))
    low, high = float(image.min()), float(image.max())
    assert np.abs(frame[:20] - (raw[:20] - low) / (high - low) * 255).max() < 1e-3
    flat, _ = resize_to_model(np.full_like(image, 7), Config(image_size=40, default_window="min_max"))
    assert (flat[:20] == 0).all()
