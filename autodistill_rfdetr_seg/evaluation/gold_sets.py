"""The gold sets of an evaluation: read, combined, and without images the target was trained or selected on."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce
from operator import add
from pathlib import Path
from typing import Any

from .. import coco, evaluation
from ..core.config import MAX_MEGAPIXELS, PipelineConfig
from ..core.errors import DataError, UsageError
from ..core.types import Classes, GroundTruth, ImagePredictions, TruthImage
from ..dataset.dataset_index import read_dataset, split_of_content
from ..readers import read_gold as read_one
from ..system.file_hash import file_sha256
from ..system.files import fingerprint
from ..system.run_folder import RunFolder
from . import gold_look_alikes as look_alikes
from .gold_groups import GoldGroups, gold_groups
from .gold_look_alikes import HeldOut, LookAlike


@dataclass(frozen=True)
class GoldSets:
    """Gold sets in a model's classes: all together (`truth`), and each by name with the ids of its file (`parts`).

    With several sets, the id of an image starts with the name of its set. `matches` say what of each set the classes
    leave out.
    """

    truth: GroundTruth
    parts: Mapping[str, GroundTruth]
    matches: Mapping[str, coco.ClassMatch]

    @property
    def match(self) -> coco.ClassMatch:
        """What the classes leave out, of all sets."""
        return reduce(add, self.matches.values())


@dataclass(frozen=True)
class Gold:
    """What a run's predictions are compared with.

    `scored` are the images that the scores are computed on: the held-out images, or `whole` if none is held out;
    `whole` includes look-alikes of training images. `human` says whether people made the labels; `held_out` is None
    if they did not. `contents` maps the id of each image in `whole` to the SHA-256 of its file; empty if they did not.
    `groups` are the groups of gold images that look alike; an image that is in none is alone. `nearest` is the nearest
    image of the train and valid splits of each image; empty if that was not looked for.
    """

    scored: GoldSets
    whole: GoldSets
    human: bool
    held_out: HeldOut | None = None
    contents: Mapping[str, str] = field(default_factory=dict)
    groups: GoldGroups = field(default_factory=GoldGroups)
    nearest: Mapping[str, LookAlike] = field(default_factory=dict)

    @property
    def truth(self) -> GroundTruth:
        """The images that the scores are computed on, of all sets."""
        return self.scored.truth

    @property
    def sets(self) -> tuple[str, ...]:
        """The names of the sets."""
        return tuple(self.whole.parts)

    @property
    def left_out(self) -> int:
        """How many images have the content of an image of the train or valid split and were left out."""
        return 0 if self.held_out is None else self.held_out.same_content

    @property
    def ids_fingerprint(self) -> str:
        """Changes with the ids in the gold files, which the predictions are written with."""
        parts = self.whole.parts.values()
        return fingerprint([[str(part.category_ids), *(str(image.file_id) for image in part.images)] for part in parts])


def read_gold(config: PipelineConfig, run: RunFolder) -> Gold:
    """The gold set of a run, without images whose content the target was trained or selected on.

    Raises:
        DataError: no image is left, or the classes are not the run's.
    """
    dataset = read_dataset(run.dataset)
    if not config.evaluation.gold:
        test = run.dataset / "test"
        if not test.is_dir():
            raise DataError(
                "There is nothing to evaluate on: no gold set is given, and the dataset has no test split.",
                "Give --gold COCO.json, or a test split with a fraction above 0.",
            )
        sets = in_classes({"test": coco.read(test)}, dataset.classes)
        return Gold(sets, sets, human=False)
    split_of = split_of_content(run.dataset)
    contents: dict[str, tuple[Path, str]] = {}
    raw: dict[str, GroundTruth] = {}
    left_out = 0
    for name, truth in named_sets(config.evaluation.gold, config.inputs.max_megapixels).items():
        kept: list[TruthImage] = []
        for image in truth.images:
            sha256 = file_sha256(image.path)
            if split_of.get(sha256) in (None, "test"):
                kept.append(image)
                contents[image.image_id] = (image.path, sha256)
        left_out += len(truth.images) - len(kept)
        raw[name] = dataclasses.replace(truth, images=tuple(kept))
    if not contents:
        raise DataError(
            f"No image of the gold set is held out: all {left_out} are in the train or valid split.",
            "Keep some annotated images out of the labeled folder, or give the test split a fraction above 0.",
        )
    bits = config.evaluation.look_alikes
    looks = look_alikes.compare(run, contents, bits, left_out, config.inputs.max_megapixels)
    held_out = looks.held_out
    more: dict[str, Any] = {"groups": gold_groups(looks.hashes, bits or 0), "nearest": looks.nearest}
    alike = {one.image for one in held_out.look_alikes}
    whole = in_classes(raw, dataset.classes)
    hashes = {image_id: sha256 for image_id, (_, sha256) in contents.items()}
    if not held_out.images or not alike:
        return Gold(whole, whole, True, held_out, hashes, **more)
    scored = in_classes({name: without(truth, alike) for name, truth in raw.items()}, dataset.classes)
    return Gold(scored, whole, True, held_out, hashes, **more)


def check_gate_names(config: PipelineConfig, classes: Classes) -> None:
    """Refuses a gate that names no metric of a run with these classes and the gold sets of the configuration.

    Raises:
        UsageError: as `evaluation.check_gates`.
    """
    sets = set_names([Path(path) for path in config.evaluation.gold])
    evaluation.check_gate_names(config.evaluation.all_gates, classes, sets, HeldOut(0, 0).to_dict() if sets else None)


def named_sets(paths: Sequence[str | Path], max_megapixels: float = MAX_MEGAPIXELS) -> dict[str, GroundTruth]:
    """Gold sets by name; with several sets, the id of an image starts with the name of its set.

    Raises:
        UsageError: a set is given twice.
        MissingInputError, DataError: one is missing or wrong.
    """
    files = [Path(path) for path in paths]
    if twice := [path for path, count in Counter(path.resolve() for path in files).items() if count > 1]:
        raise UsageError(f"The gold set {twice[0]} is given twice: its images would count twice.", "Give it once.")
    found = {}
    for path, name in zip(files, set_names(files), strict=True):
        truth = read_one(path, images="checked", max_megapixels=max_megapixels)
        prefix = f"{name}/" if len(files) > 1 else ""
        images = tuple(dataclasses.replace(image, image_id=prefix + image.image_id) for image in truth.images)
        found[name] = dataclasses.replace(truth, images=images)
    return found


def in_classes(sets: Mapping[str, GroundTruth], classes: Classes) -> GoldSets:
    """Gold sets in a model's classes, matched by name.

    Raises:
        DataError: a set shares no class with the model.
    """
    parts = {name: coco.align(truth, classes) for name, truth in sets.items()}
    matches = {name: coco.match_classes(truth, classes) for name, truth in sets.items()}
    if len(parts) == 1:
        (truth,) = parts.values()
    else:
        images = tuple(image for part in parts.values() for image in part.images)
        prints = [fingerprint(part.fingerprint, [image.image_id for image in part.images]) for part in parts.values()]
        truth = GroundTruth(classes, images, fingerprint(prints))
    return GoldSets(truth, parts, matches)


def without(truth: GroundTruth, names: set[str]) -> GroundTruth:
    """The gold set without the images with these ids."""
    return dataclasses.replace(truth, images=tuple(image for image in truth.images if image.image_id not in names))


def predictions_for(truth: GroundTruth, predictions: Sequence[ImagePredictions]) -> list[ImagePredictions]:
    """The predictions for the images of a gold set."""
    ids = {image.image_id for image in truth.images}
    return [prediction for prediction in predictions if prediction.image_id in ids]


def set_names(paths: Sequence[Path]) -> tuple[str, ...]:
    """The name of each gold set: that of its file or folder."""
    names = [path.stem.split(".")[0] if path.is_file() else path.name for path in paths]
    if any(name.startswith("_") for name in names):
        names = [path.parent.name if path.is_file() else path.name for path in paths]
    return tuple(name if names.count(name) == 1 else f"{name}-{at}" for at, name in enumerate(names, 1))
