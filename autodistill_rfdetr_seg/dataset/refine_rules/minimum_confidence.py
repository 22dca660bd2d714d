"""Rejects instances with a low score: one limit for all classes, or one for each."""

from __future__ import annotations

from collections.abc import Sequence

from ...core.config import RefineConfig
from ...core.errors import UnknownNameError
from ...core.types import Classes, Instance
from ..refine_rule import ApplyRule, Outcome, RefineRule, RuleContext, RuleStep, StepOutcome, partition


def class_thresholds(config: RefineConfig, classes: Classes) -> list[float]:
    """The minimum confidence of each class; 0 for a class that the mapping leaves out.

    Raises:
        UnknownNameError: the mapping names a class that is not in `classes`.
    """
    if isinstance(config.confidence, float):
        return [config.confidence] * len(classes.names)
    for name in config.confidence:
        if name not in classes.names:
            raise UnknownNameError("class in the confidence thresholds:", name, classes.names)
    return [config.confidence.get(name, 0.0) for name in classes.names]


def over_confidence(instances: Sequence[Instance], thresholds: Sequence[float]) -> Outcome:
    """Rejects (`confidence`) what scores under the threshold of its class."""
    return partition(instances, [i.score >= thresholds[i.class_index] for i in instances], "confidence")


def _prepare(context: RuleContext) -> ApplyRule:
    thresholds = class_thresholds(context.config, context.classes)
    return lambda found: over_confidence(found, thresholds)


def _explain(step: RuleStep) -> tuple[StepOutcome, str]:
    minimum = class_thresholds(step.context.config, step.context.classes)[step.before.class_index]
    return "passed" if minimum else "off", f"score {step.before.score:.3f}, at least {minimum:g}"


RULES = (RefineRule("confidence", 10, _prepare, _explain, {"confidence": "confidence under the threshold"}),)
