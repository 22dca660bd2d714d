"""The result of an audit of a run's labels: its order of suspicions and its students, as data, JSON and CSV."""

from __future__ import annotations

import csv
import dataclasses
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..coco.segmentation import parse, to_json
from ..core.errors import DataError
from ..core.plain_text import number, table
from ..core.types import Rle
from ..dataset.dataset_index import read_dataset
from ..system.files import read_json
from ..system.run_folder import RunFolder

_LINES_SHOWN = 20
ASSUMPTION = (
    "A tail is the fraction of labels with at least such a disagreement. It assumes that most labels are right, and is "
    "no probability of an error."
)


@dataclass(frozen=True, slots=True)
class AuditItem:
    """One label, or an object that a student found and no label has, in the order to check them.

    `kind` is a `label_suspicions.Kind`, None where no student says anything against the label; `tail` in 0..1 is how
    rare such a disagreement is, 1 without one. `rank` in 0..1 is the order: `tail` times the label's rank by score and
    stability; None where nothing gives an order. `score` and `stability` are the label's; a missed object has none, and
    no `annotation_id`. `found_class`, `found_score` (recalibrated: 0.5 is the student's threshold) and `iou` are what
    the student has there; `rle` is its mask of a missed object.
    """

    split: str
    image: str
    annotation_id: int | None
    class_name: str
    kind: str | None
    tail: float
    rank: float | None
    score: float | None
    stability: float | None
    found_class: str | None = None
    found_score: float | None = None
    iou: float | None = None
    rle: Rle | None = None

    def as_json(self) -> dict[str, Any]:
        """JSON-ready data; the mask under `segmentation`."""
        row = {item.name: getattr(self, item.name) for item in dataclasses.fields(self) if item.name != "rle"}
        return row if self.rle is None else {**row, "segmentation": to_json(self.rle)}


@dataclass(frozen=True, slots=True)
class LabelAudit:
    """An audit of the dataset with the fingerprint `dataset`.

    `students` has one row for each: images, ap50, classes (see `StudentAgreement`). `notes` says in sentences what was
    not judged and why. `items` are in the order to check them.
    """

    dataset: str
    students: tuple[Mapping[str, Any], ...]
    notes: tuple[str, ...]
    items: tuple[AuditItem, ...]

    def as_json(self) -> dict[str, Any]:
        """JSON-ready data."""
        return {
            "dataset": self.dataset,
            "students": [dict(one) for one in self.students],
            "assumption": ASSUMPTION,
            "notes": list(self.notes),
            "items": [one.as_json() for one in self.items],
        }

    def as_csv(self) -> str:
        """The items as CSV, without the masks of missed objects; an undefined value is empty."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        names = [item.name for item in dataclasses.fields(AuditItem) if item.name != "rle"]
        writer.writerow(names)
        for one in self.items:
            writer.writerow(["" if (value := getattr(one, name)) is None else value for name in names])
        return text.getvalue()

    def as_text(self) -> str:
        """The first suspicions as a table, then what they assume and what was not judged."""
        rows = [_cells(one) for one in self.items[:_LINES_SHOWN]]
        head = ["label", "kind", "class", "student", "IoU", "tail", "score", "stability", "image"]
        lines = [table(head, rows)] if rows else ["there are no labels to check"]
        if len(self.items) > _LINES_SHOWN:
            lines.append(f"… {len(self.items) - _LINES_SHOWN} more")
        return "\n".join([*lines, ASSUMPTION, *self.notes])


def read_audit(run: RunFolder) -> LabelAudit:
    """The last audit of a run.

    Raises:
        DataError: there is none, it is damaged, or the labels have changed since.
    """
    hint = f"Run `autodistill-seg audit {run.root}`."
    if not run.audit_file.is_file():
        raise DataError(f"{run.root} has not been audited.", hint)
    data = read_json(run.audit_file)
    try:
        if data["dataset"] != read_dataset(run.dataset).fingerprint:
            raise DataError(f"The labels of {run.root} have changed since the audit.", hint)
        items = tuple(_item(row) for row in data["items"])
        return LabelAudit(data["dataset"], tuple(data["students"]), tuple(data["notes"]), items)
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{run.audit_file} is not the record of an audit ({error!r}).", hint) from error


def _item(row: Mapping[str, Any]) -> AuditItem:
    fields = {name: value for name, value in row.items() if name != "segmentation"}
    if "segmentation" not in row:
        return AuditItem(**fields)
    height, width = row["segmentation"]["size"]
    return AuditItem(**fields, rle=parse(row["segmentation"], height, width))


def _cells(one: AuditItem) -> Sequence[str]:
    reference = f"{one.split}:{'–' if one.annotation_id is None else one.annotation_id}"
    found = "–" if one.found_class is None else f"{one.found_class} {number(one.found_score, '.2f')}"
    numbers = [number(one.iou, ".2f"), number(one.tail), number(one.score), number(one.stability)]
    return [reference, one.kind or "–", one.class_name, found, *numbers, one.image]
