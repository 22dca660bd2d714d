"""Gates: the minimum values of metrics."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..core.errors import GateError, UsageError
from ..core.types import Classes, GroundTruth, TruthImage
from .evaluator import evaluate
from .intervals import comparison_dict

# The name of the target in the metrics of a run. In a report on one set of predictions the metrics are at the top;
# there the prefix is optional.
TARGET = "target."
_MODELS = ("base", "target", "held_out")
_ENDS = ("low", "high")


def check_gates(gates: Mapping[str, float], metrics: Mapping[str, Any]) -> None:
    """Compares each gate, such as {"target.mask.ap50": 0.6}, with the metric of that dotted name.

    `metrics` is the content of metrics.json, or one `Report.to_dict()`, whose metrics are named without a model
    (`mask.ap50`, `per_class.a dog.ap`) or as those of the target (`target.mask.ap50`). `.low` and `.high` after a
    metric with an interval are its ends (`target.mask.ap50.low`, `recovery.low`).

    Raises:
        UsageError: there is no metric with the name of a gate; known names are listed.
        GateError: one or more gates are not met; an undefined value meets none.
    """
    unmet = []
    for name, minimum in gates.items():
        value = _find(metrics, name)
        if value is None and name.startswith(TARGET) and "target" not in metrics:
            value = _find(metrics, name.removeprefix(TARGET))
        if value is None:
            raise _no_metric(name, metrics)
        reached = value[0]
        if reached is None or not reached >= minimum:
            shown = "undefined" if reached is None else f"{reached:.3f}"
            unmet.append(f"{name} >= {minimum:g} was not met: it is {shown}")
    if unmet:
        raise GateError(f"The gate {'; the gate '.join(unmet)}.")


def check_gate_names(
    gates: Mapping[str, float], classes: Classes, sets: Sequence[str], held_out: Mapping[str, Any] | None
) -> None:
    """Refuses a gate that is no metric of a run with these classes, so that it fails before the run and not at its end.

    `sets` are the names of the gold sets, and `held_out` is the value that metrics.json will have under that key; empty
    and None without a gold set.

    Raises:
        UsageError: see `check_gates`.
    """
    if not gates:
        return
    empty = GroundTruth(classes, (TruthImage("empty", Path("empty"), 1, 1, ()),), "")
    report = evaluate(empty, (), intervals=True, replicates=1).to_dict()
    models = {
        "images": 0,
        "instances": 0,
        "base": report,
        "target": report,
        "recovery": None,
        "intervals": comparison_dict(None),
    }
    known: dict[str, Any] = {**models, "images_left_out": 0, "max_detections": 0, "score_floor": 0.0}
    if sets:
        known |= {"held_out": held_out, "all": models}
    if len(sets) > 1:
        known["sets"] = {name: {"base": report, "target": report} for name in sets}
    for name in gates:
        if _find(known, name) is None:
            raise _no_metric(name, known)


def _no_metric(name: str, metrics: Mapping[str, Any]) -> UsageError:
    known = [each for each in _names(metrics) if each.startswith(("mask.", f"{TARGET}mask."))]
    return UsageError(
        f"The gate {name!r} names no metric.",
        f"Examples are {', '.join(known)}; `evaluate --json` shows all metrics.",
    )


def _find(metrics: Mapping[str, Any], name: str, of_interval: bool = False) -> tuple[float | None] | None:
    """The value of a dotted name (None if undefined) in a tuple; None if there is no such metric.

    Class names may contain dots. `of_interval` says that `metrics` are the intervals of others, whose ends are found by
    the name of the metric and `low` or `high`.
    """
    for key, value in metrics.items():
        if name == key and (value is None or _is_number(value)):
            return (value,)
        if not name.startswith(f"{key}."):
            continue
        rest = name[len(key) + 1 :]
        if isinstance(value, Mapping):
            found = _find(value, rest, of_interval)
            if found is not None:
                return found
        # A model that was not scored is None, and so is an interval that is undefined.
        if value is None and (key in _MODELS or (of_interval and rest in _ENDS)):
            return (None,)
    intervals = metrics.get("intervals")
    return _find(intervals, name, True) if isinstance(intervals, Mapping) else None


def _names(metrics: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    for key, value in metrics.items():
        if isinstance(value, Mapping):
            yield from _names(value, f"{prefix}{key}.")
        elif value is None or _is_number(value):
            yield f"{prefix}{key}"


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
