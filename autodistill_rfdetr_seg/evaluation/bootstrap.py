"""The bootstrap over images: weights of resampled gold sets, and intervals from the values of these."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .detections import FloatArray

CONFIDENCE = 0.95
# With fewer groups of images an interval would say almost nothing about other images.
LEAST_GROUPS = 10
# Simulated intervals of few groups held the true AP less often than they promise: they are wider by this, divided by
# the number of groups (`benchmarks/intervals.py`).
_WIDER = 2.5
# If the value is undefined in more of the resampled sets, its interval is too.
_MOST_UNDEFINED = 0.05


@dataclass(frozen=True, slots=True)
class Interval:
    """A 95% interval of a score, and the standard error that belongs to it."""

    low: float
    high: float
    error: float


def group_weights(groups: Sequence[Hashable], replicates: int, seed: int = 0) -> npt.NDArray[np.int64]:
    """How often each image is in each resampled gold set, (replicates, images).

    Groups are drawn with replacement, as many as there are, and the images of one group together: frames of one view
    tell less than as many different images.
    """
    index = {group: at for at, group in enumerate(dict.fromkeys(groups))}
    count = len(index)
    rng = np.random.default_rng(seed)
    drawn = rng.multinomial(count, np.full(count, 1 / count), size=replicates)
    weights: npt.NDArray[np.int64] = drawn[:, [index[group] for group in groups]]
    return weights


def interval(
    values: FloatArray, estimate: float | None, groups: int, limits: tuple[float, float] = (-math.inf, math.inf)
) -> Interval | None:
    """The interval of a score from its values in resampled sets, NaN where undefined; within `limits`.

    AP of a few images is too high on average: the best precision at each recall is taken, and chance makes it better.
    The resampled sets show by how much, so this bias is subtracted from the estimate; the interval is that of Student
    with `groups` - 1 degrees of freedom, and the bootstrap's variance, which is that of n - 1 of n, is corrected for
    that (Efron & Tibshirani, "An Introduction to the Bootstrap", 1993, chapters 10 and 12). It is wider for few groups,
    as simulations showed to be needed. None with fewer than `LEAST_GROUPS` groups, or if the score is often undefined.
    """
    from scipy.special import stdtrit

    if estimate is None or groups < LEAST_GROUPS or np.isnan(values).mean() > _MOST_UNDEFINED:
        return None
    defined = values[~np.isnan(values)]
    error = float(defined.std(ddof=1)) * math.sqrt(groups / (groups - 1))
    center = 2 * estimate - float(defined.mean())
    reach = float(stdtrit(groups - 1, (1 + CONFIDENCE) / 2)) * error * (1 + _WIDER / groups)
    low, high = max(limits[0], center - reach), min(limits[1], center + reach)
    return Interval(min(low, estimate), max(high, estimate), error)
