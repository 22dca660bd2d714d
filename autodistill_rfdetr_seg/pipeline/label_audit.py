"""The audit of a run's labels: students that are trained on folds of them, and what each says against the labels of the
images that it never saw."""

from __future__ import annotations

import dataclasses

from .. import coco
from ..core.config import AUDIT_FOLDS, PipelineConfig
from ..core.errors import DataError, UsageError
from ..core.plain_text import counted
from ..core.types import GroundTruth, ImagePredictions
from ..dataset.dataset_index import read_dataset, read_index
from ..dataset.fold_assignment import assign_folds, fold_groups
from ..labels.current_labels import CurrentLabels
from ..labels.label_account import read_account
from ..labels.stored_labels import HUMAN
from ..review.audit_order import audit_items, students_text
from ..review.audit_record import LabelAudit
from ..review.review_order import review_candidates
from ..review.student_agreement import measure_students
from ..system.files import write_json
from ..system.locks import locked
from ..system.run_folder import RunFolder
from .audit_students import FoldedLabels, held_out_predictions

_MOST_FOLDS = 10


def audit_labels(
    config: PipelineConfig, run: RunFolder, folds: int = AUDIT_FOLDS, *, progress: bool = True
) -> LabelAudit:
    """Trains `folds` students, each on the run's labels without one fold, and orders the labels by what they say.

    The students are trained as `config.target` says, which need not be the run's. They stay in `run/audit` and are used
    again if their labels and options are the same; an interrupted audit is resumed. Images that a person corrected are
    learned from, and not judged. The result is written to `run/audit/audit.json`.

    Raises:
        UsageError: `folds` is not within 2..10.
        DataError: the run has no dataset, no labels or too few images; another process builds or trains here.
        TrainingError: a training failed.
    """
    if not 2 <= folds <= _MOST_FOLDS:
        raise UsageError(f"An audit with {folds} folds is not possible.", f"Give a number from 2 to {_MOST_FOLDS}.")
    with locked(run.root):
        labels = folded_labels(config, run, folds)
        predictions = held_out_predictions(config, labels, run.audit, progress=progress)
        audit = _audit(run, labels, predictions)
        write_json(run.audit_file, audit.as_json())
    return audit


def folded_labels(config: PipelineConfig, run: RunFolder, folds: int) -> FoldedLabels:
    """The labels of a run's dataset in folds; copies, look-alikes and frames of one video are in one fold.

    Raises:
        DataError: there is no dataset or no label, there are too few images, or the label store lacks some of them.
    """
    truth, index = _dataset_truth(run), read_index(run.dataset)
    if not any(image.instances for image in truth.images):
        raise DataError(f"The dataset of {run.root} has no labels to audit.", "Loosen the rules of `build`.")
    account = read_account(run.labels)
    rows = CurrentLabels.from_stores(run.labels, run.human, account, account.root or run.root)
    keys = {path: rows.keys[path] for path in index["images"] if path in rows.keys}
    if len(keys) < len(index["images"]):
        lost = counted(len(index["images"]) - len(keys), "image")
        raise DataError(f"The labels of {lost} of the dataset are not in {run.labels}.", "Run `build` again.")
    group_of = fold_groups(keys, account.groups, config.split, folds)
    fold_of = assign_folds(group_of, folds, config.split.seed)
    return FoldedLabels(truth, group_of, fold_of, {path: row["sha256"] for path, row in index["images"].items()})


def _dataset_truth(run: RunFolder) -> GroundTruth:
    """The labels of all splits; the id of an image is the path of the user's file."""
    index = read_index(run.dataset)
    paths = {(row["split"], row["file_name"]): path for path, row in index["images"].items()}
    parts = {split: coco.read(run.dataset / split) for split in index["counts"]}
    images = [
        dataclasses.replace(image, image_id=paths[split, image.image_id])
        for split, part in parts.items()
        for image in part.images
    ]
    first = next(iter(parts.values()))
    return dataclasses.replace(first, images=tuple(sorted(images, key=lambda image: image.image_id)))


def _audit(run: RunFolder, labels: FoldedLabels, predictions: list[ImagePredictions]) -> LabelAudit:
    index, truth = read_index(run.dataset), labels.truth
    found = {one.image_id: one for one in predictions}
    folds = [
        dataclasses.replace(truth, images=tuple(one for one in truth.images if labels.fold_of[one.image_id] == fold))
        for fold in sorted(set(labels.fold_of.values()))
    ]
    own = [[found[image.image_id] for image in fold.images] for fold in folds]
    students = measure_students(folds, own)
    recalibrated: list[ImagePredictions] = []
    known: dict[str, frozenset[int]] = {}
    for fold, predicted, student in zip(folds, own, students, strict=True):
        recalibrated += student.recalibrated(predicted)
        classes = frozenset(truth.classes.names.index(name) for name in student.known)
        known |= {image.image_id: classes for image in fold.images}
    by_people = {path for path, row in index["images"].items() if row.get("source") == HUMAN}
    judged = [image for image in truth.images if image.image_id not in by_people]
    split_of = {path: row["split"] for path, row in index["images"].items()}
    items = audit_items(judged, recalibrated, known, review_candidates(run), truth.classes, split_of)
    notes = students_text(students)
    if by_people:
        notes.append(f"{counted(len(by_people), 'image')} that a person corrected are learned from and not judged.")
    if items and all(one.rank is None for one in items):
        notes.append("All scores are equal and no label has a stability: nothing gives an order.")
    rows = tuple(one.as_json() for one in students)
    return LabelAudit(read_dataset(run.dataset).fingerprint, rows, tuple(notes), tuple(items))
