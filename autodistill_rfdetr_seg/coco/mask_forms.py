"""Converts the forms in which tools write a `segmentation` to the one of the format.

The format knows a list of polygons, each a flat list of x and y, and an RLE with `size` and `counts`.
"""

from __future__ import annotations

import ast
import json
import re
from typing import Any

from . import problem_kinds as kinds
from .problems import Kind
from .values import number_of

_NUMBERS = {int, float}
# The third value of points with three: a keypoint's visibility, or an empty depth.
_THIRD = {0, 1, 2}
_BYTES = re.compile(r"b'[^']*'|b\"[^\"]*\"")


def plain_form(segmentation: Any) -> tuple[Any, set[Kind]]:
    """The segmentation in the format's own form, if another form is unambiguous, and the kinds of what was changed.

    Polygons may be flat (one alone), lists of [x, y] or {"x", "y"} points, nested deeper, or have numbers as text;
    parts of fewer than 3 points are left out beside valid ones; an RLE may be in a list, have whole numbers as
    floats or text, or its `counts` as Python prints bytes; all of it may be JSON in a text. A list with an RLE in it
    is the union of its parts. Anything else is returned unchanged: `segmentation.parse` then reports what is wrong.
    """
    if isinstance(segmentation, list):
        return _polygons(segmentation)
    if isinstance(segmentation, dict):
        return _rle(segmentation)
    inner = _of_text(segmentation) if isinstance(segmentation, str) else None
    if inner is None:
        return segmentation, set()
    form, changes = plain_form(inner)
    return form, changes | {kinds.MASK_FORM}


def is_missing(segmentation: Any) -> bool:
    """Whether there is no mask, in any of the forms that tools write for that."""
    return segmentation is None or segmentation in ([], [[]], {}, "", "[]", "null", "{}")


def without_third_values(polygons: list[list[float]]) -> list[list[float]] | None:
    """Polygons of x, y and an empty third value, without that value; None if they can only be pairs."""
    if not all(len(part) >= 9 and len(part) % 3 == 0 and set(part[2::3]) <= _THIRD for part in polygons):
        return None
    return [[value for at, value in enumerate(part) if at % 3 != 2] for part in polygons]


def _of_text(text: str) -> Any:
    """The list or object that a text is as JSON; None if it is neither."""
    try:
        value = json.loads(text) if text.lstrip()[:1] in ("[", "{") else None
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, (list, dict)) else None


def _polygons(parts: list[Any]) -> tuple[Any, set[Kind]]:
    if all(isinstance(part, list) and len(part) >= 6 and set(map(type, part)) <= _NUMBERS for part in parts):
        return _with_odd_triples(parts)
    if any(isinstance(part, dict) and "counts" in part for part in parts):
        return _with_rles(parts), {kinds.MASK_FORM}
    changed = _unnested(parts)
    if changed and all(_is_number(value) for value in changed):
        changed = [changed]
    elif len(changed) >= 3 and all(_is_point(part) for part in changed):
        changed = [_joined(changed)]
    changed = [_flat(part) if isinstance(part, list) else part for part in changed]
    changes = {kinds.MASK_FORM} if changed != parts or _has_text(parts) else set()
    areas = [part for part in changed if not isinstance(part, list) or len(part) >= 6 or len(part) % 2]
    if areas and len(areas) < len(changed):
        changed, changes = areas, changes | {kinds.MASK_PART}
    return changed, changes


def _with_odd_triples(parts: list[Any]) -> tuple[Any, set[Kind]]:
    """Polygons of numbers, without the third value of each point if they cannot be pairs."""
    if any(len(part) % 2 for part in parts) and (pairs := without_third_values(parts)) is not None:
        return pairs, {kinds.MASK_FORM}
    return parts, set()


def _with_rles(parts: list[Any]) -> Any:
    """One RLE alone, or a list of RLEs and polygons, each in its plain form."""
    if len(parts) == 1:
        return _rle(parts[0])[0]
    plain: list[Any] = []
    for part in parts:
        if isinstance(part, dict):
            plain.append(_rle(part)[0])
        elif part not in ([], None):
            polygons = _polygons([part])[0]
            plain += polygons if isinstance(polygons, list) else [polygons]
    return plain


def _unnested(parts: list[Any]) -> list[Any]:
    """The list of polygons inside lists of one item each."""
    while (
        len(parts) == 1
        and isinstance(parts[0], list)
        and parts[0]
        and all(isinstance(part, list) for part in parts[0])
        and not all(_is_point(part) for part in parts[0])
    ):
        parts = parts[0]
    return parts


def _flat(part: list[Any]) -> list[Any]:
    """A polygon as a flat list of numbers, if it can be converted to one."""
    if part and all(_is_point(point) for point in part):
        part = _joined(part)
    if any(isinstance(value, str) for value in part) and all(_is_number(value) for value in part):
        return [number_of(value) for value in part]
    return part


def _has_text(parts: list[Any]) -> bool:
    return any(isinstance(value, str) for part in parts if isinstance(part, list) for value in part)


def _is_number(value: Any) -> bool:
    return number_of(value) is not None


def _is_point(value: Any) -> bool:
    if isinstance(value, dict):
        return value.keys() == {"x", "y"} and all(map(_is_number, value.values()))
    if not isinstance(value, list) or not all(map(_is_number, value)):
        return False
    return len(value) == 2 or (len(value) == 3 and number_of(value[2]) in _THIRD)


def _joined(points: list[Any]) -> list[Any]:
    """x and y of all points in one list."""
    pairs = ([point["x"], point["y"]] if isinstance(point, dict) else point[:2] for point in points)
    return [value for pair in pairs for value in pair]


def _rle(rle: dict[str, Any]) -> tuple[Any, set[Kind]]:
    changed = dict(rle)
    for key in ("size", "counts"):
        if isinstance(values := rle.get(key), list) and any(type(value) is not int for value in values):
            changed[key] = [_whole(value) for value in values]
    if isinstance(counts := rle.get("counts"), str):
        changed["counts"] = _of_bytes(counts) if _BYTES.fullmatch(counts) else counts.strip()
    same = all(changed.get(key) is rle.get(key) or repr(changed[key]) == repr(rle[key]) for key in ("size", "counts"))
    return (rle, set()) if same else (changed, {kinds.MASK_FORM})


def _of_bytes(counts: str) -> str:
    """The text of bytes as Python shows them."""
    try:
        found: bytes = ast.literal_eval(counts)
        return found.decode("ascii")
    except (ValueError, SyntaxError):
        return counts


def _whole(value: Any) -> Any:
    number = None if isinstance(value, int) else number_of(value)
    return int(number) if number is not None and number.is_integer() else value
