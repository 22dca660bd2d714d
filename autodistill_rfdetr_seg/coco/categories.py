"""The rows of a COCO file's `categories`."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from ..core.name_keys import class_key
from ..core.types import FileId
from . import problem_kinds as kinds
from .parts import Row
from .problems import OnProblem, Problem, ProblemReporter, as_number, shown
from .values import Id, in_order, is_text

_NO_PARENT = ("", "none", "null")  # what exports write for "has no supercategory"


@dataclass(frozen=True, slots=True)
class Category:
    """One row of `categories`; `id` as in the file."""

    id: FileId
    name: str
    supercategory: str | None


def read_categories(rows: Iterable[tuple[Id, Row]], path: Path, on_problem: OnProblem) -> dict[FileId, Category]:
    """The categories by the key of their id; one without a name is called by its id, so that no mask is lost."""
    found: dict[FileId, Category] = {}
    for number, row in rows:
        category = Category(number.stated, _name(number, row, path, on_problem), _parent(row))
        other = found.setdefault(number.key, category)
        if other != category:
            message = f"the category id {shown(number.stated)} is used twice: {other.name!r} and {category.name!r}"
            on_problem(Problem(kinds.ID_TWICE, message, path))
        elif other is not category:
            on_problem(Problem(kinds.ROW_TWICE, f"the category {category.name!r} is listed twice", path))
    return found


def unique_names(categories: Mapping[FileId, Category]) -> dict[str, FileId]:
    """The key of each category that has a unique name."""
    uses = Counter(row.name for row in categories.values())
    return {row.name: key for key, row in categories.items() if uses[row.name] == 1}


def without_placeholders(
    categories: dict[FileId, Category], used: set[FileId], path: Path, on_problem: OnProblem
) -> dict[FileId, Category]:
    """The classes by key, ids ascending, without rows that no annotation uses and that are only a supercategory of
    others.

    Roboflow's export puts such a row first. If no row would remain, all are kept, as in RF-DETR's reader.
    """
    ordered = in_order(categories)
    children: dict[str, set[FileId]] = {}
    for key in ordered:
        parent = categories[key].supercategory
        if parent is not None and parent.lower() not in _NO_PARENT:
            children.setdefault(parent, set()).add(key)
    kept = [key for key in ordered if key in used or not children.get(categories[key].name, set()) - {key}] or ordered
    first: dict[str, Category] = {}
    loose: dict[str, Category] = {}
    for key in ordered:
        row = categories[key]
        if key not in kept:
            message = f"category {shown(row.name)} only names a supercategory; it is not a class"
            on_problem(Problem(kinds.PLACEHOLDER, message, path))
        elif (other := first.setdefault(row.name, row)) is not row:
            message = f"categories {other.id} and {row.id} share the name {shown(row.name)}"
            on_problem(Problem(kinds.CATEGORY_TWICE, message, path))
        elif (alike := loose.setdefault(class_key(row.name), row)) is not row:
            message = f"categories {alike.name!r} and {row.name!r} differ only in case or spaces"
            on_problem(Problem(kinds.CATEGORY_CASE, message, path))
    return {key: categories[key] for key in kept}


def _name(number: Id, row: Row, path: Path, on_problem: OnProblem) -> str:
    reporter, stated = ProblemReporter(on_problem, path), row.get("name")
    if isinstance(stated, str) and is_text(stated) and (plain := " ".join(stated.split())):
        if _has_control(stated.strip()):
            reporter.add(kinds.CATEGORY_NAME_LINES, f"the category name {shown(stated)} is read as {shown(plain)}")
            return plain
        if stated != stated.strip():
            reporter.add(kinds.CATEGORY_NAME_SPACE, f"the category name {shown(stated)} has spaces around it")
        return stated.strip()
    if as_number(stated) is not None:
        reporter.add(
            kinds.CATEGORY_NAME_FORM, f"`name` of category {shown(number.stated)} is the number {shown(stated)}"
        )
        return str(stated)
    hint = ' (write "yes" or "no", if that was meant)' if isinstance(stated, bool) else ""
    said = f"`name` of category {shown(number.stated)} must be text, not {shown(stated)}{hint}"
    reporter.add(kinds.CATEGORY_NAME, said)
    return f"category {number.stated}"


def _has_control(text: str) -> bool:
    return any(unicodedata.category(letter) == "Cc" for letter in text)


def _parent(row: Row) -> str | None:
    parent = row.get("supercategory")
    return parent if isinstance(parent, str) else None
