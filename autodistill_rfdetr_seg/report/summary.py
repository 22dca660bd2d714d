"""The summary at the top of the page: how sure the result is, the three biggest losses, and what to do next."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..core.plain_text import between, counted
from .report_text import has_gold, known, score

# What each kind of error is in the words of a person who looks at the pictures, and what helps against it.
LOSSES: Mapping[str, tuple[str, str]] = {
    "missed": (
        "objects that are not found",
        "look at the missed objects: if the labels lack such objects too, change the prompts or lower the confidence; "
        "if they have them, label more images with such objects, or train longer or at a higher resolution",
    ),
    "background": (
        "detections where there is no object",
        "look at the false alarms: if the labels have them too, raise the confidence or the stability in `build`; if "
        "people forgot the objects, correct the gold set",
    ),
    "localization": (
        "masks that fit badly",
        "compare the outlines: if the labels are as coarse, use a better segmenter; if not, train at a higher "
        "resolution",
    ),
    "class": (
        "objects of the wrong class",
        "look at the confusion matrix: make the prompts of the classes that are confused more different, or join them",
    ),
    "both": (
        "masks that fit badly and have the wrong class",
        "make the prompts of the classes that are confused more different, and check their labels",
    ),
    "duplicate": (
        "objects that are found twice",
        "remove duplicates: `predict` does; if the labels have them, lower `nms_iou` in `build`",
    ),
}
MOST_LOSSES = 3
# A loss of less AP50 than this is not worth a step.
_LEAST_LOSS = 0.005


@dataclass(frozen=True, slots=True)
class Loss:
    """A kind of error: what it is, the AP50 that it costs, how many there are, and what helps."""

    kind: str
    text: str
    ap50: float
    count: int
    step: str


def biggest_losses(metrics: Mapping[str, Any]) -> tuple[Loss, ...]:
    """The kinds of errors of the target that cost the most AP50, at most three."""
    budget = (metrics.get("target") or {}).get("errors") or {}
    lost = {kind: value for kind, value in (budget.get("ap50_lost") or {}).items() if known(value)}
    order = sorted((kind for kind in lost if lost[kind] >= _LEAST_LOSS), key=lambda kind: (-lost[kind], kind))
    return tuple(
        Loss(kind, LOSSES[kind][0], lost[kind], budget["counts"][kind], LOSSES[kind][1]) for kind in order[:MOST_LOSSES]
    )


def certainty(metrics: Mapping[str, Any]) -> str:
    """How sure the scores are: base and target compared, or the interval of the target alone."""
    if metrics.get("comparison"):
        return str(metrics["comparison"])
    bounds = interval_of(metrics.get("target") or {}, "mask", "ap")
    if bounds is None:
        return ""
    value = score((metrics["target"].get("mask") or {}).get("ap"))
    seen = f"{counted(metrics.get('instances'), 'instance')} in {counted(metrics.get('images'), 'image')}"
    return f"The target's mask AP is {value}, 95% interval {between(bounds)}, from {seen}."


def next_steps(metrics: Mapping[str, Any]) -> tuple[str, ...]:
    """What to do next, the most useful step first; each is a sentence."""
    steps = []
    if not has_gold(metrics):
        steps.append(
            "Annotate a gold set by hand (50 images are a start) and evaluate again: these scores are not truth."
        )
    apart = (metrics.get("intervals") or {}).get("difference")
    if metrics.get("comparison") and (apart is None or apart["low"] <= 0 <= apart["high"]):
        steps.append("Annotate more gold images before you choose between base and target.")
    recovery = metrics.get("recovery")
    if apart is not None and apart["low"] > 0 and known(recovery):
        steps.append("Use the target: it does better than its teacher. Correcting labels now helps more than training.")
    steps += [f"{loss.step[0].upper()}{loss.step[1:]}." for loss in biggest_losses(metrics)[:1]]
    return tuple(steps)


def interval_of(scores: Mapping[str, Any], kind: str, name: str) -> Mapping[str, float] | None:
    """The interval of a score of one model, None if it has none."""
    found: Mapping[str, float] | None = ((scores.get("intervals") or {}).get(kind) or {}).get(name)
    return found
