"""What the checks of a certification are drawn from: the labels of a run's dataset, and the regions of its images."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from .. import coco
from ..core import masks
from ..core.errors import DataError
from ..core.types import Classes, Instance
from ..dataset.dataset_index import read_dataset, read_index
from ..labels.stored_labels import HUMAN
from ..system.run_folder import RunFolder
from .label_table import label_thresholds
from .review_order import review_ranks

# An image with more labels is cut into a grid of regions with about as many each, up to so many rows and columns.
LABELS_IN_REGION = 8
_MOST_CUTS = 12

XYXY = tuple[int, int, int, int]


@dataclass(frozen=True, slots=True)
class LabelItem:
    """A label of the dataset: the user's `image`, its `region` (an index), and its `rank` (the lowest is most likely
    wrong, as in `review`)."""

    split: str
    image: str
    annotation_id: int
    class_name: str
    instance: Instance
    region: int
    rank: float

    @property
    def reference(self) -> str:
        """The argument of `explain`."""
        return f"{self.split}:{self.annotation_id}"


@dataclass(frozen=True, slots=True)
class RegionItem:
    """An image, or a part of one with many labels: its place `xyxy` in pixels (far edge exclusive), and the number of
    labels whose box has its center there."""

    split: str
    image: str
    file: Path
    xyxy: XYXY
    labels: int

    @property
    def reference(self) -> str:
        """A name that no other region of the run has."""
        return f"{self.image}:{','.join(map(str, self.xyxy))}"


@dataclass(frozen=True)
class CertificationItems:
    """The labels and regions of a dataset. Images that a person corrected are left out: `by_people` counts them."""

    classes: Classes
    labels: tuple[LabelItem, ...]
    regions: tuple[RegionItem, ...]
    by_people: int
    fingerprint: str


def read_items(run: RunFolder) -> CertificationItems:
    """The labels and regions of a run's dataset, in the order of its files.

    Raises:
        DataError: the run has no dataset, or there is nothing in it to check.
    """
    index = read_index(run.dataset)
    labels: list[LabelItem] = []
    regions: list[RegionItem] = []
    margins: list[float] = []
    for split in index["counts"]:
        for parts, found, above in _of_images(run, index, split, len(regions)):
            regions += parts
            labels += found
            margins += above
    if not regions:
        raise DataError(f"The dataset {run.dataset} has no image that a person did not correct.", "Nothing to certify.")
    ranks = review_ranks(margins, [one.instance.stability for one in labels])
    ranked = (replace(one, rank=float(rank)) for one, rank in zip(labels, ranks, strict=True))
    by_people = sum(entry.get("source") == HUMAN for entry in index["images"].values())
    classes = Classes(tuple(index["classes"]))
    return CertificationItems(classes, tuple(ranked), tuple(regions), by_people, read_dataset(run.dataset).fingerprint)


def grid_of(labels: int) -> int:
    """The rows, and columns, of the grid of regions of an image with this many labels."""
    return max(1, min(_MOST_CUTS, math.ceil(math.sqrt(labels / LABELS_IN_REGION))))


def cells_of(boxes_xywh: Sequence[Sequence[float]], width: int, height: int, cuts: int) -> npt.NDArray[np.int64]:
    """The index (N,) of the region, row by row, that has the center of each box in an image of this size."""
    boxes = np.asarray(boxes_xywh, dtype=np.float64).reshape(-1, 4)
    center = boxes[:, :2] + boxes[:, 2:] / 2
    at = np.stack(
        [np.searchsorted(_edges(side, cuts)[1:-1], center[:, i], "right") for i, side in enumerate((width, height))]
    )
    return np.asarray(at[1] * cuts + at[0], dtype=np.int64)


def _edges(side: int, cuts: int) -> npt.NDArray[np.int64]:
    return np.round(np.linspace(0, side, cuts + 1)).astype(np.int64)


def _of_images(
    run: RunFolder, index: Mapping[str, Any], split: str, first: int
) -> Iterator[tuple[list[RegionItem], list[LabelItem], list[float]]]:
    """The regions, the labels and the labels' margins of each image of a split; the first region has index `first`."""
    folder = run.dataset / split
    paths = {e["file_name"]: (path, e.get("source")) for path, e in index["images"].items() if e["split"] == split}
    truth, rows = coco.read(folder), coco.read_rows(folder)
    thresholds = label_thresholds(run, index)
    names = truth.classes.names
    for image in truth.images:
        path, source = paths[image.image_id]
        if source == HUMAN:
            continue
        cuts = grid_of(len(image.instances))
        cells = cells_of(masks.boxes_xywh([one.rle for one in image.instances]), image.width, image.height, cuts)
        counts = np.bincount(cells, minlength=cuts * cuts)
        x, y = _edges(image.width, cuts).tolist(), _edges(image.height, cuts).tolist()
        regions = [
            RegionItem(split, path, image.path, (x[c], y[r], x[c + 1], y[r + 1]), int(counts[r * cuts + c]))
            for r in range(cuts)
            for c in range(cuts)
        ]
        labels, margins = [], []
        for one, row, cell in zip(image.instances, rows[image.image_id], cells.tolist(), strict=True):
            instance, name = coco.label_of(one, row), names[one.class_index]
            labels.append(LabelItem(split, path, row["id"], name, instance, first + cell, 0.0))
            margins.append(instance.score - thresholds[name])
        yield regions, labels, margins
        first += len(regions)
