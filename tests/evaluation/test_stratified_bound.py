from __future__ import annotations

from itertools import product
from math import comb

import numpy as np
import pytest

from autodistill_rfdetr_seg.evaluation.stratified_bound import StratifiedTest


def chance(size: int, wrong: int, checked: int, found: int) -> float:
    return comb(wrong, found) * comb(size - wrong, checked - found) / comb(size, checked)


def test_one_stratum_of_many_items_has_the_bound_of_clopper_and_pearson() -> None:
    test = StratifiedTest([200_000], [60])
    assert test.largest_total([0], 0.05) / 200_000 == pytest.approx(1 - 0.05 ** (1 / 60), abs=1e-4)
    # scipy.stats.beta.ppf(0.95, 7, 54)
    assert test.largest_total([6], 0.05) / 200_000 == pytest.approx(0.187857, abs=1e-4)


def test_one_stratum_is_the_hypergeometric_test() -> None:
    test = StratifiedTest([30], [12])
    for found in range(13):
        tails = {
            total: sum(chance(30, total, 12, k) for k in range(found + 1)) for total in range(found, 31 - 12 + found)
        }
        assert test.largest_total([found], 0.05) == max(total for total, tail in tails.items() if tail > 0.05)


@pytest.mark.parametrize(("sizes", "checked"), [((12, 5), (5, 3)), ((9, 9), (2, 6)), ((15, 4), (6, 4))])
def test_two_strata_cover_every_arrangement_of_errors(sizes: tuple[int, int], checked: tuple[int, int]) -> None:
    test = StratifiedTest(sizes, checked)
    outcomes = list(product(range(checked[0] + 1), range(checked[1] + 1)))
    bound = {found: test.largest_total(found, 0.05) for found in outcomes}
    missed = [
        sum(
            chance(sizes[0], a, checked[0], found[0]) * chance(sizes[1], b, checked[1], found[1])
            for found in outcomes
            if bound[found] < a + b
        )
        for a, b in product(range(sizes[0] + 1), range(sizes[1] + 1))
    ]
    assert max(missed) <= 0.05
    # A bound that is always the largest total would pass too.
    assert max(missed) > 0.02


def test_errors_that_lie_in_a_checked_stratum_give_a_closer_bound() -> None:
    plain = StratifiedTest([5000], [60]).largest_total([6], 0.05)
    divided = StratifiedTest([4000, 1000], [40, 20]).largest_total([0, 10], 0.05)
    assert divided < 0.85 * plain


def test_evidence_of_elsewhere_lowers_the_bound() -> None:
    test = StratifiedTest([500], [30])
    alone = test.largest_total([1], 0.05)
    assert test.largest_total([1], 0.05, lambda total: 1.0) == alone
    assert test.largest_total([1], 0.05, lambda total: 1.0 + total / 10) < alone
    # Evidence that no total above 3 is possible.
    assert test.largest_total([1], 0.05, lambda total: np.inf if total > 3 else 0.0) == 3


def test_a_census_is_exact() -> None:
    assert StratifiedTest([20, 5], [20, 5]).largest_total([3, 2], 0.05) == 5


def test_impossible_samples_are_refused() -> None:
    with pytest.raises(ValueError, match="no sample"):
        StratifiedTest([3], [4])
    with pytest.raises(ValueError, match="no sample"):
        StratifiedTest([3, 3, 3], [1, 1, 1])
