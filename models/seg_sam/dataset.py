"""Labelled images for training: our data format and the layout of SAM-Med2D / SA-Med2D-20M.

Both are read into `LabelledImage`: an instance map, and for each instance its class. Subjects, not slices, are split.
"""

import json
import re
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image
from scipy import ndimage

from .config import Config

MIN_PIXELS = 12  # smaller pieces are specks of a label map, not objects to prompt
EIGHT = np.ones((3, 3), dtype=bool)


@dataclass
class LabelledImage:
    """One image with its objects."""

    dataset: str
    name: str
    subject: str
    modality: str
    image: np.ndarray  # (H, W, 3) uint8
    instances: np.ndarray  # (H, W) int32; 0 background, i the object i - 1 of `classes`
    classes: list[str]  # class id of each object
    known: list[str]  # classes whose absence from the image is known
    semantic_labels: bool  # objects are pieces of a label map, not instances drawn one by one
    fully_labelled: bool  # no class of the set went unlabelled, so that background is certain
    specks: list[str] = field(default_factory=list)  # classes with no piece of MIN_PIXELS, but with pixels


def read_dataset(folder: Path, split: str | None, max_side: int = 0, unlicensed: bool = False) -> list[LabelledImage]:
    """Reads a data set of either layout.

    `split` is "train", "test" or None for both; `max_side` shrinks larger images; `unlicensed` admits sets whose
    licence is non-commercial, for research runs whose weights do not ship.
    """
    if (folder / "dataset.json").exists():
        return _read_labelled_slices(folder, split, max_side, unlicensed)
    if (folder / "label2image_test.json").exists() or (folder / "image2label_train.json").exists():
        return _read_sam_med2d(folder, split, max_side)
    raise FileNotFoundError(
        f"{folder} holds neither dataset.json nor SAM-Med2D's image2label_train.json or label2image_test.json"
    )


def _read_labelled_slices(folder: Path, split: str | None, max_side: int, unlicensed: bool) -> list[LabelledImage]:
    description = json.loads((folder / "dataset.json").read_text())
    non_commercial = re.search(r"\bNC\b|non-?commercial", description["licence"], re.IGNORECASE)
    if non_commercial and split != "test" and not unlicensed:
        raise PermissionError(
            f"{folder.name} is licensed {description['licence']}: weights trained on it may not ship "
            "(--unlicensed for a research run)"
        )
    class_of_value = {c["value"]: c["id"] for c in description["classes"]}
    unlabelled = description.get("unlabelled", {})
    subjects = None if split is None else set(description["split"][split])
    out = []
    for path in sorted((folder / "images").glob("*.png")):
        series = path.stem.rsplit("_", 1)[0]
        subject = series.split("-", 1)[0]
        if subjects is not None and subject not in subjects:
            continue
        label_path = folder / "labels" / path.name
        image, labels = _read_pair(path, label_path, max_side)
        if description["labels"] == "instances":
            instances = _renumber(labels)
            classes = [description["classes"][0]["id"]] * int(instances.max())
        else:
            unknown = sorted(set(np.unique(labels).tolist()) - class_of_value.keys() - {0})
            if unknown:
                listed = ", ".join(str(v) for v in sorted(class_of_value))
                raise ValueError(f"{label_path} has label value {unknown[0]}; dataset.json has classes {listed}")
            instances, classes = split_components(labels, class_of_value)
        seen = {class_of_value[v] for v in np.unique(labels).tolist() if v in class_of_value}
        specks = sorted(seen - set(classes)) if description["labels"] == "semantic" else []
        if not classes:
            continue
        skipped = unlabelled.get(subject, [])
        known = [c for c in class_of_value.values() if c not in skipped]
        modality = _modality(description["modality"], series)
        semantic = description["labels"] == "semantic"
        out.append(
            LabelledImage(
                folder.name,
                path.stem,
                subject,
                modality,
                image,
                instances,
                classes,
                known,
                semantic,
                not skipped,
                specks,
            )
        )
    return out


