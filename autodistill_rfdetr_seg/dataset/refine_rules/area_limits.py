"""Rejects masks that are empty, too small or too large."""

from __future__ import annotations

from collections.abc import Sequence

from ...core import masks
from ...core.types import Instance, Rejected
from ..refine_rule import ApplyRule, Outcome, RefineRule, RuleContext, RuleStep, StepOutcome, area_in_pixels


def within_area(instances: Sequence[Instance], smallest: float, largest: float) -> Outcome:
    """Rejects (`empty`, `too_small`, `too_large`) masks outside `smallest`…`largest` pixels, both included."""
    kept: list[Instance] = []
    rejected: list[Rejected] = []
    for instance in instances:
        area = masks.area(instance.rle)
        if smallest <= area <= largest:
            kept.append(instance)
        else:
            reason = "empty" if area == 0 else "too_small" if area < smallest else "too_large"
            rejected.append(Rejected(instance, reason))
    return kept, rejected


def _smallest(context: RuleContext) -> float:
    return max(1.0, area_in_pixels(context.config.min_area, context.image_pixels))


def _largest(context: RuleContext) -> float | None:
    limit = context.config.max_area
    return None if limit is None else area_in_pixels(limit, context.image_pixels)


def _prepare(context: RuleContext) -> ApplyRule:
    smallest, largest = _smallest(context), _largest(context)
    return lambda found: within_area(found, smallest, context.image_pixels if largest is None else largest)


def _explain(step: RuleStep) -> tuple[StepOutcome, str]:
    largest = _largest(step.context)
    limits = f"at least {_smallest(step.context):g}, {'no upper limit' if largest is None else f'at most {largest:g}'}"
    return "passed", f"{masks.area(step.before.rle)} pixels; {limits}"


RULES = (
    RefineRule(
        "area",
        40,
        _prepare,
        _explain,
        {"empty": "empty mask", "too_small": "mask too small", "too_large": "mask too large"},
    ),
)
