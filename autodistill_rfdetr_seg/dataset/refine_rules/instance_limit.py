"""Keeps only the instances with the best scores of each image."""

from __future__ import annotations

from collections.abc import Sequence

from ...core.types import Instance, Rejected
from ..refine_rule import ApplyRule, Outcome, RefineRule, RuleContext, RuleStep, StepOutcome


def best_instances(instances: Sequence[Instance], limit: int | None) -> Outcome:
    """Rejects (`max_instances`) all but the first `limit`, given best score first; None switches the rule off."""
    if limit is None:
        return list(instances), []
    return list(instances[:limit]), [Rejected(i, "max_instances") for i in instances[limit:]]


def _prepare(context: RuleContext) -> ApplyRule:
    return lambda found: best_instances(found, context.config.max_instances)


def _explain(step: RuleStep) -> tuple[StepOutcome, str]:
    limit = step.context.config.max_instances
    rank = next(at for at, instance in enumerate(step.found, start=1) if instance is step.before)
    detail = f"number {rank} of {len(step.found)} by score; limit {'none' if limit is None else limit}"
    return "off" if limit is None else "passed", detail


RULES = (
    RefineRule("max_instances", 70, _prepare, _explain, {"max_instances": "over the limit of instances per image"}),
)
