"""A run's gold images with the labels of its base: what `calibrate` and `tune` learn from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ..core.config import PipelineConfig
from ..core.errors import DataError, UsageError
from ..core.types import Classes, GroundTruth, ImageLabels
from ..evaluation.evaluator import crowds_as_objects
from ..evaluation.gold_predictions import base_rows
from ..evaluation.gold_sets import Gold, in_classes, named_sets
from ..labels.base_source import source_of
from ..labels.label_account import read_account
from ..labels.label_store import LabelStore
from ..system.file_hash import file_sha256
from ..system.run_folder import RunFolder


@dataclass(frozen=True)
class GoldLabels:
    """The gold images in the classes of a run, and the base's labels of each by its id, without any rule.

    `not_annotated` are the run's classes that a gold set lacks. `other_images` is the number of the run's labeled
    images that are not gold images.
    """

    truth: GroundTruth
    labels: Mapping[str, ImageLabels]
    not_annotated: tuple[str, ...]
    other_images: int


def read_gold_labels(
    config: PipelineConfig, run: RunFolder, gold: Sequence[str | Path], *, progress: bool = True
) -> GoldLabels:
    """The gold sets with the base's labels, from the run's store where it has them; the base is asked for the others.

    Images in the train split count too: the base has not learned from them. `gold` are COCO files or folders; without
    any, those of the configuration are taken.

    Raises:
        UsageError: no gold set is given.
        MissingInputError, DataError: one is missing or wrong, has no object of the run's classes, or the base has no
            labels of an image.
    """
    paths = [Path(path) for path in (gold or config.evaluation.gold)]
    if not paths:
        raise UsageError("There is no gold set.", "Give --gold COCO.json: images with masks that people drew.")
    classes = Classes.from_ontology(config.ontology)
    raw = named_sets(paths, config.inputs.max_megapixels)
    sets = in_classes(raw, classes)
    if config.evaluation.crowds == "objects":
        sets = replace(sets, truth=crowds_as_objects(sets.truth))
    truth = sets.truth
    if not any(not one.crowd for image in truth.images for one in image.instances):
        raise DataError(
            "The gold set has no object of the run's classes; crowds do not count.",
            "Draw masks of them, or give --crowds objects if its crowds are objects.",
        )
    contents = {image.image_id: file_sha256(image.path) for image in truth.images}
    rows = base_rows(config, run, Gold(sets, sets, human=True, contents=contents), progress)
    if rows is None:
        raise DataError(
            f"The base {config.base.name} has no labels for some gold images.",
            "It answers for images that it knows: take gold images from the run's folder.",
        )
    annotated = [{at for at in match.indices if at is not None} for match in sets.matches.values()]
    lacking = tuple(name for at, name in enumerate(classes.names) if not all(at in one for one in annotated))
    labels = {image_id: row.with_classes(classes) for image_id, row in rows.items()}
    return GoldLabels(truth, labels, lacking, _other_images(config, run, set(contents.values())))


def _other_images(config: PipelineConfig, run: RunFolder, gold: set[str]) -> int:
    names = set(read_account(run.labels).images)
    keys = LabelStore(run.labels).keys(source_of(config).provenance.fingerprint)
    return sum(path in names and key.sha256 not in gold for path, key in keys.items())
