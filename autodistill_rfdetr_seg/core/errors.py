"""Every error this package raises on purpose.

    AutodistillSegError               exit code 1
    ├── UsageError                    2  a wrong option, name, ontology or configuration
    │   └── UnknownNameError          2  a name that is not known; the nearest known one is suggested
    ├── OutputExistsError             2  the output folder holds something already
    ├── MissingInputError             3  an input is not there, or holds nothing to work on
    ├── DataError                     1  an input is there and is wrong (image, COCO file, label store)
    ├── BaseModelError                1  a base broke the contract of DetectionBaseModel
    ├── TrainingError                 1  the target could not be trained, loaded or exported
    ├── DependencyError               1  an optional part is not installed
    ├── RemoteError                   1  a server refused, failed or did not answer in time
    └── GateError                     5  a quality gate was not met

An error is one sentence, with a hint where something can be done about it. `cli.py` is the only place that turns an
error into output and an exit code.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class AutodistillSegError(Exception):
    """Root of the tree: a one-sentence `message` and, if there is one, a `hint` that says what to do."""

    exit_code = 1

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} Hint: {self.hint}" if self.hint else self.message


def sendable(error: AutodistillSegError) -> AutodistillSegError:
    """The same message in a class that can be pickled; the constructor of the original may not allow it."""
    plain = BaseModelError(error.message, error.hint)
    plain.exit_code = error.exit_code
    return plain


class UsageError(AutodistillSegError):
    """A wrong option, ontology or configuration."""

    exit_code = 2


class UnknownNameError(UsageError):
    """`name` is not one of `known`; the message suggests the nearest and lists them all."""

    def __init__(self, kind: str, name: str, known: Iterable[str], hint: str | None = None) -> None:
        known = sorted(known)
        near = difflib.get_close_matches(name.lower(), [k.lower() for k in known], n=1, cutoff=0.5)
        suggestion = next((k for k in known if near and k.lower() == near[0]), None)
        guess = f" (did you mean {suggestion!r}?)" if suggestion else ""
        super().__init__(f"Unknown {kind} {name!r}{guess}.", hint or f"Known: {', '.join(known)}.")


class OutputExistsError(UsageError):
    """The output folder is not empty and neither resume nor overwrite is set."""


class MissingInputError(AutodistillSegError):
    """An input does not exist, or is empty."""

    exit_code = 3


class DataError(AutodistillSegError):
    """An input exists but is wrong: an image, a COCO file, a label store."""


class BaseModelError(AutodistillSegError):
    """A base broke the contract of `DetectionBaseModel`, or could not be built."""


class TrainingError(AutodistillSegError):
    """The target could not be trained, loaded or exported."""


class DependencyError(AutodistillSegError):
    """An optional part is not installed."""


class RemoteError(AutodistillSegError):
    """A server refused, failed or did not answer in time; `status` is its HTTP status, None if there is none."""

    def __init__(self, message: str, hint: str | None = None, *, status: int | None = None) -> None:
        super().__init__(message, hint)
        self.status = status


class GateError(AutodistillSegError):
    """A quality gate was not met."""

    exit_code = 5
