"""Reads the polygons of one label file; every other row is reported with its line.

A row is `class x1 y1 x2 y2 x3 y3 …`, in shares of the image's width and height. What tells the forms apart is how many
numbers follow the class: 4 are a box, 5 a box with its confidence, an even number from 6 on a polygon.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ...coco.problems import Kind, OnProblem, ProblemReporter, shown
from ...core.plain_text import short_list
from . import yolo_problem_kinds as kinds
from .data_yaml import DataYaml
from .poses import is_pose_with_visibility

Shares = npt.NDArray[np.float64]

_BOX = 4
_FEWEST = 6
_LISTED = 12
# Shares over 1: by rounding, by inaccurate tools, and those that can only be pixels.
_ROUNDING = 1e-5
_JUST_OUTSIDE = 0.01 + 1e-9
_PIXELS = 1.5
_MISSING = re.compile(r",\s*,")
_DECIMAL_COMMA = re.compile(r"[+-]?\d+(,\d+)?")


@dataclass(frozen=True, slots=True)
class Row:
    """One polygon: its `line`, the class's `number` in `names`, and its points, (N, 2) float64 [x, y] in 0..1.

    For a box, `points` are two corners, and `score` is its confidence if the row has one.
    """

    line: int
    number: int
    points: Shares
    is_box: bool = False
    score: float | None = None


def read_rows(text: str, file: Path, data: DataYaml, on_problem: OnProblem) -> list[Row]:
    """The polygons and boxes of a label file's `text`; rows that are not polygons are reported to `on_problem`."""
    numbers = {name: number for number, name in data.names.items()}
    rows: list[Row] = []
    seen: set[tuple[int, bytes]] = set()
    for line, raw in enumerate(text.split("\n"), start=1):
        if not raw or raw.isspace():
            continue
        reporter = ProblemReporter(on_problem, file, line=line)
        row = _read_row(raw, line, data, numbers, reporter)
        if row is None:
            continue
        key = (row.number, row.points.tobytes())
        if key in seen:
            reporter.add(kinds.TWICE, "the same row comes earlier in the file")
            continue
        seen.add(key)
        rows.append(row)
    return rows


def _read_row(raw: str, line: int, data: DataYaml, numbers: Mapping[str, int], reporter: ProblemReporter) -> Row | None:
    fields = _fields(raw, reporter)
    values = _values(fields[1:]) if fields else None
    if values is None:
        reporter.add(kinds.NUMBERS, f"the row is not numbers: {shown(' '.join(raw.split()))}")
        return None
    number = _class_number(fields[0], data, numbers, reporter)
    if number is None:
        return None
    problem = _not_polygon(values, data.pose)
    if problem is not None:
        reporter.add(*problem)
        return _box(line, number, values, reporter) if problem[0] is kinds.BOX else None
    points = _inside(np.array(values, dtype=np.float64).reshape(-1, 2), reporter)
    return None if points is None else Row(line, number, points)


def _fields(raw: str, reporter: ProblemReporter) -> list[str]:
    """The numbers of a row as text, separated by white space or commas; empty if the separator is unclear."""
    if not raw.isascii():
        raw = raw.replace("\ufeff", " ")
    words = raw.split()
    if "_" in raw or not all(map(str.isascii, words)):  # Python's float takes 1_0 and other scripts' digits.
        return []
    if "," not in raw:
        return words
    apart = raw.replace(",", " ").split() if not _MISSING.search(raw) else []
    decimal = [word.replace(",", ".") for word in words] if all(map(_DECIMAL_COMMA.fullmatch, words)) else []
    ways = [fields for fields in (apart, decimal) if fields and _values(fields) is not None]
    sound = [fields for fields in ways if _is_sound(fields)]
    if len(sound) > 1 or not ways:
        return []
    chosen = (sound or ways)[0]
    reporter.add(kinds.COMMAS if chosen is apart else kinds.DECIMAL_COMMAS, f"the row has commas: {shown(raw.strip())}")
    return chosen


def _is_sound(fields: list[str]) -> bool:
    """Whether numbers are a correct row: a class, and a box or polygon in shares."""
    values = [float(field) for field in fields[1:]]
    return len(values) >= _BOX and len(values) % 2 == 0 and max(values) <= _PIXELS


def _values(fields: list[str]) -> list[float] | None:
    """The finite numbers that the fields are, or None."""
    try:
        values = list(map(float, fields))
    except ValueError:
        return None
    return values if all(map(math.isfinite, values)) else None


