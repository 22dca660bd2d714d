"""Sorts the labels of a run's dataset by what a person should check first: by score and stability, or by an audit."""

from __future__ import annotations

import csv
import dataclasses
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from .. import coco
from ..core.config import RefineConfig, options
from ..core.errors import UsageError
from ..core.plain_text import number, table
from ..core.types import Classes, ImageLabels, ImageRecord, Instance, Rejected
from ..dataset.dataset_index import INDEX, read_index
from ..dataset.refine_rules.minimum_confidence import class_thresholds
from ..drawing.contact_sheet import SheetImage, SheetText, write_sheet
from ..labels.stored_labels import HUMAN
from ..system.config_files import run_megapixels
from ..system.files import write_json, write_text
from ..system.run_folder import REVIEWS, RunFolder
from .audit_record import AuditItem, LabelAudit, read_audit

# Limits for the reasons shown with a label; the order does not depend on them.
UNSTABLE = 0.5
NEAR_THRESHOLD = 0.1
POOR_MASK = 0.5
_LINES_SHOWN = 20


@dataclass(frozen=True, slots=True)
class Entry:
    """One label; `image` is the path of the user's file, `annotation_id` the id in the COCO file of the split.

    `reasons` are none or some of `unstable`, `near_threshold` (the score is just above the threshold of the class) and
    `poor_mask` (the segmenter gave the mask a low score). In the order of an audit, the kind of its suspicion comes
    first: see `label_suspicions.Kind`. An object that has no label (`missed`) has no `annotation_id`, and the score of
    the student that found it.
    """

    split: str
    image: str
    annotation_id: int | None
    class_name: str
    score: float
    stability: float | None
    mask_score: float | None
    reasons: tuple[str, ...]

    @property
    def reference(self) -> str:
        """The argument of `explain`; for an object without a label, its split and a dash."""
        return f"{self.split}:{'–' if self.annotation_id is None else self.annotation_id}"


@dataclass(frozen=True, slots=True)
class Review:
    """The labels in the order to check them, and the files written; without labels there are no pictures."""

    entries: tuple[Entry, ...]
    files: Mapping[str, Path]

    def as_json(self) -> dict[str, Any]:
        """JSON-ready data."""
        files = {name: str(path) for name, path in self.files.items()}
        return {"files": files, "labels": [dataclasses.asdict(entry) for entry in self.entries]}


@dataclass(frozen=True, slots=True)
class Candidate:
    """A label or an object without one, its margin (score minus threshold), its mask, and the image file to draw on."""

    entry: Entry
    margin: float
    instance: Instance
    file: Path


def review(run: RunFolder, count: int, order: Literal["scores", "audit"] = "scores") -> Review:
    """Sorts the labels of the run's dataset; writes `review.json`, `review.csv`, `review.png` and `review.html`.

    The contact sheet shows the first `count` labels, image by image. Images that a person corrected are left out. The
    order "scores" is that of `review_ranks`, "audit" that of the run's last audit, which has missed objects too.

    Raises:
        UsageError: `count` is below 1.
        DataError: the run has no dataset; with "audit", it has no audit of these labels.
    """
    if count < 1:
        raise UsageError(f"A contact sheet of {count} labels is empty.", "Ask for at least 1 label.")
    labels = review_candidates(run)
    if order == "audit":
        ordered = _audited(run, labels, read_audit(run))
        by = "the run's audit: what students that never saw an image say against its labels"
    else:
        ordered = [labels[at] for at in np.argsort(candidate_ranks(labels), kind="stable")]
        by = "stability and by how close the score is to the threshold"
    return _write(run, labels, ordered, count, by)


def _write(run: RunFolder, labels: Sequence[Candidate], ordered: Sequence[Candidate], count: int, by: str) -> Review:
    classes = Classes(tuple(read_index(run.dataset)["classes"]))
    files = {kind: run.review(kind) for kind in (REVIEWS if ordered else ("csv", "json"))}
    write_text(files["csv"], _csv([one.entry for one in ordered]))
    if ordered:
        shown = ordered[:count]
        summary = (
            f"The first {len(shown)} of {len(ordered)} labels, sorted by {by}. "
            "`autodistill-seg explain RUN NAME` explains each."
        )
        text = SheetText("Labels to check first", summary, {}, kept="Other labels", taken="To check")
        images = _sheet_images(shown, labels)
        write_sheet(files["png"], files["html"], images, classes, text, max_megapixels=run_megapixels(run))
    result = Review(tuple(one.entry for one in ordered), files)
    write_json(files["json"], [dataclasses.asdict(entry) for entry in result.entries])
    return result


def review_candidates(run: RunFolder) -> list[Candidate]:
    """The labels of the run's dataset, without those in images that a person corrected.

    Raises:
        DataError: the run has no dataset.
    """
    index = read_index(run.dataset)
    return [one for split in index["counts"] for one in _candidates(run, index, split)]


def candidate_ranks(labels: Sequence[Candidate]) -> npt.NDArray[np.float64]:
    """The `review_ranks` of labels."""
    return review_ranks([one.margin for one in labels], [one.entry.stability for one in labels])


def review_ranks(margins: Sequence[float], stabilities: Sequence[float | None]) -> npt.NDArray[np.float64]:
    """The rank (N,) of each label in 0..1; the label with the lowest rank is to be checked first.

    It is the mean of the ranks by stability and by margin (score minus threshold), or the rank by margin if a label has
    no stability. On real datasets each of the two fails where the other works (`benchmarks/review_order.py`).
    """
    by_margin = _relative_ranks(np.array(margins, dtype=np.float64))
    stability = np.array([np.nan if one is None else one for one in stabilities], dtype=np.float64)
    known = np.isfinite(stability)
    by_stability = by_margin.copy()
    by_stability[known] = _relative_ranks(stability[known])
    ranks: npt.NDArray[np.float64] = (by_margin + by_stability) / 2
    return ranks


