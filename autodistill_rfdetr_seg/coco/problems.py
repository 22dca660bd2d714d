"""Problems of a file with annotations: `Problem`, and `ProblemReporter`, which reports those of one row."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ..core.types import FileId

Severity = Literal["error", "warning"]


@dataclass(frozen=True, slots=True)
class Kind:
    """What problems of one kind have in common.

    `name` is a short phrase, the same for each of them, such as "box is missing". `treatment` says what reading does
    about a warning ("computed from the mask"); of an error, what is left out. `hint` says what to change.
    """

    severity: Severity
    name: str
    treatment: str = ""
    hint: str = ""

    @property
    def leaves_out(self) -> bool:
        """Whether the object or image with the problem is missing from what was read."""
        return any(words in self.treatment for words in ("left out", "not read", "nothing of it is read"))


@dataclass(frozen=True, slots=True)
class Problem:
    """One problem of a file with annotations. The ids are the file's own, `line` counts from 1 if the file has lines,
    `split` is its split if one file describes several.

    A row with an `error` is not read. A row with a `warning` is read as it is obviously meant.
    """

    kind: Kind
    message: str
    file: Path
    image_id: FileId | None = None
    annotation_id: FileId | None = None
    line: int | None = None
    split: str | None = None

    @property
    def severity(self) -> Severity:
        """The severity of its kind."""
        return self.kind.severity

    @property
    def place(self) -> str:
        """The file and, if known, the line, the image and the annotation."""
        ids = (("line", self.line), ("image id", self.image_id), ("annotation id", self.annotation_id))
        return ", ".join([str(self.file), *(f"{name} {value}" for name, value in ids if value is not None)])

    @property
    def detail(self) -> str:
        """What is wrong and where inside the file, without the file's name."""
        place = self.place.removeprefix(str(self.file)).removeprefix(", ")
        return f"{place}: {self.message}" if place else self.message

    def __str__(self) -> str:
        return f"{self.severity}: {self.place}: {self.message}"


OnProblem = Callable[[Problem], None]


def by_kind(problems: Iterable[Problem]) -> list[list[Problem]]:
    """The problems in groups of one kind, errors first, each group in the order of its problems."""
    groups: dict[Kind, list[Problem]] = {}
    for problem in problems:
        groups.setdefault(problem.kind, []).append(problem)
    return sorted(groups.values(), key=lambda group: group[0].severity)


class ProblemReporter:
    """Reports the problems of one place to `on_problem`; `sound` until the first error."""

    def __init__(
        self,
        on_problem: OnProblem,
        file: Path,
        image_id: FileId | None = None,
        annotation_id: FileId | None = None,
        line: int | None = None,
    ) -> None:
        self.sound = True
        self._on_problem = on_problem
        self._place = (file, image_id, annotation_id, line)

    def add(self, kind: Kind, message: str) -> None:
        """Reports a problem of this kind; after an error the row cannot be used."""
        self.sound &= kind.severity != "error"
        self._on_problem(Problem(kind, message, *self._place))


def as_number(value: object) -> float | None:
    """The finite number that a JSON value is, or None."""
    if type(value) is float:  # nearly all are
        return value if math.isfinite(value) else None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def shown(value: object) -> str:
    """A JSON value of a user's file, short enough for a message."""
    if isinstance(value, (list, dict)):
        flat = isinstance(value, list) and len(value) <= 8 and not any(isinstance(item, (list, dict)) for item in value)
        return f"[{', '.join(map(shown, value))}]" if flat else f"{type(value).__name__} of {len(value)}"
    if isinstance(value, int) and abs(value) >= 10**20:
        return "a huge integer"
    if value is None:
        return "nothing"
    text = ascii(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
