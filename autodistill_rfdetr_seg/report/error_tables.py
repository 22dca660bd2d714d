"""The tables of errors on the page: by class and kind, by size, the confusion matrix, and by training distance."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from ..core.plain_text import counted
from ..evaluation.error_kinds import KINDS
from .report_tables import BarRow, ModelBar
from .report_text import count, known, score

# A larger matrix is unreadable: only the classes with the most confusions are shown.
MOST_CLASSES = 12


@dataclass(frozen=True, slots=True)
class Cell:
    """A cell: its text, the id of the first picture it leads to ("" without one), and its shade, 0 to 4."""

    text: str
    picture: str = ""
    shade: int = 0


@dataclass(frozen=True, slots=True)
class ErrorRow:
    """A row of a table of errors."""

    name: str
    cells: tuple[Cell, ...]


def picture_id(kind: str, class_index: int) -> str:
    """The id of the pictures of a kind of error in a class."""
    return f"error-{kind}-{class_index}"


def budget_of(metrics: Mapping[str, Any]) -> Mapping[str, Any]:
    """The error budget of the target; empty if it has none."""
    found: Mapping[str, Any] = (metrics.get("target") or {}).get("errors") or {}
    return found


def loss_bars(metrics: Mapping[str, Any]) -> tuple[BarRow, ...]:
    """AP50 lost by kind of error, the largest first."""
    budget = budget_of(metrics)
    lost = {kind: value for kind, value in (budget.get("ap50_lost") or {}).items() if known(value)}
    rows = []
    for kind in sorted(lost, key=lambda kind: -lost[kind]):
        bar = ModelBar("target", round(100 * min(1.0, lost[kind]), 2), score(lost[kind]))
        rows.append(BarRow(kind.capitalize(), counted(budget["counts"][kind], "error"), (bar,)))
    return tuple(rows)


def class_rows(metrics: Mapping[str, Any], pictures: Collection[str]) -> tuple[ErrorRow, ...]:
    """The errors of each class by kind; a cell leads to its pictures. Classes without errors are left out."""
    by_class = budget_of(metrics).get("by_class") or {}
    rows = []
    for at, (name, counts) in enumerate(by_class.items()):
        if any(counts.values()):
            rows.append(ErrorRow(name, tuple(_cell(counts[kind], picture_id(kind, at), pictures) for kind in KINDS)))
    return tuple(rows)


def size_rows(metrics: Mapping[str, Any]) -> tuple[ErrorRow, ...]:
    """The errors of each size by kind."""
    by_size = budget_of(metrics).get("by_size") or {}
    return tuple(
        ErrorRow(size.capitalize(), tuple(Cell(count(counts[kind])) for kind in KINDS))
        for size, counts in by_size.items()
        if any(counts.values())
    )


def confusion(
    metrics: Mapping[str, Any], pictures: Collection[str]
) -> tuple[tuple[str, ...], tuple[ErrorRow, ...]] | None:
    """The names of the columns (detected as) and the rows (gold) of the confusion matrix; None without errors.

    Only the classes with the most confusions are shown, and the background.
    """
    found = budget_of(metrics).get("confusion") or {}
    names, matrix = found.get("names") or [], found.get("matrix") or []
    if not any(map(any, matrix)):
        return None
    last = len(names) - 1
    wrong = [sum(matrix[at]) + sum(row[at] for row in matrix) - 2 * matrix[at][at] for at in range(last)]
    chosen = [*sorted(sorted(range(last), key=lambda at: (-wrong[at], at))[:MOST_CLASSES]), last]
    most = max((matrix[a][b] for a in chosen for b in chosen if a != b), default=0)
    rows = []
    for gold in chosen:
        cells = []
        for detected in chosen:
            number = matrix[gold][detected]
            target = _picture_of(gold, detected, last, pictures)
            shade = 0 if gold == detected or not number else 1 + round(3 * number / most)
            cells.append(
                Cell(count(number) if number or gold == detected != last else "", target if number else "", shade)
            )
        rows.append(ErrorRow(names[gold], tuple(cells)))
    return tuple(names[at] for at in chosen), tuple(rows)


def distance_rows(metrics: Mapping[str, Any]) -> tuple[ErrorRow, ...]:
    """Mask AP by the distance to the nearest training image: bits, images, instances, base and target."""
    rows = []
    for one in metrics.get("training_distance") or ():
        bits = f"{one['low']} to {one['high']}" if one["low"] < one["high"] else str(one["low"])
        values = (count(one["images"]), count(one["instances"]), score(one.get("base")), score(one.get("target")))
        rows.append(ErrorRow(bits, tuple(map(Cell, values))))
    return tuple(rows)


def _cell(number: int, picture: str, pictures: Collection[str]) -> Cell:
    return Cell(count(number) if number else "", picture if number and picture in pictures else "")


def _picture_of(gold: int, detected: int, last: int, pictures: Collection[str]) -> str:
    """The pictures that a cell of the confusion matrix leads to."""
    if gold == detected:
        return ""
    kinds = (
        ("missed",)
        if detected == last
        else ("background", "duplicate", "localization", "both")
        if gold == last
        else ("class",)
    )
    ids = [picture_id(kind, gold if detected == last else detected) for kind in kinds]
    return next((one for one in ids if one in pictures), "")
