"""What a refine rule is. Pure functions: no file, no image, no option that is not in `RefineConfig`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from ..core.config import RefineConfig
from ..core.types import Classes, Instance, Rejected

# The instances that are kept, and those that are rejected, each in the order they came.
Outcome = tuple[list[Instance], list[Rejected]]
# Takes the instances of one image, best score first. A rule that changes masks rejects nothing; one that rejects
# returns the very objects that it keeps.
ApplyRule = Callable[[Sequence[Instance]], Outcome]
StepOutcome = Literal["passed", "changed", "off"]


@dataclass(frozen=True, slots=True)
class RuleContext:
    """What a rule may depend on: the options, the classes, and the number of pixels of the image."""

    config: RefineConfig
    classes: Classes
    image_pixels: int


@dataclass(frozen=True, slots=True)
class RuleStep:
    """One rule's run over an image, seen from one instance that it kept.

    `before` is the instance as the rule got it and `after` as the rule left it; `found` is everything the rule got,
    and `kept` what it kept, best score first.
    """

    context: RuleContext
    found: Sequence[Instance]
    kept: Sequence[Instance]
    before: Instance
    after: Instance


@dataclass(frozen=True)
class RefineRule:
    """A rule: its `name`, when it runs, what it does, and its words.

    Rules run by rising `order`: thresholds first, as they are cheap; mask cleaning before areas and NMS, which look at
    the cleaned mask. `prepare` makes the rule for images of a size and raises UnknownNameError where an option names an
    unknown class. `explain` tells what the rule did to one kept instance: `off` where no option asks for it. `reasons`
    maps each reason the rule rejects with to words for the report.
    """

    name: str
    order: int
    prepare: Callable[[RuleContext], ApplyRule]
    explain: Callable[[RuleStep], tuple[StepOutcome, str]]
    reasons: Mapping[str, str]


def partition(instances: Sequence[Instance], keep: Sequence[bool], reason: str) -> Outcome:
    """The instances where `keep` is true, and the others rejected for `reason`."""
    kept = [instance for instance, good in zip(instances, keep, strict=True) if good]
    return kept, [Rejected(instance, reason) for instance, good in zip(instances, keep, strict=True) if not good]


def area_in_pixels(limit: float, image_pixels: int) -> float:
    """An area limit in pixels: values under 1 are a fraction of the image."""
    return limit * image_pixels if 0 < limit < 1 else limit
