"""A calibration as text for a terminal."""

from __future__ import annotations

from ..core.plain_text import counted, number, table
from .label_calibration import Calibration, ClassCalibration


def calibration_text(found: Calibration) -> str:
    """A row for each class, what is promised and assumed, and each class without a promise with the reason."""
    head = ["class", "threshold", "labels", "precision", "at least", "recall", "old threshold", "precision", "recall"]
    lines = [table(head, [_row(one) for one in found.classes])]
    promised = [one for one in found.classes if one.calibrated]
    if promised:
        lines += ["", *_promise(found)]
    lines += _failures(found)
    return "\n".join(lines)


def _row(one: ClassCalibration) -> list[str]:
    after, before = one.after, one.before
    return [
        one.name,
        number(one.threshold, ".4f") if one.calibrated else "–",
        str(after.labels),
        number(after.precision),
        number(one.lower),
        number(after.recall),
        number(one.old_threshold, ".4f"),
        number(before.precision),
        number(before.recall),
    ]


def _promise(found: Calibration) -> list[str]:
    concerned = (
        "all images like the gold images, on average"
        if found.future_images is None
        else f"the {counted(found.future_images, 'other labeled image')} of the run"
    )
    return [
        f"at least: with probability {1 - found.level:.0%} the labels of the class have this precision or more in "
        f"{concerned}; for each class by itself.",
        f"It assumes that the {counted(found.images, 'gold image')} and these are drawn alike and independently "
        "(frames of one video are not), and that every object in the gold images is annotated. Labels count as right "
        "at mask IoU 0.5. The other numbers are those of the gold images.",
    ]


def _failures(found: Calibration) -> list[str]:
    lines = []
    for one in found.classes:
        if one.calibrated:
            continue
        what = f"no promise for {one.name!r}: {one.reason}"
        if one.missing_gold is not None:
            what += f"; about {counted(one.missing_gold, 'more gold object')} may do"
        kept = "the threshold stays" if one.threshold == one.old_threshold else "the threshold becomes"
        lines.append(f"{what}; {kept} {one.threshold:g}")
    return ["", *lines] if lines else []