def _class_number(field: str, data: DataYaml, numbers: Mapping[str, int], reporter: ProblemReporter) -> int | None:
    value = _values([field])
    if value is None or not value[0].is_integer():
        named = f"; {field!r} is class {numbers[field]}" if field in numbers else ""
        reporter.add(kinds.CLASS, f"the class must be a whole number, not {shown(field)}{named}")
        return None
    number = int(value[0])
    if number not in data.names:
        reporter.add(kinds.UNKNOWN_CLASS, f"class {shown(number)} is not in `names`, which has {_span(data)}")
        return None
    if not field.lstrip("+-").isdigit():
        reporter.add(kinds.DECIMAL_CLASS, f"the class is written {field!r}")
    return number


def _span(data: DataYaml) -> str:
    known = list(data.names)
    if len(known) > 1 and known == list(range(known[0], known[0] + len(known))):
        return f"{known[0]} to {known[-1]}"
    return short_list(known, _LISTED)


def _box(line: int, number: int, values: list[float], reporter: ProblemReporter) -> Row | None:
    """The box of a row; None, with a report, if it is not a box in the image."""
    x, y, width, height = values[:_BOX]
    corners = np.array([[x - width / 2, y - height / 2], [x + width / 2, y + height / 2]])
    inside = corners.clip(0.0, 1.0)
    if max(values[:_BOX]) > _PIXELS or min(width, height) <= 0 or not (inside[1] > inside[0]).all():
        said = ", ".join(f"{value:g}" for value in values[:_BOX])
        reporter.add(kinds.BOX_OUTSIDE, f"the box {said} (center, width and height) is not shares of the image, 0 to 1")
        return None
    corners = inside
    return Row(line, number, corners, True, values[_BOX] if len(values) > _BOX else None)


def _not_polygon(values: list[float], pose: tuple[int, int] | None) -> tuple[Kind, str] | None:
    count = len(values)
    if count == _BOX:
        return kinds.BOX, "the row has 5 numbers: a class and a box, which is no mask"
    if pose is not None:
        expected = _BOX + pose[0] * pose[1]
        if count == expected:
            return kinds.POSE, "the row is a box and its keypoints (`kpt_shape`), which is no mask"
        return (
            kinds.COUNT,
            f"the row has {count + 1} numbers; with `kpt_shape` {list(pose)} it must have {expected + 1}",
        )
    if count == _BOX + 1 and _is_box(values):
        return kinds.BOX, "the row has 6 numbers: a class, a box and its confidence, which is no mask"
    if is_pose_with_visibility(values):
        return kinds.POSE, "the row is a box and keypoints with their visibility, which is no mask"
    if count < _FEWEST:
        return kinds.COUNT, f"the row has {count + 1} numbers; a polygon has at least 7: a class and 3 points"
    if count % 2 == 0:
        return None
    if 0 <= values[-1] <= 1:
        return kinds.CONFIDENCE, (
            f"the row has {count + 1} numbers, an even count: the last may be a confidence, or a number is missing"
        )
    return kinds.COUNT, f"the row has {count + 1} numbers; a class and whole points are an odd count"


def _is_box(values: list[float]) -> bool:
    """Whether `x y w h confidence` is a box in the image."""
    x, y, width, height, confidence = values
    low, high = -_JUST_OUTSIDE, 1 + _JUST_OUTSIDE
    edges = (x - width / 2, x + width / 2, y - height / 2, y + height / 2)
    return width > 0 and height > 0 and 0 <= confidence <= 1 and all(low <= edge <= high for edge in edges)


def _inside(points: Shares, reporter: ProblemReporter) -> Shares | None:
    """The points, those just outside the image moved to its edge; None if some are farther outside."""
    low, high = float(points.min()), float(points.max())
    beyond = max(-low, high - 1.0)
    if beyond <= 0:
        return points
    if beyond > _JUST_OUTSIDE:
        far = high if high - 1.0 >= -low else low
        if high > _PIXELS:
            reporter.add(
                kinds.PIXELS, f"a coordinate is {high:g}: coordinates are shares, 0 to 1, and this looks like pixels"
            )
        else:
            reporter.add(kinds.FAR_OUT, f"a coordinate is {far:g}, outside the image (0 to 1)")
        return None
    if beyond > _ROUNDING:
        reporter.add(kinds.CLIPPED, f"a coordinate is {beyond:.3g} outside the image")
    return np.clip(points, 0.0, 1.0)
