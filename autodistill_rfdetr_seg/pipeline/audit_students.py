"""The students of an audit: each is trained on all folds of a run's labels but one, and predicts the images of that."""

from __future__ import annotations

import dataclasses
import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from .. import coco
from ..core.config import PipelineConfig
from ..core.errors import DataError
from ..core.plain_text import counted
from ..core.types import GroundTruth, ImagePredictions, SegDataset, TruthImage
from ..dataset.dataset_index import INDEX, annotations_fingerprint, read_dataset
from ..dataset.fold_assignment import assign_student_splits
from ..evaluation.gold_predictions import predict_gold, target_predictor
from ..system.files import fingerprint, link_or_copy, read_json, replacing_folder, restore_folder, write_json
from .target_training import train_if_changed

_log = logging.getLogger(__name__)
_PREDICTIONS = "predictions.json"


@dataclass(frozen=True)
class FoldedLabels:
    """A run's labels as `truth`, whose image ids are the paths of the user's files; per path the group of images that
    stay together, the fold, and the SHA-256 of the file."""

    truth: GroundTruth
    group_of: Mapping[str, str]
    fold_of: Mapping[str, int]
    sha256_of: Mapping[str, str]


def held_out_predictions(
    config: PipelineConfig, labels: FoldedLabels, folder: Path, *, progress: bool = True
) -> list[ImagePredictions]:
    """What the students find in each image, by the student that never saw it or an image of its group.

    Student K is in `folder/fold_K`; it is trained with `config.target` unless it was trained on the same labels with
    the same options, and an interrupted training is resumed. Its predictions above `evaluation.score_floor` are kept
    there too.

    Raises:
        DataError: the images that a student trains on have no label.
        TrainingError: a training failed.
    """
    truth, fold_of = labels.truth, labels.fold_of
    folds = max(fold_of.values()) + 1
    found: list[ImagePredictions] = []
    took: list[float] = []
    for fold in range(folds):
        held_out = [image for image in truth.images if fold_of[image.image_id] == fold]
        others = [image for image in truth.images if fold_of[image.image_id] != fold]
        _log.info(_begin_text(fold, folds, len(others), len(truth.images), took))
        started = time.perf_counter()
        place = folder / f"fold_{fold}"
        dataset = _write_student_dataset(place / "dataset", others, labels, config.target.seed)
        some, was_trained = _predict(config, dataset, place, held_out, labels, progress)
        found += some
        if was_trained:
            took.append(time.perf_counter() - started)
    return found


def _begin_text(fold: int, folds: int, seen: int, images: int, took: Sequence[float]) -> str:
    text = f"Student {fold + 1} of {folds} learns from {seen} of {counted(images, 'image')}."
    if not took:
        share = folds - 1
        return f"{text} All students together take about as long as {counted(share, 'training')} on all images."
    left = max(took) * (folds - fold) / 60
    return f"{text} The students before took {sum(took) / 60:.0f} minutes; about {left:.0f} minutes are left."


def _write_student_dataset(folder: Path, images: Sequence[TruthImage], labels: FoldedLabels, seed: int) -> SegDataset:
    """The dataset of one student, written unless it is there already: hard links, and the labels as they were built."""
    labeled = [image.image_id for image in images if image.instances]
    group_of = {image.image_id: labels.group_of[image.image_id] for image in images}
    split_of = assign_student_splits(group_of, labeled, seed)
    classes = labels.truth.classes
    if {split_of[name] for name in labeled} != {"train", "valid"}:
        raise DataError(
            f"Of {counted(len(images), 'image')} for a student to learn from, {len(labeled)} have labels: too few.",
            "Label more images, or use more folds.",
        )
    stated = [[split_of[image.image_id], labels.sha256_of[image.image_id], _content(image)] for image in images]
    inputs = fingerprint(stated, classes.names)
    restore_folder(folder)
    if not (folder / INDEX).is_file() or read_json(folder / INDEX).get("inputs") != inputs:
        with replacing_folder(folder) as new:
            counts = {}
            for split in ("train", "valid"):
                of_split = [image for image in images if split_of[image.image_id] == split]
                (new / split).mkdir()
                entries = _linked(of_split, new / split)
                counts[split] = coco.write(new / split / coco.ANNOTATIONS, entries, classes, {})
            names = {"classes": list(classes.names), "counts": counts, "inputs": inputs}
            write_json(new / INDEX, {**names, "fingerprint": annotations_fingerprint(new)})
    return read_dataset(folder)


def _content(image: TruthImage) -> list[object]:
    return [[one.class_index, one.rle.height, one.rle.width, one.rle.counts.decode()] for one in image.instances]


def _linked(images: Sequence[TruthImage], folder: Path) -> Iterator[tuple[str, TruthImage]]:
    for image in images:
        link_or_copy(image.path, folder / image.path.name)
        yield image.path.name, image


def _predict(
    config: PipelineConfig,
    dataset: SegDataset,
    place: Path,
    images: Sequence[TruthImage],
    labels: FoldedLabels,
    progress: bool,
) -> tuple[list[ImagePredictions], bool]:
    """The student's predictions for `images`, and whether it was trained now. What is there from before is used."""
    from ..targets import RFDETRSeg

    megapixels = config.inputs.max_megapixels
    trained, was_trained = train_if_changed(
        config.target, dataset, place / "training", max_megapixels=megapixels, progress=progress
    )
    truth = dataclasses.replace(labels.truth, images=tuple(images))
    options, names = config.evaluation, [[image.image_id, labels.sha256_of[image.image_id]] for image in images]
    how = {"floor": options.score_floor, "tiles": options.tiles, "overlap": options.overlap}
    inputs = fingerprint(trained.checkpoint_sha256, names, how)
    file = place / _PREDICTIONS
    stored = _stored_predictions(file, inputs, images)
    if stored is not None:
        return stored, was_trained
    model = RFDETRSeg.from_checkpoint(trained.checkpoint, device=config.target.device)
    predict = target_predictor(model, options.score_floor, len(truth.classes.names), options.tiles, options.overlap)
    found = predict_gold(predict, truth, max_megapixels=megapixels, progress=progress)
    rows = {one.image_id: [coco.instance_row(instance, truth.classes) for instance in one.instances] for one in found}
    write_json(file, {"inputs": inputs, "images": rows})
    return found, was_trained


def _stored_predictions(file: Path, inputs: str, images: Sequence[TruthImage]) -> list[ImagePredictions] | None:
    """The predictions in a file for `images`; None if it is not there, is damaged, or was made from other inputs."""
    try:
        stored = read_json(file) if file.is_file() else {}
        if stored.get("inputs") != inputs:
            return None
        return [
            ImagePredictions(
                image.image_id,
                tuple(coco.read_instance(row, image.height, image.width) for row in stored["images"][image.image_id]),
            )
            for image in images
        ]
    except (DataError, KeyError, TypeError, ValueError, AttributeError) as error:
        _log.warning("%s cannot be used (%s): the student predicts again.", file, error)
        return None
