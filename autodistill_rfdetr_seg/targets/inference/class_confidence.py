"""The score above which an instance of a class counts: given, or the best one that an evaluation found."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeAlias

from ...core.config import DISPLAY_CONFIDENCE, check_confidence
from ...core.errors import DataError, UnknownNameError, UsageError
from ...system.file_hash import file_sha256
from ...system.files import read_json
from ...system.run_folder import RunFolder
from ..training.training_folder import checkpoint_of
from .export_record import export_folder, read_export

BEST = "best"
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ConfidenceChoice:
    """A value for all classes, or `best`, and other values for some of them by name."""

    default: float | Literal["best"] = DISPLAY_CONFIDENCE
    by_class: Mapping[str, float] = field(default_factory=dict)


Confidence: TypeAlias = "float | Mapping[str, float] | Literal['best'] | ConfidenceChoice"


def resolve_confidence(
    confidence: Confidence, class_names: Sequence[str], source: str | Path | None
) -> float | tuple[float, ...]:
    """The confidence for all classes, or one for each in the order of `class_names`.

    `source` is the run, checkpoint or export whose evaluation `best` is read from.

    Raises:
        UsageError: a value is not within 0..1, or there is no evaluation to read `best` from.
        UnknownNameError: there is no such class.
        DataError: the record of the evaluation is damaged.
    """
    choice = _choice(confidence)
    for name, value in choice.by_class.items():
        if name not in class_names:
            raise UnknownNameError("class", name, class_names)
        check_confidence(value)
    if not isinstance(choice.default, str):
        check_confidence(choice.default)
        if not choice.by_class:
            return float(choice.default)
        return tuple(float(choice.by_class.get(name, choice.default)) for name in class_names)
    best = best_confidences(source)
    if best is None:
        raise UsageError(
            f"The best confidence of each class is not known: {_name(source)} has not been evaluated.",
            "Run `autodistill-seg evaluate RUN` first (and export again), or give values, such as nut=0.4.",
        )
    unknown = [name for name in class_names if name not in best and name not in choice.by_class]
    if unknown:
        _log.warning("No best confidence is known for %s: %g is used.", ", ".join(unknown), DISPLAY_CONFIDENCE)
    return tuple(float(choice.by_class.get(name, best.get(name, DISPLAY_CONFIDENCE))) for name in class_names)


def _choice(confidence: Any) -> ConfidenceChoice:
    if isinstance(confidence, ConfidenceChoice):
        return confidence
    if isinstance(confidence, Mapping):
        return ConfidenceChoice(by_class=confidence)
    if isinstance(confidence, str) and confidence != BEST:
        raise UsageError(f"The confidence {confidence!r} is neither a number nor {BEST!r}.")
    return ConfidenceChoice(confidence)


def _name(source: str | Path | None) -> str:
    return "the model" if source is None or not Path(source).name else str(source)


def best_confidences(source: str | Path | None) -> dict[str, float] | None:
    """The confidence with the best F1 of each class, by name, of an export, or of the last evaluation of a run's model;
    None where it is not known. A class without gold instances has that of all classes together, if that is known.

    Raises:
        DataError: the record is damaged.
    """
    path = Path(source or "")
    if not path.name or not path.exists():
        return None
    if (folder := export_folder(path)) is not None:
        found = read_export(folder)["model"].get("best_confidence")
        return None if found is None else dict(found)
    checkpoint = checkpoint_of(path)
    file = RunFolder.of_checkpoint(checkpoint).evaluation / "metrics.json"
    if not file.is_file():
        return None
    metrics = read_json(file)
    try:
        if metrics["fingerprints"]["checkpoint_sha256"] != file_sha256(checkpoint):
            return None
        target = metrics["target"]
        values = {
            name: target["best_confidence"] if row["best_confidence"] is None else row["best_confidence"]
            for name, row in target["per_class"].items()
        }
    except (KeyError, TypeError) as error:
        raise DataError(f"{file} is not the record of an evaluation ({error!r}).", "Evaluate the run again.") from error
    return {name: float(value) for name, value in values.items() if value is not None}
