"""The bound of the precision: known values, clusters, other images, and how often a promise is broken."""

from __future__ import annotations

import numpy as np
import pytest

from autodistill_rfdetr_seg.evaluation.precision_bound import (
    ScoredLabels,
    intraclass_correlation,
    labels_needed,
    labels_that_suffice,
    lower_bound,
    safe_threshold,
)


def one_each(right: list[bool]) -> ScoredLabels:
    """Labels with falling scores, each in an image of its own."""
    count = len(right)
    return ScoredLabels(np.linspace(1, 0.1, count), np.array(right, dtype=bool), np.arange(count), count)


def test_labels_in_images_of_their_own_have_the_bound_of_clopper_and_pearson() -> None:
    # 59 right labels are the least whose bound is 0.95: 0.95 ** 59 < 0.05.
    assert labels_needed(0.95, 0.05) == 59
    assert lower_bound(one_each([True] * 59), 0.05, 0.0, None).lower == pytest.approx(0.05 ** (1 / 59))
    # R: binom.test(95, 100, alternative = "greater")$conf.int[1]
    found = lower_bound(one_each([True] * 95 + [False] * 5), 0.05, 0.0, None)
    assert (found.precision, found.labels, found.images) == (0.95, 100, 100)
    # The measured effect of 100 images is 100 / 99.
    assert found.lower == pytest.approx(0.8977, abs=1e-3)


def test_images_that_are_all_right_or_all_wrong_count_as_one_label() -> None:
    right = np.repeat([True] * 45 + [False] * 5, 10)
    together = ScoredLabels(np.linspace(1, 0.1, 500), right, np.repeat(np.arange(50), 10), 50)
    apart = ScoredLabels(together.scores, right, np.arange(500), 500)
    assert intraclass_correlation(together) == pytest.approx(1.0)
    assert intraclass_correlation(apart) == 0.0
    assert lower_bound(together, 0.05, 1.0, None).effective < 50 < lower_bound(apart, 0.05, 0.0, None).effective
    # Without an error the images tell nothing of the correlation: it is taken from the other labels.
    clean = together.first(300)
    assert lower_bound(clean, 0.05, 1.0, None).lower == pytest.approx(0.05 ** (1 / 30), abs=0.01)


def test_a_promise_for_few_other_images_is_lower_than_for_the_mean() -> None:
    labels = one_each([True] * 100)
    bounds = [lower_bound(labels, 0.05, 0.0, other).lower for other in (10, 100, 10_000, None)]
    assert bounds == sorted(bounds) and bounds[1] == pytest.approx(0.05 ** (1 / 50))


def test_what_is_undefined_is_none() -> None:
    none = one_each([])
    assert lower_bound(none, 0.05, 0.0, None).precision is None
    assert safe_threshold(none, 0.9).threshold is None
    in_one = ScoredLabels(np.linspace(1, 0.1, 90), np.ones(90, bool), np.zeros(90, int), 5)
    assert lower_bound(in_one, 0.05, 0.0, None).lower is None
    assert safe_threshold(in_one, 0.9).threshold is None
    assert lower_bound(one_each([False] * 9), 0.05, 0.0, None).lower == 0.0


def test_equal_scores_are_kept_or_dropped_together() -> None:
    right = np.array([True] * 200 + [False] * 100)
    split = ScoredLabels(np.repeat([0.9, 0.5], [200, 100]), right, np.arange(300), 300)
    assert safe_threshold(split, 0.9).threshold == pytest.approx(0.7)
    same = ScoredLabels(np.full(300, 0.9), right, np.arange(300), 300)
    found = safe_threshold(same, 0.9)
    assert found.threshold is None and len(found.tried) == 1
    assert found.tried[0].precision == pytest.approx(2 / 3)


def test_how_many_labels_would_do() -> None:
    assert labels_that_suffice(0.95, 1.0, 0.05) == 59
    assert labels_that_suffice(0.95, 0.95, 0.05) is None
    enough = labels_that_suffice(0.9, 0.95, 0.05)
    assert enough is not None and 100 < enough < 200


@pytest.mark.parametrize(("correlation", "other"), [(0.0, 20), (0.3, 20), (0.3, 1)])
def test_a_promise_is_broken_in_at_most_5_percent(correlation: float, other: int) -> None:
    """The precision is the target at every threshold, so that each promise is a false one half of the time."""
    rng = np.random.default_rng(1)
    broken = 0
    for _ in range(100):
        known, future = (_drawn(rng, images, correlation) for images in (40, 40 * other))
        threshold = safe_threshold(known, 0.9, future_images=40 * other).threshold
        if threshold is not None:
            broken += future.right[future.scores >= threshold].mean() < 0.9
    assert broken <= 9


def _drawn(rng: np.random.Generator, images: int, correlation: float) -> ScoredLabels:
    image = np.repeat(np.arange(images), rng.poisson(8, images))
    alike = rng.random(len(image)) < correlation
    right = np.where(alike, (rng.random(images) < 0.9)[image], rng.random(len(image)) < 0.9)
    return ScoredLabels.sorted_from(rng.random(len(image)), right, image, images)
