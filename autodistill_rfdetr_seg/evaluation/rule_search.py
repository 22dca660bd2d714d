"""A search for settings that raise a score, which takes a change only where images that it did not see confirm it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np
import numpy.typing as npt

from .detections import FloatArray, IntArray

# The probability that the search takes a change where none helps.
LEVEL = 0.05
FOLDS = 5
_DRAWS = 1000
_MOST_STEPS = 6

Setting = TypeVar("Setting")
# Of a setting: right labels, labels and gold objects of each image (N, 3).
Count = Callable[[Setting], IntArray]


@dataclass(frozen=True, slots=True)
class Gain:
    """A difference of two F1 scores and its interval, `low` to `high`."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Trial(Generic[Setting]):
    """A rule that was tried: the setting with its best value on all images, its F1 there, and its gain in images
    that the value was not chosen on. `setting` is None where no value was better."""

    rule: str
    setting: Setting | None
    f1: float
    gain: Gain
    taken: bool


@dataclass(frozen=True, slots=True)
class RuleSearch(Generic[Setting]):
    """The setting that was found, and for each step the rules that were tried; of the last step none was taken.

    `start_f1` and `f1` are on all images, so `f1` is a little too good; the gains are not.
    """

    setting: Setting
    start_f1: float
    f1: float
    steps: tuple[tuple[Trial[Setting], ...], ...]


def f1_of(counts: npt.NDArray[np.integer]) -> float:
    """F1 over all images: twice the right labels over labels and gold objects; 0 if there are neither."""
    right, labels, gold = counts.sum(axis=0)
    return float(2 * right / (labels + gold)) if labels + gold else 0.0


def paired_gain(before: IntArray, after: IntArray, level: float = LEVEL) -> Gain:
    """The gain in F1, with an interval that holds the true one with probability 1 - `level`.

    The gain plus and minus its standard error, from a paired bootstrap over images, times the quantile of Student's t.
    (The percentiles of a bootstrap would need very many draws far out, where many gains are compared.) Assumes that
    images are drawn independently of each other.
    """
    from scipy.stats import t

    images, value = len(before), f1_of(after) - f1_of(before)
    if images < 2:
        return Gain(value, -1.0, 1.0)
    weights = np.random.default_rng(0).multinomial(images, np.full(images, 1 / images), size=_DRAWS)
    draws = _f1_of_draws(weights, after) - _f1_of_draws(weights, before)
    reach = float(t.ppf(1 - level / 2, images - 1) * draws.std())
    return Gain(value, value - reach, value + reach)


def search_rules(
    count: Count[Setting],
    start: Setting,
    values_of: Callable[[Setting], Mapping[str, Sequence[Setting]]],
    images: IntArray,
    *,
    level: float = LEVEL,
    on_step: Callable[[], object] = lambda: None,
) -> RuleSearch[Setting]:
    """Takes the rule with the largest confirmed gain, sets its best value, and starts again until none is confirmed.

    The gain of a rule is measured by cross-validation: its value is chosen on four fifths of the images and scored on
    the rest. It is confirmed if its interval is above 0. Where all fifths choose the same value, cross-validation
    does not undo that it was chosen, so the intervals allow for all values of all rules (Bonferroni): where none helps,
    one is taken with probability `level` at most.

    Args:
        count: right labels, labels and gold objects of each image for a setting (N, 3).
        values_of: for a setting the settings that differ from it in one rule, by the name of the rule.
        images: the indices of the images to use.
    """
    current, steps = start, []
    for _ in range(_MOST_STEPS):
        tried = _trials(count, current, values_of(current), images, level)
        on_step()
        best = max((one for one in tried if one.gain.low > 0 and one.setting is not None), default=None, key=_value)
        steps.append(tuple(Trial(one.rule, one.setting, one.f1, one.gain, one is best) for one in tried))
        if best is None or best.setting is None:
            break
        current = best.setting
    return RuleSearch(current, f1_of(count(start)[images]), f1_of(count(current)[images]), tuple(steps))


def nested_gain(
    count: Count[Setting],
    start: Setting,
    values_of: Callable[[Setting], Mapping[str, Sequence[Setting]]],
    images: IntArray,
    *,
    on_step: Callable[[], object] = lambda: None,
) -> Gain:
    """The gain of the whole search in images that it did not see: it is done again on four fifths, for each fifth."""
    after = count(start).copy()
    for fold in _folds(images):
        seen = np.setdiff1d(images, fold)
        found = search_rules(count, start, values_of, seen, on_step=on_step)
        after[fold] = count(found.setting)[fold]
    return paired_gain(count(start)[images], after[images])


def _trials(
    count: Count[Setting], current: Setting, values: Mapping[str, Sequence[Setting]], images: IntArray, level: float
) -> list[Trial[Setting]]:
    before = count(current)
    found = []
    share = level / max(1, sum(map(len, values.values())))
    for rule, settings in values.items():
        after = before.copy()
        for fold in _folds(images):
            chosen = _best(count, current, settings, np.setdiff1d(images, fold))
            after[fold] = count(chosen)[fold]
        best = _best(count, current, settings, images)
        gain = paired_gain(before[images], after[images], share)
        found.append(Trial(rule, None if best is current else best, f1_of(count(best)[images]), gain, False))
    return found


def _best(count: Count[Setting], current: Setting, settings: Sequence[Setting], images: IntArray) -> Setting:
    """The setting with the highest F1, the current one if none is better."""
    return max([current, *settings], key=lambda one: f1_of(count(one)[images]))


def _folds(images: IntArray) -> list[IntArray]:
    order = np.random.default_rng(0).permutation(images)
    return [fold for fold in np.array_split(order, min(FOLDS, len(order))) if len(fold)]


def _f1_of_draws(weights: npt.NDArray[np.integer], counts: IntArray) -> FloatArray:
    right, labels, gold = (weights @ counts).T
    both = np.maximum(labels + gold, 1)
    return np.asarray(2 * right / both, dtype=np.float64)


def _value(trial: Trial[Setting]) -> float:
    return trial.gain.value