def _modality(modality: str, series: str) -> str:
    if "series name" not in modality:
        return modality
    return series.split("-", 1)[1]


def _read_sam_med2d(folder: Path, split: str | None, max_side: int) -> list[LabelledImage]:
    """`image2label_train.json` maps an image to its masks, `label2image_test.json` a mask to its image.

    The lists name no classes: a mask file does (`class_of_mask`). What a set leaves unlabelled is not known.
    """
    masks_of: dict[str, list[str]] = {}
    train, test = folder / "image2label_train.json", folder / "label2image_test.json"
    if split != "test" and train.exists():
        for image, masks in json.loads(train.read_text()).items():
            masks_of.setdefault(image, []).extend(masks)
    if split != "train" and test.exists():
        for mask, image in json.loads(test.read_text()).items():
            masks_of.setdefault(image, []).append(mask)
    numbered = folder / "SAMed2D_v1_class_mapping_id.json"
    numbers = json.loads(numbered.read_text()) if numbered.exists() else {}
    out = []
    for image_path, mask_paths in sorted(masks_of.items()):
        whole = Image.open(_inside(folder, image_path)).convert("RGB")
        image = _shrink(whole, max_side, Image.Resampling.BILINEAR)
        instances = np.zeros((image.height, image.width), dtype=np.int32)
        classes: list[str] = []
        masks = [(p, _read_mask(_inside(folder, p), whole.size, max_side)) for p in mask_paths]
        # Large first, so that a small object inside a large one keeps its pixels.
        for path, mask in sorted(masks, key=lambda m: -int(m[1].sum())):
            if mask.sum() >= MIN_PIXELS:
                classes.append(class_of_mask(path, image_path, numbers))
                instances[mask] = len(classes)
        if classes:
            stem = Path(image_path).stem
            subject, modality = _subject_and_modality(stem)
            out.append(
                LabelledImage(
                    folder.name, stem, subject, modality, np.array(image), instances, classes, [], False, False
                )
            )
    return out


def class_of_mask(mask: str, image: str, numbers: dict[str, dict[str, int]]) -> str:
    """The class that a mask's file name tells; class names may contain underscores, so the image's name is taken off.

    SAM-Med2D: `<image>_<class>_<instance>.png`. SA-Med2D-20M: `<image>--<number>_<instance>.png`, where `numbers`, its
    `SAMed2D_v1_class_mapping_id.json`, has the number of each class for each of its sources.
    """
    stem, image_stem = Path(mask).stem, Path(image).stem
    match = re.fullmatch(r"(?:--|_)(.+)_\d+", stem.removeprefix(image_stem))
    if not stem.startswith(image_stem) or match is None:
        raise ValueError(f"{mask} is not called {image_stem}_<class>_<instance>.png, as a mask of {image} has to be")
    name = match.group(1)
    if name.isdigit():
        source = image_stem.split("--")[1] if "--" in image_stem else ""
        names = [c for c, number in numbers.get(source, {}).items() if int(number) == int(name)]
        if not names:
            raise ValueError(
                f"{mask} has class number {name}, which SAMed2D_v1_class_mapping_id.json does not list for {source!r}"
            )
        name = names[0]
    return re.sub(r"\W+", "_", name)


def _subject_and_modality(stem: str) -> tuple[str, str]:
    """SA-Med2D-20M's `<modality>_<kind>--<source>--<case>--<axis>_<slice>`, or SAM-Med2D's `<case>_<slice>`."""
    parts = stem.split("--")
    if len(parts) >= 3:
        return "--".join(parts[1:3]), parts[0].removesuffix("_00")
    return re.sub(r"_\d+$", "", stem), "unknown"


def _inside(folder: Path, path: str) -> Path:
    """The lists give paths from the folder itself, from its parent, or from where the set once lay."""
    for candidate in (folder / path, folder.parent / path, folder.joinpath(*Path(path).parts[-2:])):
        if candidate.exists():
            return candidate
    raise FileNotFoundError(f"{path}, named in the lists of {folder}, is not there")


