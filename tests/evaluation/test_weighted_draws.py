from __future__ import annotations

import math
from itertools import permutations

import numpy as np
import pytest

from autodistill_rfdetr_seg.evaluation.weighted_draws import WeightedDraws, draw_units

WEIGHTS = np.array([1.0, 2.0, 5.0, 3.0, 1.0])


def orders(count: int) -> dict[tuple[int, ...], float]:
    """Every order of drawing and its probability."""
    found = {}
    for order in permutations(range(len(WEIGHTS)), count):
        left, chance = WEIGHTS.sum(), 1.0
        for at in order:
            chance *= WEIGHTS[at] / left
            left -= WEIGHTS[at]
        found[order] = chance
    return found


@pytest.mark.parametrize("values", [[0, 0, 0, 0, 1], [1, 2, 5, 3, 1], [0, 2, 0, 3, 0], [1, 0, 1, 1, 1]])
@pytest.mark.parametrize("count", [2, 4])
def test_the_expected_evidence_against_the_true_total_is_at_most_one(values: list[int], count: int) -> None:
    true = np.array(values, dtype=float)
    expected = 0.0
    for order, chance in orders(count).items():
        at = list(order)
        expected += chance * WeightedDraws(WEIGHTS[at], WEIGHTS.sum()).e_value(true[at], true.sum())
    assert expected <= 1 + 1e-9
    assert expected > 0.2 or true.sum() == WEIGHTS.sum()


def test_the_evidence_rises_with_the_total() -> None:
    draws = WeightedDraws(WEIGHTS[:3], WEIGHTS.sum())
    values = np.array([0.0, 1.0, 1.0])
    found = [draws.e_value(values, total) for total in (2, 3, 4, 5, 6, 7)]
    assert found == sorted(found)
    assert found[0] == 0.0
    # 2 were found, and the units that are left can have 4 at most.
    assert found[-2] < math.inf
    assert found[-1] == math.inf


def test_a_larger_limit_gives_less_evidence() -> None:
    draws = WeightedDraws(WEIGHTS[:3], WEIGHTS.sum())
    assert draws.e_value(np.zeros(3), 3, most=2.0) < draws.e_value(np.zeros(3), 3)
    with pytest.raises(ValueError, match="limit"):
        draws.e_value(np.array([2.0, 0, 0]), 3)
    draws.e_value(np.array([2.0, 0, 0]), 3, most=2.0)


def test_units_are_drawn_by_weight_without_replacement() -> None:
    rng = np.random.default_rng(0)
    drawn = [tuple(draw_units(WEIGHTS, 2, rng).tolist()) for _ in range(4000)]
    assert all(first != second for first, second in drawn)
    expected = orders(2)
    for order in ((2, 3), (0, 4), (1, 2)):
        share = drawn.count(order) / len(drawn)
        assert share == pytest.approx(expected[order], abs=4 * math.sqrt(expected[order] / len(drawn)))


def test_no_draw_is_no_evidence() -> None:
    assert WeightedDraws(np.zeros(0), 5.0).e_value(np.zeros(0), 3) == 1.0
