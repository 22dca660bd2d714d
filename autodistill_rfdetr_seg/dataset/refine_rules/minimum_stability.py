"""Rejects instances whose mask changed too much when the base was asked again."""

from __future__ import annotations

from collections.abc import Sequence

from ...core.types import Instance
from ..refine_rule import ApplyRule, Outcome, RefineRule, RuleContext, RuleStep, StepOutcome, partition


def over_stability(instances: Sequence[Instance], minimum: float | None) -> Outcome:
    """Rejects (`unstable`) what has a stability under `minimum`; what has none passes. None switches the rule off."""
    if minimum is None:
        return list(instances), []
    return partition(instances, [i.stability is None or i.stability >= minimum for i in instances], "unstable")


def _prepare(context: RuleContext) -> ApplyRule:
    return lambda found: over_stability(found, context.config.min_stability)


def _explain(step: RuleStep) -> tuple[StepOutcome, str]:
    minimum, stability = step.context.config.min_stability, step.before.stability
    detail = f"stability {'unknown' if stability is None else f'{stability:.3f}'}"
    return ("off", detail) if minimum is None else ("passed", f"{detail}, at least {minimum:g}")


RULES = (RefineRule("stability", 20, _prepare, _explain, {"unstable": "mask changed when the base was asked again"}),)
