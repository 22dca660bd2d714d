"""Runs the refine rules of `refine_rules` over the labels of an image."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from ..core.config import RefineConfig
from ..core.discovery import discovered
from ..core.types import Classes, ImageLabels, Instance
from . import refine_rules
from .refine_rule import ApplyRule, RefineRule, RuleContext


def refine(labels: ImageLabels, config: RefineConfig, classes: Classes) -> ImageLabels:
    """The labels that the rules keep, best score first, and those they reject with a reason each.

    Raises:
        UnknownNameError: a confidence is given for a class that is not in `classes`.
    """
    kept = by_score(labels.instances)
    rejected = list(labels.rejected)
    for _, apply in prepared_rules(context_of(labels, config, classes)):
        kept, taken = apply(kept)
        rejected += taken
    return dataclasses.replace(labels, instances=tuple(kept), rejected=tuple(rejected))


def context_of(labels: ImageLabels, config: RefineConfig, classes: Classes) -> RuleContext:
    """What the rules may depend on for the image of `labels`."""
    return RuleContext(config, classes, labels.image.height * labels.image.width)


def by_score(instances: Sequence[Instance]) -> list[Instance]:
    """The instances as the rules take them: best score first, equal scores in the order the base gave them.

    The order decides which of two equal scores wins NMS.
    """
    return sorted(instances, key=lambda instance: -instance.score)


def prepared_rules(context: RuleContext) -> list[tuple[RefineRule, ApplyRule]]:
    """Every rule, ready for one image, in the order they run; raises UnknownNameError as `refine`."""
    return [(rule, rule.prepare(context)) for rule in all_rules()]


def all_rules() -> tuple[RefineRule, ...]:
    """Every rule of the folder `refine_rules`, in the order they run."""
    return tuple(sorted(discovered(refine_rules, "RULES"), key=lambda rule: (rule.order, rule.name)))


def reason_text(key: str) -> str:
    """What a reason for rejecting a label means; the key itself with spaces where no rule has words for it."""
    words = {name: text for rule in all_rules() for name, text in rule.reasons.items()}
    return words.get(key, key.replace("_", " "))
