"""Draws the checks of a certification: labels in two strata, and regions with a probability by their labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..core.errors import UsageError
from ..evaluation.detections import FloatArray, IntArray
from ..evaluation.weighted_draws import draw_units

# The part of the labels that `review` shows first, and the part of the label checks that they get: Neyman's allocation
# if a quarter of these labels and a twentieth of the others are wrong. A guess, which no data set chose; the bounds are
# valid with any.
SUSPECT_LABELS = 0.25
SUSPECT_CHECKS = 0.4
# The part of all checks that are regions.
REGION_CHECKS = 1 / 2


@dataclass(frozen=True)
class Sample:
    """The drawn checks, as indices. `strata` are the labels of each stratum, `labels` those to check of each;
    `regions` are in the order of drawing."""

    strata: tuple[IntArray, ...]
    labels: tuple[IntArray, ...]
    regions: IntArray


def divide_checks(checks: int, regions: int | None, labels: int, all_regions: int) -> tuple[int, int]:
    """The numbers of label checks and of region checks; half are regions unless `regions` says how many.

    Raises:
        UsageError: there is not a check for a label and for a region.
    """
    if checks < 2:
        raise UsageError(f"{checks} checks are too few.", "Ask for at least 2: a label and a region.")
    wanted = max(1, round(checks * REGION_CHECKS)) if regions is None else regions
    if not 1 <= wanted < checks:
        raise UsageError(f"{wanted} of {checks} checks cannot be regions.", f"Ask for 1 to {checks - 1} regions.")
    return min(labels, checks - wanted), min(all_regions, wanted)


def region_weights(labels: Sequence[int]) -> FloatArray:
    """The weight (N,) of regions with these numbers of labels: one more, so that an empty region can be drawn too."""
    return np.asarray(labels, dtype=np.float64) + 1


def draw_sample(
    ranks: Sequence[float], region_labels: Sequence[int], label_checks: int, region_checks: int, seed: int
) -> Sample:
    """The checks for labels with these `ranks` (the lowest are most likely wrong) and regions with so many labels.

    Each stratum's labels are a simple random sample without replacement. The same arguments give the same checks.
    """
    rng = np.random.default_rng([seed, 0])
    strata = label_strata(ranks, label_checks)
    sizes = _allocation([len(one) for one in strata], label_checks)
    chosen = tuple(np.sort(rng.choice(one, size, replace=False)) for one, size in zip(strata, sizes, strict=True))
    # The regions are drawn independently of the labels: the bound of the labels relies on it.
    drawn = draw_units(region_weights(region_labels), region_checks, np.random.default_rng([seed, 1]))
    return Sample(strata, chosen, drawn)


def label_strata(ranks: Sequence[float], checks: int) -> tuple[IntArray, ...]:
    """The indices of the labels that are less and more likely to be wrong; one stratum where the ranks are all equal,
    or where there are too few labels or checks for two."""
    values = np.asarray(ranks, dtype=np.float64)
    every = np.arange(len(values))
    if checks < 8 or len(values) <= checks or values.min() == values.max():
        return (every,)
    order = np.argsort(values, kind="stable")
    suspect = round(SUSPECT_LABELS * len(values))
    return np.sort(order[suspect:]), np.sort(order[:suspect])


def _allocation(sizes: Sequence[int], checks: int) -> list[int]:
    if len(sizes) == 1:
        return [min(checks, sizes[0])]
    suspect = min(sizes[1], round(SUSPECT_CHECKS * checks))
    others = min(sizes[0], checks - suspect)
    return [others, min(sizes[1], checks - others)]