def review_text(found: Review) -> str:
    """The first labels as text for a terminal, and the files with all of them."""
    rows = [
        [e.reference, e.class_name, number(e.score), number(e.stability), ", ".join(e.reasons), e.image]
        for e in found.entries[:_LINES_SHOWN]
    ]
    head = ["label", "class", "score", "stability", "reasons", "image"]
    lines = [table(head, rows)] if rows else ["there are no labels to check"]
    if len(found.entries) > _LINES_SHOWN:
        lines.append(f"… {len(found.entries) - _LINES_SHOWN} more")
    return "\n".join([*lines, *(f"{name:<9}{path}" for name, path in found.files.items())])


def label_thresholds(run: RunFolder, index: Mapping[str, Any]) -> dict[str, float]:
    """The score threshold of each class name that the run's dataset was built with."""
    refine = options(RefineConfig, index["options"]["refine"], str(run.dataset / INDEX))
    names = tuple(index["classes"])
    return dict(zip(names, class_thresholds(refine, Classes(names)), strict=True))


def _relative_ranks(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The fraction of values below each one; equal values get their mean rank."""
    order = np.sort(values)
    below, upto = (np.searchsorted(order, values, side) for side in ("left", "right"))
    return np.asarray((below + upto) / (2 * max(1, len(values))), dtype=np.float64)


def _audited(run: RunFolder, labels: Sequence[Candidate], audit: LabelAudit) -> list[Candidate]:
    """The labels and the missed objects in the order of an audit."""
    of_reference = {(one.entry.split, one.entry.annotation_id): one for one in labels}
    index = read_index(run.dataset)
    ordered = []
    for item in audit.items:
        one = of_reference.get((item.split, item.annotation_id)) or _missed(run, index, item)
        reasons = (*([item.kind] if item.kind else []), *one.entry.reasons)
        ordered.append(dataclasses.replace(one, entry=dataclasses.replace(one.entry, reasons=reasons)))
    return ordered


def _missed(run: RunFolder, index: Mapping[str, Any], item: AuditItem) -> Candidate:
    assert item.rle is not None and item.found_score is not None
    entry = Entry(item.split, item.image, None, item.class_name, item.found_score, None, None, ())
    instance = Instance(index["classes"].index(item.class_name), item.rle, item.found_score)
    return Candidate(entry, 0.0, instance, run.dataset / item.split / index["images"][item.image]["file_name"])


def _candidates(run: RunFolder, index: Mapping[str, Any], split: str) -> Iterator[Candidate]:
    """The labels of a split in images that no person corrected, in the order of the file."""
    folder = run.dataset / split
    paths = {e["file_name"]: path for path, e in index["images"].items() if e["split"] == split}
    by_people = {path for path, e in index["images"].items() if e.get("source") == HUMAN}
    truth, rows = coco.read(folder), coco.read_rows(folder)
    thresholds = label_thresholds(run, index)
    for image in truth.images:
        if paths[image.image_id] in by_people:
            continue
        for one, row in zip(image.instances, rows[image.image_id], strict=True):
            name = truth.classes.names[one.class_index]
            stability, mask_score = row.get("stability"), row.get("mask_score")
            margin = row["score"] - thresholds[name]
            reasons = _reasons(stability, mask_score, margin if thresholds[name] else None)
            entry = Entry(split, paths[image.image_id], row["id"], name, row["score"], stability, mask_score, reasons)
            class_index = index["classes"].index(name)
            yield Candidate(entry, margin, Instance(class_index, one.rle, row["score"]), image.path)


def _reasons(stability: float | None, mask_score: float | None, margin: float | None) -> tuple[str, ...]:
    applies = {
        "unstable": stability is not None and stability < UNSTABLE,
        "near_threshold": margin is not None and margin < NEAR_THRESHOLD,
        "poor_mask": mask_score is not None and mask_score < POOR_MASK,
    }
    return tuple(reason for reason, yes in applies.items() if yes)


def _csv(entries: Sequence[Entry]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([field.name for field in dataclasses.fields(Entry)])
    for entry in entries:
        *values, reasons = dataclasses.astuple(entry)
        writer.writerow([*("" if value is None else value for value in values), " ".join(reasons)])
    return text.getvalue()


def _sheet_images(shown: Sequence[Candidate], all_: Sequence[Candidate]) -> Iterator[SheetImage]:
    """The images of the labels to show, in that order: those labels as rejected, the other labels as kept."""
    chosen = {one.entry.reference for one in shown}
    for file in dict.fromkeys(one.file for one in shown):
        of_image = [one for one in all_ if one.file == file]
        first = next(one for one in shown if one.file == file)
        rle = first.instance.rle
        record = ImageRecord("", first.entry.image, rle.height, rle.width, "")
        others = tuple(one.instance for one in of_image if one.entry.reference not in chosen)
        to_check = tuple(Rejected(one.instance, _caption(one.entry)) for one in shown if one.file == file)
        yield SheetImage(file, ImageLabels(record, others, to_check))


def _caption(entry: Entry) -> str:
    """What a picture says of an entry: what `explain` takes, or that it has no label."""
    return "missed" if entry.annotation_id is None else entry.reference
