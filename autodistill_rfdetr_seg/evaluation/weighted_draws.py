"""Draws of units with a probability by size, and what their values say against a total over all units.

The evidence is the capital of bets against the total (Waudby-Smith and Ramdas, 2024, "Estimating means of bounded
random variables by betting"; for weighted draws without replacement Shekhar, Xu, Lipton, Liang and Ramdas, 2023,
"Risk-limiting financial audits via weighted sampling without replacement"). It is valid for every number of draws and
every arrangement of the values. It assumes a limit of the values, and that they are read correctly.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from .detections import FloatArray, IntArray

# The fractions of the largest possible bet, and how the capital is divided between them.
_BETS = np.array([0.3, 0.65, 0.95])
_CAPITAL = np.array([0.1, 0.3, 0.6])


def draw_units(weights: FloatArray, count: int, rng: np.random.Generator) -> IntArray:
    """The indices of `count` units in the order of drawing: each time a unit is drawn with a probability proportional
    to its weight, among those that are left. `weights` (N,) are above 0."""
    # Exponential waiting times give this order: the first of several is each with a probability by its rate.
    waiting = rng.exponential(size=len(weights)) / weights
    return np.argsort(waiting, kind="stable")[:count].astype(np.int64)


@dataclass(frozen=True, slots=True)
class WeightedDraws:
    """Units that `draw_units` drew, in that order: the `weights` (n,) of these, and the sum of the weights of all."""

    weights: FloatArray
    all_weights: float

    def e_value(self, values: FloatArray, total: float, most: float = 1.0) -> float:
        """The evidence against a total of at least `total`, where `values` (n,) were found in the drawn units.

        It is an e-value: 20 or more has a probability of at most 5% if the total is that large. Infinite where the
        total is impossible. No unit, drawn or not, may have a value above `most` times its weight.

        Raises:
            ValueError: a drawn unit has.
        """
        shares = values / (most * self.weights)
        if (shares > 1 + 1e-9).any():
            raise ValueError("a value is above its limit")
        if not len(values):
            return 1.0
        unseen = self.all_weights - np.concatenate([[0.0], np.cumsum(self.weights)])
        # The mean of the next share, if the total is as said: what is left of it in the limits that are left.
        missing = total - np.concatenate([[0.0], np.cumsum(values)])
        if (missing > most * unseen + 1e-6).any():
            return math.inf
        # What was found already reaches the total.
        if (missing <= 1e-9).any():
            return 0.0
        mean = np.minimum(missing[:-1] / (most * unseen[:-1]), 1 - 1e-12)
        with np.errstate(divide="ignore"):
            edge = (mean - shares) / (1 - mean)
            capital = np.log1p(np.maximum(_BETS[:, None] * edge, -1.0)).sum(axis=1)
        largest = capital.max()
        if not np.isfinite(largest):
            return 0.0
        return float(np.exp(min(largest, 700.0)) * (_CAPITAL @ np.exp(capital - largest)))
