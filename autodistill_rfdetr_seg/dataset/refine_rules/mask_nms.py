"""Non-maximum suppression on masks, within each class and across classes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...core import masks
from ...core.types import Instance, Rejected
from ...runtime.duplicate_removal import suppressed
from ..refine_rule import ApplyRule, Outcome, RefineRule, RuleContext, RuleStep, StepOutcome


def nms(instances: Sequence[Instance], iou: float | None, iom: float | None, *, per_class: bool) -> Outcome:
    """Greedy mask NMS over instances, best score first.

    Rejects (`mask_nms`, `nested`, or `agnostic_nms`, `agnostic_nested`) a mask whose IoU with one already kept is over
    `iou`, or whose intersection over the smaller of the two is over `iom`; None switches a test off.
    """
    if len(instances) < 2 or (iou is None and iom is None):
        return list(instances), []
    rles = [i.rle for i in instances]
    overlap = masks.iou_matrix(rles, rles)
    if np.count_nonzero(overlap) == np.count_nonzero(overlap.diagonal()):
        return list(instances), []
    nested = masks.intersection_over_minimum(overlap, np.array([masks.area(r) for r in rles], dtype=np.float64))
    classes = [i.class_index for i in instances]
    same, inside = ("mask_nms", "nested") if per_class else ("agnostic_nms", "agnostic_nested")
    keys = {"iou": same, "iom": inside}
    reasons = suppressed(overlap, nested, classes if per_class else None, iou, iom)
    kept = [one for one, reason in zip(instances, reasons, strict=True) if reason is None]
    return kept, [Rejected(one, keys[reason]) for one, reason in zip(instances, reasons, strict=True) if reason]


def overlap_of(first: Instance, second: Instance) -> tuple[float, float]:
    """IoU of two masks, and their intersection over the smaller one."""
    pair = [first.rle, second.rle]
    iou = masks.iou_matrix(pair, pair)
    nested = masks.intersection_over_minimum(iou, np.array([masks.area(r) for r in pair], dtype=np.float64))
    return float(iou[0, 1]), float(nested[0, 1])


def _limits(context: RuleContext, per_class: bool) -> tuple[float | None, float | None]:
    config = context.config
    return (config.nms_iou, config.nms_iom) if per_class else (config.agnostic_nms_iou, config.agnostic_nms_iom)


def _rule(name: str, order: int, per_class: bool, reasons: dict[str, str]) -> RefineRule:
    def prepare(context: RuleContext) -> ApplyRule:
        iou, iom = _limits(context, per_class)
        return lambda found: nms(found, iou, iom, per_class=per_class)

    def explain(step: RuleStep) -> tuple[StepOutcome, str]:
        return _explain(step, per_class)

    return RefineRule(name, order, prepare, explain, reasons)


def _explain(step: RuleStep, per_class: bool) -> tuple[StepOutcome, str]:
    iou, iom = _limits(step.context, per_class)
    if iou is None and iom is None:
        return "off", ""
    limits = ", ".join(
        f"{name} at most {limit:g}"
        for name, limit in (("IoU", iou), ("fraction of the smaller", iom))
        if limit is not None
    )
    kind = "mask of its class" if per_class else "mask"
    at = next(i for i, kept in enumerate(step.kept) if kept is step.before)
    rivals = [k for k in step.kept[:at] if not per_class or k.class_index == step.before.class_index]
    overlaps = [overlap_of(step.before, rival) for rival in rivals]
    if not any(nested for _, nested in overlaps):
        return "passed", f"no {kind} with a better score touches it ({limits})"
    highest = f"IoU {max(i for i, _ in overlaps):.2f}, fraction of the smaller {max(n for _, n in overlaps):.2f}"
    return "passed", f"highest with a better {kind}: {highest} ({limits})"


RULES = (
    _rule(
        "nms",
        50,
        True,
        {"mask_nms": "same object labeled twice (mask NMS)", "nested": "inside another mask of its class"},
    ),
    _rule(
        "agnostic_nms",
        60,
        False,
        {
            "agnostic_nms": "same object labeled as two classes (mask NMS)",
            "agnostic_nested": "inside a mask of another class",
        },
    ),
)
