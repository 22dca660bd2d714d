"""The numbers and sentences of the report: formatted metrics, and the result of the run in plain words."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any, TypeGuard

import yaml

from ..core.plain_text import counted

UNDEFINED = "–"
_SIZES = {"xlarge": "XLarge", "2xlarge": "2XLarge"}


def known(value: Any) -> TypeGuard[float]:
    """Whether a metric has a value: a finite number of 0 or more (pycocotools writes -1 for an undefined one)."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value) and value >= 0


def score(value: Any) -> str:
    """A metric in 0..1 with three decimals."""
    return f"{value:.3f}" if known(value) else UNDEFINED


def difference(target: Any, base: Any) -> str:
    """Target minus base with a sign and three decimals."""
    if not (known(target) and known(base)):
        return UNDEFINED
    text = f"{target - base:+.3f}"
    return "0.000" if float(text) == 0 else text.replace("-", "−")


def percent(value: Any) -> str:
    """A fraction in percent; with a decimal if it would be rounded to 0% or 100%."""
    if not known(value):
        return UNDEFINED
    if 0 < value < 0.001:
        return "<0.1%"
    return f"{value:.1%}" if f"{value:.0%}" in ("0%", "100%") and value not in (0, 1) else f"{value:.0%}"


def milliseconds(value: Any) -> str:
    """A time per image with two or three significant digits."""
    if not known(value):
        return UNDEFINED
    return f"{value:,.0f}\N{NO-BREAK SPACE}ms" if value >= 100 else f"{value:.1f}\N{NO-BREAK SPACE}ms"


def count(value: Any) -> str:
    """An integer with commas."""
    return f"{value:,.0f}" if known(value) else UNDEFINED


def model_names(config_text: str) -> tuple[str, str]:
    """The names of target and base, from `target.size` and `base.name` of the configuration."""
    try:
        config = yaml.safe_load(config_text)
    except yaml.YAMLError:
        config = None
    # Only the last part of `module:Class` or of a path.
    size, name = _entry(config, "target", "size").lower(), re.split("[:/]", _entry(config, "base", "name"))[-1]
    return f"RF-DETR Seg {_SIZES.get(size, size.capitalize())}".strip(), name


def _entry(config: Any, group: str, key: str) -> str:
    options = config.get(group) if isinstance(config, dict) else None
    return str(options.get(key) or "") if isinstance(options, dict) else ""


def has_gold(metrics: Mapping[str, Any]) -> bool:
    """Whether there was a gold set made by people; otherwise the target was compared with the labels of the base."""
    return metrics.get("reference") != "base labels"


def not_held_out(metrics: Mapping[str, Any]) -> bool:
    """Whether every scored image looks like an image that the target was trained or selected on."""
    held_out = metrics.get("held_out") or {}
    return bool(held_out.get("look_alikes")) and not held_out.get("images")


def headline(metrics: Mapping[str, Any], target_name: str) -> str:
    """The result of the run in one short sentence, for a reader who does not know the metrics."""
    target, base, recovery = _mask_ap(metrics, "target"), _mask_ap(metrics, "base"), metrics.get("recovery")
    if target is None:
        return "Nothing was scored in this run." if base is None else f"The teacher reaches a mask AP of {score(base)}."
    if not has_gold(metrics):
        return f"The {target_name} student agrees with its teacher at a mask AP of {score(target)}."
    if base is None or not known(recovery):
        return f"The {target_name} student reaches a mask AP of {score(target)}."
    if recovery >= 1.005:
        return f"The {target_name} student does better than its teacher: {percent(recovery)} of its quality."
    return f"The {target_name} student reaches {percent(recovery)} of its teacher's quality."


def remarks(metrics: Mapping[str, Any], base_name: str) -> tuple[str, ...]:
    """The next sentences: the evidence, the speed, the best confidence threshold, the weakest classes."""
    target, base = metrics.get("target") or {}, metrics.get("base") or {}
    found = [_evidence(metrics, base_name), _speed(target.get("milliseconds"), base.get("milliseconds"))]
    found.append(confidence_sentence(target))
    scored = [(row["ap"], name) for name, row in (target.get("per_class") or {}).items() if known(row.get("ap"))]
    if len(scored) > 3:
        weakest = ", ".join(f"{name} ({score(ap)})" for ap, name in sorted(scored)[:3])
        found.append(f"The weakest classes are {weakest}.")
    return tuple(sentence for sentence in found if sentence)


def _evidence(metrics: Mapping[str, Any], base_name: str) -> str:
    """The evidence for the headline: both scores, and the number of images and where their labels are from."""
    target, base = _mask_ap(metrics, "target"), _mask_ap(metrics, "base")
    images = counted(metrics.get("images"), "image")
    if target is None and base is None:
        return ""
    if not has_gold(metrics):
        return f"Measured on {images} with the labels of the teacher{', ' + base_name if base_name else ''}."
    if target is None or base is None:
        return f"Measured on {images} of the gold set{_unseen(metrics)}."
    teacher = f"the teacher, {base_name}" if base_name else "the teacher"
    where = f"on {images} of the gold set{_unseen(metrics)}"
    return f"Its mask AP is {score(target)}, against {score(base)} for {teacher}, {where}."


def _unseen(metrics: Mapping[str, Any]) -> str:
    """Whether the target has seen the images; empty if unknown."""
    if not_held_out(metrics):
        return ", which are not held out"
    held_out = metrics.get("held_out") or {}
    return ", all held out" if held_out.get("images") and not held_out.get("problem") else ""


def confidence_sentence(evaluation: Mapping[str, Any]) -> str:
    """The confidence threshold with the best F1."""
    if not known(evaluation.get("best_confidence")):
        return ""
    best = f" ({score(evaluation['best_f1'])})" if known(evaluation.get("best_f1")) else ""
    return f"A confidence threshold of {evaluation['best_confidence']:.2f} gives the best F1{best}."


def speed_factor(target: Any, base: Any) -> str:
    """`40 times as fast`; empty if a time is missing or the two differ by less than 10%."""
    if not (known(target) and known(base) and target > 0 and base > 0) or 0.9 < base / target < 1.1:
        return ""
    factor, word = (base / target, "fast") if base > target else (target / base, "slow")
    return f"{factor:,.0f} times as {word}" if factor >= 10 else f"{factor:.1f} times as {word}"


def _speed(target: Any, base: Any) -> str:
    if not known(target):
        return ""
    if not known(base):
        return f"The student takes {milliseconds(target)} per image."
    factor = speed_factor(target, base)
    end = f": {factor}" if factor else ""
    return f"The student takes {milliseconds(target)} per image, the teacher {milliseconds(base)}{end}."


def _mask_ap(metrics: Mapping[str, Any], model: str) -> float | None:
    value = ((metrics.get(model) or {}).get("mask") or {}).get("ap")
    return float(value) if known(value) else None
