"""Batches for training: random views, objects to prompt, and what is known of the classes in each view."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import IterableDataset

from .augmentation import Strength, random_view
from .config import Config
from .dataset import LabelledImage
from .prompts import FOREGROUND, PADDING, first_prompt, inner_point

MIN_VIEW_PIXELS = 24
TRIES = 1000  # views until a set counts as having no object large enough


@dataclass
class Batch:
    """B images with P prompts each. K is the number of classes; class K is "nothing"."""

    image: Tensor  # (B, 3, S, S) float32, 0-255
    masks: Tensor  # (B * P, S, S) bool
    points: Tensor  # (B * P, 2, 2)
    labels: Tensor  # (B * P, 2)
    classes: Tensor  # (B * P,); K where the prompt points at nothing
    present: list[Tensor]  # B * P: classes with pixels outside the prompted object
    known: Tensor  # (B, K) bool: classes whose absence would be certain
    semantic: Tensor  # (B, S, S) class of each pixel; K background, -1 where that is not known


class PromptedBatches(IterableDataset):
    """Endless. Draws sets by weight, images by the share of the set's classes they have labels for, objects by the
    rarity of their class.
    """

    def __init__(
        self,
        images: list[LabelledImage],
        class_ids: list[str],
        set_weights: dict[str, float],
        config: Config,
        batch_size: int,
        prompts: int,
        box_share: float,
        seed: int,
        strength: Strength | None = None,
    ) -> None:
        self.images, self.config, self.batch_size, self.prompts = images, config, batch_size, prompts
        self.index = {c: i for i, c in enumerate(class_ids)}
        self.box_share, self.seed, self.strength = box_share, seed, strength or Strength()
        self.sets = sorted({i.dataset for i in images})
        weight = np.array([set_weights.get(s, 0.05) for s in self.sets])
        self.set_probability = weight / weight.sum()
        self.members = [[i for i in images if i.dataset == s] for s in self.sets]
        self.member_probability = [labelled_share(members) for members in self.members]
        counts = np.zeros(len(class_ids))
        for image in images:
            for c in set(image.classes):
                counts[self.index[c]] += 1
        self.rarity = 1 / np.sqrt(np.maximum(counts, 1))

    def __iter__(self):
        worker = torch.utils.data.get_worker_info()
        rng = np.random.default_rng([self.seed, worker.id if worker else 0])
        torch.manual_seed(int(rng.integers(2**31)))
        if worker:
            torch.set_num_threads(1)
        while True:
            yield collate([self._example(rng) for _ in range(self.batch_size)])

    def _example(self, rng: np.random.Generator) -> dict:
        for _ in range(TRIES):
            chosen = rng.choice(len(self.sets), p=self.set_probability)
            sample = self.members[chosen][rng.choice(len(self.members[chosen]), p=self.member_probability[chosen])]
            view, objects = random_view(sample, self.config, self.strength, rng)
            numbers, areas = torch.unique(objects[objects > 0], return_counts=True)
            numbers = numbers[areas >= MIN_VIEW_PIXELS].numpy()
            if len(numbers) > 0:
                return self._prompt(sample, view, objects, numbers, rng)
        raise RuntimeError(
            f"{TRIES} views of {', '.join(self.sets)} held no object of {MIN_VIEW_PIXELS} pixels: the objects are too "
            f"small for a model of {self.config.image_size} pixels"
        )

    def _prompt(
        self, sample: LabelledImage, view: Tensor, objects: Tensor, numbers: np.ndarray, rng: np.random.Generator
    ) -> dict:
        nothing = len(self.index)
        class_of = torch.tensor([nothing] + [self.index[c] for c in sample.classes])
        known = torch.zeros(nothing, dtype=torch.bool)
        known[[self.index[c] for c in sample.known if c in self.index]] = True
        semantic = class_of[objects]
        if not sample.fully_labelled:
            semantic = torch.where(objects > 0, semantic, -1)
        weight = self.rarity[class_of[numbers].numpy()]
        # An object of which the image has many counts once for its class, not once for each.
        same = np.unique(class_of[numbers].numpy(), return_inverse=True)
        weight = weight / np.sqrt(np.bincount(same[1])[same[1]])
        replace = len(numbers) < self.prompts
        chosen = rng.choice(numbers, size=self.prompts, replace=replace, p=weight / weight.sum())
        masks, points, labels, classes, present = [], [], [], [], []
        pixels = torch.bincount(semantic[semantic >= 0], minlength=nothing + 1)[:nothing]
        empty = (objects == 0).numpy()
        for i, number in enumerate(chosen):
            mask = objects == int(number)
            kind = "box" if rng.random() < self.box_share else "point"
            # One of several: the losses of masks need a prompt with an object.
            may_be_empty = i == 0 and self.prompts > 1
            background = may_be_empty and rng.random() < 0.3 and sample.fully_labelled and empty.mean() > 0.1
            if background:
                mask = torch.zeros_like(mask)
                point = np.stack([inner_point(empty, rng, central=True), np.zeros(2, np.float32)])
                label = np.array([FOREGROUND, PADDING])
                number_class, own = nothing, 0
            else:
                point, label = first_prompt(mask.numpy(), kind, rng)
                number_class, own = int(class_of[int(number)]), int(mask.sum())
            others = pixels.clone()
            if number_class < nothing:
                others[number_class] -= own
            masks.append(mask)
            points.append(torch.from_numpy(point))
            labels.append(torch.from_numpy(label))
            classes.append(number_class)
            present.append(torch.nonzero(others >= MIN_VIEW_PIXELS)[:, 0])
        return {
            "image": view,
            "masks": torch.stack(masks),
            "points": torch.stack(points).float(),
            "labels": torch.stack(labels),
            "classes": torch.tensor(classes),
            "present": present,
            "known": known,
            "semantic": semantic,
        }


def labelled_share(images: list[LabelledImage]) -> np.ndarray:
    """How likely each image of a set is drawn: where few classes are labelled, few should be learned from it."""
    most = max(len(i.known) for i in images)
    share = np.array([len(i.known) / most if most > 0 else 1.0 for i in images])
    return share / share.sum()


def collate(examples: list[dict]) -> Batch:
    return Batch(
        image=torch.stack([e["image"] for e in examples]),
        masks=torch.cat([e["masks"] for e in examples]),
        points=torch.cat([e["points"] for e in examples]),
        labels=torch.cat([e["labels"] for e in examples]),
        classes=torch.cat([e["classes"] for e in examples]),
        present=[p for e in examples for p in e["present"]],
        known=torch.stack([e["known"] for e in examples]),
        semantic=torch.stack([e["semantic"] for e in examples]),
    )