def _read_mask(path: Path, image_size: tuple[int, int], max_side: int) -> np.ndarray:
    mask = Image.open(path).convert("L")
    if mask.size != image_size:
        raise ValueError(f"{path} is {mask.size}, its image {image_size}: both must have one size")
    return np.array(_shrink(mask, max_side, Image.Resampling.NEAREST)) > 0


def _read_pair(image_path: Path, label_path: Path, max_side: int) -> tuple[np.ndarray, np.ndarray]:
    image, labels = Image.open(image_path).convert("RGB"), Image.open(label_path)
    if image.size != labels.size:
        raise ValueError(f"{label_path} is {labels.size}, its image {image.size}: both must have one size")
    if len(labels.getbands()) != 1:
        raise ValueError(f"{label_path} has channels {labels.getbands()}: a label map has one")
    image = _shrink(image, max_side, Image.Resampling.BILINEAR)
    labels = _shrink(labels, max_side, Image.Resampling.NEAREST)
    return np.array(image), np.array(labels).astype(np.int32)


def _shrink(image: Image.Image, max_side: int, filter_: Image.Resampling) -> Image.Image:
    side = max(image.size)
    if max_side == 0 or side <= max_side:
        return image
    size = tuple(max(1, round(s * max_side / side)) for s in image.size)
    return image.resize(size, filter_)


def split_components(labels: np.ndarray, class_of_value: dict[int, str]) -> tuple[np.ndarray, list[str]]:
    """A semantic label map to instances: one for each 8-connected piece of a class of `MIN_PIXELS` or more."""
    instances = np.zeros(labels.shape, dtype=np.int32)
    classes: list[str] = []
    for value in np.unique(labels):
        if value == 0:
            continue
        pieces, count = ndimage.label(labels == value, structure=EIGHT)
        sizes = ndimage.sum_labels(np.ones_like(pieces), pieces, index=np.arange(1, count + 1))
        for piece in np.flatnonzero(sizes >= MIN_PIXELS) + 1:
            classes.append(class_of_value[int(value)])
            instances[pieces == piece] = len(classes)
    return instances, classes


def _renumber(labels: np.ndarray) -> np.ndarray:
    values = np.unique(labels)
    table = np.zeros(int(values.max()) + 1, dtype=np.int32)
    foreground = values[values > 0]
    table[foreground] = np.arange(1, len(foreground) + 1)
    return table[labels]


def split_validation(images: list[LabelledImage], fraction: float, seed: int) -> tuple[list, list]:
    """Holds back a share of the subjects of every set that has at least twenty; the others have none to spare."""
    held: set[tuple[str, str]] = set()
    generator = np.random.default_rng(seed)
    for dataset in sorted({i.dataset for i in images}):
        subjects = sorted({i.subject for i in images if i.dataset == dataset})
        if len(subjects) >= 20:
            chosen = generator.permutation(len(subjects))[: max(1, round(fraction * len(subjects)))]
            held |= {(dataset, subjects[i]) for i in chosen}
    train = [i for i in images if (i.dataset, i.subject) not in held]
    return train, [i for i in images if (i.dataset, i.subject) in held]


def resize_to_model(image: np.ndarray, config: Config) -> tuple[np.ndarray, tuple[float, float]]:
    """(H, W, 3) to the S x S frame, padded bottom-right with the mean colour; and the scales (x, y) of coordinates."""
    height, width = image.shape[:2]
    side = config.image_size
    if config.resize_mode == "stretch":
        new_height = new_width = side
    else:
        scale = side / max(height, width)
        new_height, new_width = max(1, int(height * scale + 0.5)), max(1, int(width * scale + 0.5))
    resized = np.array(Image.fromarray(image).resize((new_width, new_height), Image.Resampling.BILINEAR))
    if config.default_window == "min_max":
        low, high = float(image.min()), float(image.max())
        resized = (resized - low) * (255 / max(high - low, 1e-8))
    frame = np.empty((side, side, 3), dtype=np.float32)
    frame[:] = config.pixel_mean
    frame[:new_height, :new_width] = resized
    return frame, (new_width / width, new_height / height)
