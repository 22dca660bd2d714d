"""Says in one sentence whether a gold set can tell base and target apart, and how many images it would take."""

from __future__ import annotations

import math

from ..core.plain_text import counted
from .bootstrap import LEAST_GROUPS
from .intervals import ModelComparison

# The standard errors from 0 at which a difference is found in 80% of gold sets: 1.96 for the interval, 0.84 for that.
_DISTANCE = 1.96 + 0.84
# Beyond so many times as many images, a number of them is of no use.
_MOST_TIMES = 100


def comparison_sentence(found: ModelComparison) -> str:
    """The sentence; it names the difference of mask AP and its 95% interval."""
    seen = f"{counted(found.instances, 'instance')} in {counted(found.images, 'image')}"
    if found.difference is None:
        return ""
    if found.difference_interval is None:
        groups = "" if found.groups == found.images else f", which are {counted(found.groups, 'group')} of look-alikes,"
        return f"{seen}{groups} are too few for an interval: it takes at least {LEAST_GROUPS} different images."
    low, high = found.difference_interval.low, found.difference_interval.high
    shown = f"mask AP {found.difference:+.3f}, 95% interval {low:+.3f} to {high:+.3f}"
    if low > 0 or high < 0:
        better = "better" if low > 0 else "worse"
        return f"The target is {better} than the base: {shown}, from {seen}."
    more = images_needed(found)
    if more is None:
        need = f"not even {_MOST_TIMES} times as many images would"
    else:
        need = f"about {_rounded(more)} more images would, if the difference is what it seems"
    return f"{seen} cannot tell base and target apart ({shown}); {need}."


def images_needed(found: ModelComparison) -> int | None:
    """How many more images would show a difference of this size in 80% of gold sets; None if far too many.

    The standard error shrinks with the square root of the number of images.
    """
    if not found.difference or found.difference_interval is None:
        return None
    times = (_DISTANCE * found.difference_interval.error / abs(found.difference)) ** 2
    return math.ceil(found.images * max(0.0, times - 1)) if times <= _MOST_TIMES else None


def _rounded(number: int) -> int:
    """Two digits are as many as the number has."""
    size = int(10 ** max(0, len(str(number)) - 2))
    return max(1, math.ceil(number / size) * size)
