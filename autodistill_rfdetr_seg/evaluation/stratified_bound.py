"""An exact test of the number of wrong items in a finite population, from random checks in one or two strata.

In one stratum it is the hypergeometric test, whose bound is that of Clopper and Pearson (1934) for a finite population.
In two strata outcomes are ordered by the likelihood ratio of the best total to the tested one, and the p-value is the
largest over all divisions of the tested total over the strata.

It is valid for every number of checks and every arrangement of the errors. All that is assumed is that the checked
items of each stratum are a simple random sample without replacement, and that the answers are right.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property

import numpy as np

from .detections import FloatArray, IntArray

# Divisions of a total over two strata that are tried, and totals of the first search. The checks are few, so that
# neighbors hardly differ.
_DIVISIONS = 200
_TOTALS = 40
# Likelihood ratios that differ less are equal but for rounding.
_EQUAL = 1e-9


class StratifiedTest:
    """The test of a total of wrong items where `checked` of `sizes` items were checked in each of one or two strata.

    Raises:
        ValueError: there are more than two strata, or more checks than items in one.
    """

    def __init__(self, sizes: Sequence[int], checked: Sequence[int]) -> None:
        if not 1 <= len(sizes) <= 2 or any(not 0 <= n <= size for n, size in zip(checked, sizes, strict=True)):
            raise ValueError(f"no sample of one or two strata: {checked} of {sizes}")
        self.sizes = (*sizes, 0)[:2]
        self.checked = (*checked, 0)[:2]
        self._log_factorials = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, max(sizes) + 1)))])
        self._known: dict[int, FloatArray] = {}

    def p_values(self, total: int) -> FloatArray:
        """The p-value (checked + 1, checked + 1) of each outcome if at least `total` items are wrong."""
        if total not in self._known:
            self._known[total] = self._p_values(total)
        return self._known[total]

    def largest_total(self, wrong: Sequence[int], alpha: float, evidence: Callable[[int], float] | None = None) -> int:
        """The largest total that is not rejected where `wrong` items were found wrong in each stratum.

        `evidence` is an independent e-value of each total: the p-value is divided by it, which leaves a p-value
        (Ignatiadis, Wang and Ramdas, 2024, "E-values as unnormalized weights in multiple testing").
        """
        place = (*wrong, 0)[:2]

        def possible(total: int) -> bool:
            against = 1.0 if evidence is None else evidence(total)
            return bool(self.p_values(total)[place] > alpha * against)

        low = sum(place)
        high = sum(self.sizes) - (sum(self.checked) - low)
        totals = np.unique(np.linspace(low, high, _TOTALS).astype(np.int64)).tolist()
        at = next(i for i in reversed(range(len(totals))) if i == 0 or possible(totals[i]))
        low, high = totals[at], totals[at + 1] if at + 1 < len(totals) else totals[at] + 1
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if possible(middle) else (low, middle)
        return int(low)

    def _p_values(self, total: int) -> FloatArray:
        lowest, highest = max(0, total - self.sizes[1]), min(self.sizes[0], total)
        first = np.unique(np.linspace(lowest, highest, _DIVISIONS).astype(np.int64))
        tables = self._chances(0, first), self._chances(1, total - first)
        logs = _log(tables[0]), _log(tables[1])
        profile = np.stack([(logs[0][:, k, None] + logs[1]).max(axis=0) for k in range(self.checked[0] + 1)])
        # Only outcomes that point to fewer errors speak against the total.
        ratio = np.where(self._estimates < total, self._best - profile, -np.inf).ravel()
        order = np.argsort(-ratio, kind="stable")
        reached = np.zeros(len(order))
        for one, other in zip(*tables, strict=True):  # one division after the other: the outcomes may be many
            np.maximum(reached, np.cumsum(np.outer(one, other).ravel()[order]), out=reached)
        # Outcomes with equal ratios count together.
        last = np.searchsorted(-ratio[order], -ratio[order] + _EQUAL, "right") - 1
        values = np.empty(len(ratio))
        values[order] = np.minimum(reached[last], 1.0)
        return values.reshape(profile.shape)

    @cached_property
    def _estimates(self) -> FloatArray:
        """The estimated total (checked + 1, checked + 1) of each outcome."""
        parts = [np.arange(n + 1) * (size / max(1, n)) for n, size in zip(self.checked, self.sizes, strict=True)]
        return np.asarray(parts[0][:, None] + parts[1][None, :], dtype=np.float64)

    @cached_property
    def _best(self) -> FloatArray:
        """The log-likelihood of each outcome with the numbers of errors that fit it best."""
        logs = []
        for at, size in enumerate(self.sizes):
            totals = np.unique(np.linspace(0, size, min(size, 2000) + 1).astype(np.int64))
            logs.append(_log(self._chances(at, totals)).max(axis=0))
        return np.asarray(logs[0][:, None] + logs[1][None, :], dtype=np.float64)

    def _chances(self, stratum: int, totals: IntArray) -> FloatArray:
        """The hypergeometric probability (totals, checked + 1) of each number found, for each total in a stratum."""
        size, checked, log = self.sizes[stratum], self.checked[stratum], self._log_factorials
        found = np.arange(checked + 1)[None, :]

        def ways(items: IntArray, taken: IntArray) -> FloatArray:
            items, taken = np.broadcast_arrays(items, taken)
            possible = (taken >= 0) & (taken <= items)
            safe = np.where(possible, taken, 0)
            return np.where(possible, log[items] - log[safe] - log[items - safe], -np.inf)

        every = log[size] - log[checked] - log[size - checked]
        logs = ways(totals[:, None], found) + ways(size - totals[:, None], checked - found) - every
        return np.asarray(np.exp(logs), dtype=np.float64)


def _log(chance: FloatArray) -> FloatArray:
    with np.errstate(divide="ignore"):
        return np.asarray(np.maximum(np.log(chance), -1e9), dtype=np.float64)
