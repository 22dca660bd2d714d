"""Applies the refine rules to one image again and records what each did to one instance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..core.types import Classes, ImageLabels, Instance, Rejected
from ..dataset.refine import by_score, prepared_rules
from ..dataset.refine_rule import ApplyRule, RefineRule, RuleContext, RuleStep
from ..dataset.refine_rules.mask_nms import overlap_of


@dataclass(frozen=True, slots=True)
class Step:
    """One rule and its `outcome` for the label: `passed`, `changed` (its mask), or `off`; `detail` is a short text."""

    rule: str
    outcome: str
    detail: str


@dataclass(frozen=True, slots=True)
class Displaced:
    """An instance that is not in the dataset because it overlaps this label.

    Without the label the rule would have kept it, unless it overlaps another label too. `iou` and `share_of_smaller`
    (intersection over the area of the smaller mask) are 0..1.
    """

    class_name: str
    score: float
    reason: str
    iou: float
    share_of_smaller: float


@dataclass(frozen=True, slots=True)
class RulePass:
    """One rule applied to an image: the instances it got, kept and rejected."""

    rule: RefineRule
    apply: ApplyRule
    found: list[Instance]
    kept: list[Instance]
    rejected: list[Rejected]


def replay(labels: ImageLabels, context: RuleContext) -> list[RulePass]:
    """Applies every rule in order to the instances of an image."""
    found = by_score(labels.instances)
    passes = []
    for rule, apply in prepared_rules(context):
        kept, rejected = apply(found)
        passes.append(RulePass(rule, apply, found, kept, rejected))
        found = kept
    return passes


def instance_history(passes: Sequence[RulePass], index: int) -> list[Instance]:
    """The versions of the instance that is kept at `index` in the end: from the base, then after each rule."""
    history = [passes[-1].kept[index]]
    for one in reversed(passes):
        # A rule that rejects instances returns the kept ones as the same objects; a rule that changes masks rejects
        # none, so the indices stay the same.
        if one.rejected:
            index = next(i for i, instance in enumerate(one.found) if instance is one.kept[index])
        history.insert(0, one.found[index])
    return history


def rule_steps(passes: Sequence[RulePass], history: Sequence[Instance], context: RuleContext) -> tuple[Step, ...]:
    """What each rule did to the instance with this `history`."""
    steps = []
    for at, one in enumerate(passes):
        step = RuleStep(context, one.found, one.kept, history[at], history[at + 1])
        steps.append(Step(one.rule.name, *one.rule.explain(step)))
    return tuple(steps)


def displaced_by(passes: Sequence[RulePass], history: Sequence[Instance], classes: Classes) -> tuple[Displaced, ...]:
    """The instances that a rule rejected because of the instance with this `history`."""
    return tuple(
        displaced
        for at, one in enumerate(passes)
        for displaced in _displaced_in_pass(one, history[at], history[at + 1], classes)
    )


def _displaced_in_pass(one: RulePass, before: Instance, after: Instance, classes: Classes) -> list[Displaced]:
    """The instances that the rule rejects next to this instance only, but keeps when they are alone."""
    index_of = {id(instance): at for at, instance in enumerate(one.found)}
    return [
        Displaced(classes.names[r.instance.class_index], r.instance.score, r.reason, *overlap_of(after, r.instance))
        for r in one.rejected
        if index_of[id(before)] < index_of[id(r.instance)]
        and not one.apply([r.instance])[1]
        and one.apply([before, r.instance])[1]
    ]
