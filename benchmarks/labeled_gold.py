"""Shared by the benchmarks of `calibrate` and `tune`: gold sets with the labels of a base, labeled once and stored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autodistill_rfdetr_seg import coco
from autodistill_rfdetr_seg.core.config import BaseConfig
from autodistill_rfdetr_seg.core.types import Classes, GroundTruth, ImageLabels
from autodistill_rfdetr_seg.labels.base_source import BaseSource
from autodistill_rfdetr_seg.labels.label_store import LabelStore
from autodistill_rfdetr_seg.labels.labeler import label_images
from autodistill_rfdetr_seg.pipeline.demo_scenes import ONTOLOGY, write_scenes

SCENES = 400


@dataclass(frozen=True)
class LabeledSet:
    """The folders of a gold set, and what labels it: the ontology, the base and its arguments."""

    folders: tuple[str, ...]
    ontology: Mapping[str, str]
    base: str
    args: Mapping[str, Any]


# The classes of which the base finds at least ten objects on these photos.
_COCO = ("person", "car", "chair", "book", "cup", "bottle", "dog", "bird")
SETS = {
    "mushrooms": LabeledSet(
        ("mushrooms/train", "mushrooms/valid", "mushrooms/test"), {"bright": "Mushroom"}, "threshold", {}
    ),
    "fruits_nuts": LabeledSet(
        ("fruits_nuts/train",),
        {"#6b2a28:25": "date", "#8a5a40:20": "hazelnut", "#524d40:20": "fig"},
        "threshold",
        {"min_area": 0.001, "split": 0.5, "opening": 5},
    ),
    "coco_permissive": LabeledSet(
        ("coco_permissive/train", "coco_permissive/valid"),
        {name: name for name in _COCO},
        "{shared}/baselines/onnx_teacher.py:OnnxTeacher",
        {"floor": 0.1},
    ),
    # Half as fine a split as the demo's: with it the base errs more often.
    "drawn scenes": LabeledSet((), ONTOLOGY, "threshold", {"split": 0.35}),
}


def labeled_gold(name: str, shared: Path, cache: Path) -> tuple[GroundTruth, dict[str, ImageLabels]]:
    """The gold images of a set in the base's classes, and the base's labels of each by its image id.

    The base's labels are stored in `cache` and taken from there the next time.
    """
    chosen = SETS[name]
    classes = Classes.from_ontology(chosen.ontology)
    source = BaseSource.from_config(
        BaseConfig(name=chosen.base.format(shared=shared.resolve()), args=dict(chosen.args)), classes
    )
    truth = _gold(chosen.folders, shared / "data", cache, classes)
    folder = cache / name.replace(" ", "_")
    label_images(source, [(image.path, image.image_id) for image in truth.images], folder, progress=True)
    store = LabelStore(folder)
    keys = store.keys(source.provenance.fingerprint)
    return truth, {image.image_id: store.read(keys[image.image_id]).with_classes(classes) for image in truth.images}


def _gold(folders: Sequence[str], data: Path, cache: Path, classes: Classes) -> GroundTruth:
    places = [data / folder for folder in folders]
    if not places:
        drawn = cache / "scenes"
        places = [(drawn if drawn.is_dir() else write_scenes(drawn, SCENES)) / "gold"]
    parts = [coco.align(coco.read(place), classes) for place in places]
    return coco.ground_truth(classes, tuple(image for part in parts for image in part.images))
