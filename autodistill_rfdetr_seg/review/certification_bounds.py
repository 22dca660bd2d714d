"""The two bounds of a certification, from the answers to its checks. Numbers in, numbers out.

Both hold over the random draw of the checks, however the errors are arranged: labels of one image may all be wrong
together. The bound of the labels joins two independent pieces of evidence: the p-value of the labels that were checked
one by one, and the e-value of the labels in the regions that were checked.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ..evaluation.detections import FloatArray
from ..evaluation.stratified_bound import StratifiedTest
from ..evaluation.weighted_draws import WeightedDraws

# Halvings of the interval 0..1 of miss rates.
_HALVINGS = 16


@dataclass(frozen=True)
class CheckResults:
    """What the checks found.

    Attributes:
        sizes: the number of labels of each stratum.
        checked: the number of labels checked of each stratum.
        wrong: the number of these that are wrong.
        weights: the weight of each drawn region, in the order of drawing.
        all_weights: the sum of the weights of all regions.
        region_wrong: the number of wrong labels of each drawn region; at most its weight.
        region_missed: the number of missed objects of each drawn region.
        most_missed: no region is assumed to have more missed objects than this times its weight.
    """

    sizes: Sequence[int]
    checked: Sequence[int]
    wrong: Sequence[int]
    weights: FloatArray
    all_weights: float
    region_wrong: FloatArray
    region_missed: FloatArray
    most_missed: float

    @property
    def labels(self) -> int:
        """The number of labels of the run."""
        return sum(self.sizes)

    @cached_property
    def draws(self) -> WeightedDraws:
        """The drawn regions."""
        return WeightedDraws(self.weights, self.all_weights)

    @property
    def beyond_limit(self) -> int:
        """The number of drawn regions that contradict the assumption about `most_missed`."""
        return int((self.region_missed > self.most_missed * self.weights).sum())


def wrong_upper(found: CheckResults, alpha: float, test: StratifiedTest | None = None) -> int:
    """The upper bound, at one-sided confidence 1 - `alpha`, of the number of wrong labels.

    `test` is that of the sizes and checks, where a caller has it for several results.
    """
    known = test or StratifiedTest(found.sizes, found.checked)
    return known.largest_total(found.wrong, alpha, lambda total: found.draws.e_value(found.region_wrong, total))


def missed_upper(found: CheckResults, alpha: float) -> float | None:
    """The upper bound, at one-sided confidence 1 - `alpha`, of the part of all objects that were missed, 0..1.

    Objects are the right labels and the missed ones. A miss rate of at least r means that the total over the regions of
    (1 - r) x missed + r x wrong is at least r x labels: this is tested for each r with the regions alone. None if there
    is no label, or a region contradicts the assumption about `most_missed`.
    """
    if not found.labels or found.beyond_limit:
        return None
    low, high = 0.0, 1.0
    for _ in range(_HALVINGS):
        rate = (low + high) / 2
        values = (1 - rate) * found.region_missed + rate * found.region_wrong
        most = (1 - rate) * found.most_missed + rate
        if found.draws.e_value(values, rate * found.labels, most) >= 1 / alpha:
            high = rate
        else:
            low = rate
    return high


def wrong_estimate(found: CheckResults) -> float | None:
    """The stratified estimate of the number of wrong labels, from the labels that were checked one by one."""
    if not found.labels or not all(checked for size, checked in zip(found.sizes, found.checked, strict=True) if size):
        return None
    rows = zip(found.sizes, found.checked, found.wrong, strict=True)
    return float(sum(size * wrong / checked for size, checked, wrong in rows if size))


def missed_estimate(found: CheckResults) -> float | None:
    """The estimate of the part of all objects that were missed, None if there is no object.

    The number of missed objects is Des Raj's (1956) unbiased estimate for draws without replacement.
    """
    wrong = wrong_estimate(found)
    if wrong is None or not len(found.weights):
        return None
    unseen = found.all_weights - np.concatenate([[0.0], np.cumsum(found.weights)[:-1]])
    before = np.concatenate([[0.0], np.cumsum(found.region_missed)[:-1]])
    missed = float((before + found.region_missed * unseen / found.weights).mean())
    objects = found.labels - wrong + missed
    return missed / objects if objects else None
