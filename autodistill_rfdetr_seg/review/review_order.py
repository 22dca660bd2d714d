"""Which labels of a run's dataset a person should look at first."""

from __future__ import annotations

import csv
import dataclasses
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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
from ..labels.label_store import HUMAN
from ..system.config_files import run_megapixels
from ..system.files import write_json, write_text
from ..system.run_folder import REVIEWS, RunFolder

# What a reason is given for: no order follows from these.
UNSTABLE = 0.5
NEAR = 0.1
POOR_MASK = 0.5
_SHOWN = 20


@dataclass(frozen=True, slots=True)
class Entry:
    """One label; `image` is the path of the user's file, `annotation_id` that of the split's COCO file.

    `reasons` are some of `unstable`, `near_threshold` (its score is little over its class's threshold), `poor_mask`
    (the segmenter's own score is low); there may be none.
    """

    split: str
    image: str
    annotation_id: int
    class_name: str
    score: float
    stability: float | None
    mask_score: float | None
    reasons: tuple[str, ...]

    @property
    def reference(self) -> str:
        """What `explain` takes."""
        return f"{self.split}:{self.annotation_id}"


@dataclass(frozen=True, slots=True)
class Review:
    """The labels in the order to look at them, and the files that say so; no pictures where there are no labels."""

    entries: tuple[Entry, ...]
    files: Mapping[str, Path]

    def as_json(self) -> dict[str, Any]:
        """JSON-ready data."""
        files = {name: str(path) for name, path in self.files.items()}
        return {"files": files, "labels": [dataclasses.asdict(entry) for entry in self.entries]}


@dataclass(frozen=True, slots=True)
class _Found:
    """A label, what it is ordered by, and where it is drawn."""

    entry: Entry
    margin: float
    instance: Instance
    file: Path


def review(run: RunFolder, count: int) -> Review:
    """Orders the labels of the run's dataset; writes `review.json`, `review.csv`, `review.png` and `review.html`.

    The sheet shows the first `count` labels, image by image. Images that a person has worked on are left out.

    Raises:
        UsageError: `count` is under 1.
        DataError: the run has no dataset.
    """
    if count < 1:
        raise UsageError(f"A sheet of {count} labels is none.", "Ask for at least 1.")
    index = read_index(run.dataset)
    classes = Classes(tuple(index["classes"]))
    found = [one for split in index["counts"] for one in _labels(run, index, split)]
    places = ranking([one.margin for one in found], [one.entry.stability for one in found])
    ordered = [found[at] for at in np.argsort(places, kind="stable")]
    files = {kind: run.review(kind) for kind in (REVIEWS if found else ("csv", "json"))}
    write_text(files["csv"], _csv([one.entry for one in ordered]))
    if ordered:
        shown = ordered[:count]
        summary = (
            f"The first {len(shown)} of {len(found)} labels, by stability and by how little their scores are over the "
            "threshold. Each is named as `autodistill-seg explain` takes it."
        )
        text = SheetText("Labels to look at first", summary, {}, kept="Other labels", taken="To look at")
        images = _sheet_images(shown, found)
        write_sheet(files["png"], files["html"], images, classes, text, max_megapixels=run_megapixels(run))
    result = Review(tuple(one.entry for one in ordered), files)
    write_json(files["json"], [dataclasses.asdict(entry) for entry in result.entries])
    return result


def ranking(margins: Sequence[float], stabilities: Sequence[float | None]) -> npt.NDArray[np.float64]:
    """The place (N,) in 0..1 of each label, the least to be looked at first: the mean of its places by stability and by
    margin, the score less the threshold; by margin alone where it has no stability.

    On the real sets each of the two fails where the other works (`benchmarks/review_order.py`).
    """
    by_margin = _places(np.array(margins, dtype=np.float64))
    stability = np.array([np.nan if one is None else one for one in stabilities], dtype=np.float64)
    known = np.isfinite(stability)
    by_stability = by_margin.copy()
    by_stability[known] = _places(stability[known])
    places: npt.NDArray[np.float64] = (by_margin + by_stability) / 2
    return places


def review_text(found: Review) -> str:
    """The first labels, for reading in a terminal, and where the rest is."""
    rows = [
        [e.reference, e.class_name, number(e.score), number(e.stability), ", ".join(e.reasons), e.image]
        for e in found.entries[:_SHOWN]
    ]
    head = ["label", "class", "score", "stability", "reasons", "image"]
    lines = [table(head, rows)] if rows else ["there is no label to look at"]
    if len(found.entries) > _SHOWN:
        lines.append(f"… {len(found.entries) - _SHOWN} more")
    return "\n".join([*lines, *(f"{name:<9}{path}" for name, path in found.files.items())])


def _places(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The share of values under each, equal ones sharing their places."""
    order = np.sort(values)
    below, upto = (np.searchsorted(order, values, side) for side in ("left", "right"))
    return np.asarray((below + upto) / (2 * max(1, len(values))), dtype=np.float64)


def _labels(run: RunFolder, index: Mapping[str, Any], split: str) -> Iterator[_Found]:
    """The labels of a split that no person has worked on, in the file's order."""
    folder = run.dataset / split
    paths = {e["file_name"]: path for path, e in index["images"].items() if e["split"] == split}
    by_people = {path for path, e in index["images"].items() if e.get("source") == HUMAN}
    truth, rows = coco.read(folder), coco.read_rows(folder)
    refine = options(RefineConfig, index["options"]["refine"], str(run.dataset / INDEX))
    least = dict(zip(index["classes"], class_thresholds(refine, Classes(tuple(index["classes"]))), strict=True))
    for image in truth.images:
        if paths[image.image_id] in by_people:
            continue
        for one, row in zip(image.instances, rows[image.image_id], strict=True):
            name = truth.classes.names[one.class_index]
            stability, mask_score = row.get("stability"), row.get("mask_score")
            margin = row["score"] - least[name]
            told = _reasons(stability, mask_score, margin if least[name] else None)
            entry = Entry(split, paths[image.image_id], row["id"], name, row["score"], stability, mask_score, told)
            class_index = index["classes"].index(name)
            yield _Found(entry, margin, Instance(class_index, one.rle, row["score"]), image.path)


def _reasons(stability: float | None, mask_score: float | None, margin: float | None) -> tuple[str, ...]:
    told = {
        "unstable": stability is not None and stability < UNSTABLE,
        "near_threshold": margin is not None and margin < NEAR,
        "poor_mask": mask_score is not None and mask_score < POOR_MASK,
    }
    return tuple(reason for reason, so in told.items() if so)


def _csv(entries: Sequence[Entry]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([field.name for field in dataclasses.fields(Entry)])
    for entry in entries:
        *values, reasons = dataclasses.astuple(entry)
        writer.writerow([*("" if value is None else value for value in values), " ".join(reasons)])
    return text.getvalue()


def _sheet_images(shown: Sequence[_Found], all_: Sequence[_Found]) -> Iterator[SheetImage]:
    """The images of the labels shown, in that order; the labels as taken out, the image's others as kept."""
    chosen = {one.entry.reference for one in shown}
    for file in dict.fromkeys(one.file for one in shown):
        here = [one for one in all_ if one.file == file]
        rle = here[0].instance.rle
        record = ImageRecord("", here[0].entry.image, rle.height, rle.width, "")
        others = tuple(one.instance for one in here if one.entry.reference not in chosen)
        taken = tuple(Rejected(one.instance, one.entry.reference) for one in shown if one.file == file)
        yield SheetImage(file, ImageLabels(record, others, taken))
