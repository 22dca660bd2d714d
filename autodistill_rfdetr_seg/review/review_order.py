"""Sorts the labels of a run's dataset by what a person should check first: by score and stability, or by an audit."""

from __future__ import annotations

import csv
import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from ..core.errors import UsageError
from ..core.plain_text import number, table
from ..core.types import Classes, ImageLabels, ImageRecord, Instance, Rejected
from ..dataset.dataset_index import read_index
from ..drawing.contact_sheet import SheetImage, SheetText, write_sheet
from ..system.config_files import run_megapixels
from ..system.files import replacing, write_json_list
from ..system.run_folder import REVIEWS, RunFolder
from .audit_record import AuditItem, LabelAudit, read_audit
from .label_table import Candidate, Entry, LabelTable

_LINES_SHOWN = 20
_COLUMNS = tuple(field.name for field in dataclasses.fields(Entry))
_values = attrgetter(*_COLUMNS)


@dataclass(frozen=True, slots=True)
class Review:
    """The labels in the order to check them, and the files written; without labels there are no pictures."""

    entries: Sequence[Entry]
    files: Mapping[str, Path]

    def as_json(self) -> dict[str, Any]:
        """JSON-ready data."""
        files = {name: str(path) for name, path in self.files.items()}
        return {"files": files, "labels": [entry_json(entry) for entry in self.entries]}


class _InOrder(Sequence[Entry]):
    """The labels of a table in an order; each is made when it is asked for."""

    def __init__(self, table: LabelTable, order: npt.NDArray[np.intp]) -> None:
        self._table = table
        self._order = order

    def __len__(self) -> int:
        return len(self._order)

    def __getitem__(self, at: Any) -> Any:
        if isinstance(at, slice):
            return [self._table.entry(int(one)) for one in self._order[at]]
        return self._table.entry(int(self._order[at]))


def review(
    run: RunFolder, count: int, order: Literal["scores", "audit"] = "scores", *, progress: bool = False
) -> Review:
    """Sorts the labels of the run's dataset; writes `review.json`, `review.csv`, `review.png` and `review.html`.

    The contact sheet shows the first `count` labels, image by image. Images that a person corrected are left out. The
    order "scores" is that of `review_ranks`, "audit" that of the run's last audit, which has missed objects too.

    Raises:
        UsageError: `count` is below 1.
        DataError: the run has no dataset; with "audit", it has no audit of these labels.
    """
    if count < 1:
        raise UsageError(f"A contact sheet of {count} labels is empty.", "Ask for at least 1 label.")
    with LabelTable(run, progress=progress) as labels:
        if order == "audit":
            audited = _audited(run, list(labels.candidates()), read_audit(run))
            entries: Sequence[Entry] = [one.entry for one in audited]
            shown = audited[:count]
            by = "the run's audit: what students that never saw an image say against its labels"
        else:
            ranks = np.argsort(review_ranks(labels.margins, labels.stability), kind="stable")
            entries = _InOrder(labels, ranks)
            shown = [labels.candidate(int(at)) for at in ranks[:count]]
            by = "stability and by how close the score is to the threshold"
        return _write(run, labels, entries, shown, by, progress)


def _write(
    run: RunFolder, labels: LabelTable, entries: Sequence[Entry], shown: Sequence[Candidate], by: str, progress: bool
) -> Review:
    from tqdm import tqdm

    files = {kind: run.review(kind) for kind in (REVIEWS if shown else ("csv", "json"))}
    bar = tqdm(total=2 * len(entries), desc="Writing", unit="label", disable=not progress or None, delay=2)

    def counted() -> Iterator[Entry]:
        for entry in entries:
            bar.update()
            yield entry

    _write_csv(files["csv"], counted())
    if shown:
        summary = (
            f"The first {len(shown)} of {len(entries)} labels, sorted by {by}. "
            "`autodistill-seg explain RUN NAME` explains each."
        )
        text = SheetText("Labels to check first", summary, {}, kept="Other labels", taken="To check")
        classes = Classes(labels.class_names)
        images = _sheet_images(shown, labels)
        write_sheet(files["png"], files["html"], images, classes, text, max_megapixels=run_megapixels(run))
    write_json_list(files["json"], (entry_json(entry) for entry in counted()))
    bar.close()
    return Review(entries, files)


def entry_json(entry: Entry) -> dict[str, Any]:
    """An entry as JSON-ready data."""
    return dict(zip(_COLUMNS, _values(entry), strict=True))


def review_candidates(run: RunFolder) -> list[Candidate]:
    """The labels of the run's dataset, without those in images that a person corrected.

    Raises:
        DataError: the run has no dataset.
    """
    with LabelTable(run) as labels:
        return list(labels.candidates())


def candidate_ranks(labels: Sequence[Candidate]) -> npt.NDArray[np.float64]:
    """The `review_ranks` of labels."""
    return review_ranks([one.margin for one in labels], [one.entry.stability for one in labels])


def review_ranks(
    margins: Sequence[float] | npt.NDArray[np.float64], stabilities: Sequence[float | None] | npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """The rank (N,) of each label in 0..1; the label with the lowest rank is to be checked first.

    It is the mean of the ranks by stability and by margin (score minus threshold), or the rank by margin if a label has
    no stability (None, or NaN in an array). On real datasets each of the two fails where the other works
    (`benchmarks/review_order.py`).
    """
    by_margin = _relative_ranks(np.asarray(margins, dtype=np.float64))
    # None becomes NaN.
    stability = np.asarray(stabilities, dtype=np.float64)
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


def _write_csv(path: Path, entries: Iterable[Entry]) -> None:
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(_COLUMNS)
        for entry in entries:
            *values, reasons = _values(entry)
            writer.writerow([*("" if value is None else value for value in values), " ".join(reasons)])


def _sheet_images(shown: Sequence[Candidate], labels: LabelTable) -> Iterator[SheetImage]:
    """The images of the labels to show, in that order: those labels as rejected, the other labels as kept."""
    chosen = {one.entry.reference for one in shown}
    for file in dict.fromkeys(one.file for one in shown):
        of_image = labels.in_file(file)
        first = next(one for one in shown if one.file == file)
        rle = first.instance.rle
        record = ImageRecord("", first.entry.image, rle.height, rle.width, "")
        others = tuple(one.instance for one in of_image if one.entry.reference not in chosen)
        to_check = tuple(Rejected(one.instance, _caption(one.entry)) for one in shown if one.file == file)
        yield SheetImage(file, ImageLabels(record, others, to_check))


def _caption(entry: Entry) -> str:
    """What a picture says of an entry: what `explain` takes, or that it has no label."""
    return "missed" if entry.annotation_id is None else entry.reference
