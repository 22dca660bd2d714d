"""Gates: the least values that metrics must reach."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..core.errors import GateError, UsageError
from ..core.types import Classes, GroundTruth, TruthImage
from .evaluator import evaluate

# A report of one set of predictions has its metrics at the top; this stands for it, as in a run's metrics.
TARGET = "target."


def check_gates(gates: Mapping[str, float], metrics: Mapping[str, Any]) -> None:
    """Compares each gate, such as {"target.mask.ap50": 0.6}, with the metric of that dotted name.

    `metrics` is what metrics.json holds, or one `Report.to_dict()`, whose metrics are named without a model
    (`mask.ap50`, `per_class.a dog.ap`) or as the target's (`target.mask.ap50`).

    Raises:
        UsageError: a gate names no metric; the known names are listed.
        GateError: one or more are not reached; an undefined value reaches none.
    """
    unmet = []
    for name, least in gates.items():
        value = _find(metrics, name)
        if value is None and name.startswith(TARGET) and "target" not in metrics:
            value = _find(metrics, name.removeprefix(TARGET))
        if value is None:
            raise _no_metric(name, metrics)
        reached = value[0]
        if reached is None or not reached >= least:
            shown = "undefined" if reached is None else f"{reached:.3f}"
            unmet.append(f"{name} >= {least:g} was not met: it is {shown}")
    if unmet:
        raise GateError(f"The gate {'; the gate '.join(unmet)}.")


def check_gate_names(
    gates: Mapping[str, float], classes: Classes, sets: Sequence[str], held_out: Mapping[str, Any] | None
) -> None:
    """Refuses a gate that names no metric of a run with these classes: before the run, not after hours of it.

    `sets` are the names of its gold sets, and `held_out` what metrics.json will say under that key; without a gold set
    there are none, and None.

    Raises:
        UsageError: as `check_gates`.
    """
    if not gates:
        return
    blank = GroundTruth(classes, (TruthImage("blank", Path("blank"), 1, 1, ()),), "")
    report = evaluate(blank, ()).to_dict()
    models = {"images": 0, "instances": 0, "base": report, "target": report, "recovery": None}
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
        f"The gate {name!r} names no metric.", f"Such as {', '.join(known)}; `evaluate --json` shows all of them."
    )


def _find(metrics: Mapping[str, Any], name: str) -> tuple[float | None] | None:
    """The number (or None, undefined) of a dotted name, in a tuple; None where there is no such metric.

    Names of classes may hold dots themselves.
    """
    for key, value in metrics.items():
        if name == key and (value is None or _is_number(value)):
            return (value,)
        if name.startswith(f"{key}.") and isinstance(value, Mapping):
            found = _find(value, name[len(key) + 1 :])
            if found is not None:
                return found
        # A model that was not scored has no numbers at all.
        if name.startswith(f"{key}.") and value is None:
            return (None,)
    return None


def _names(metrics: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    for key, value in metrics.items():
        if isinstance(value, Mapping):
            yield from _names(value, f"{prefix}{key}.")
        elif value is None or _is_number(value):
            yield f"{prefix}{key}"


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
