"""Chooses each class's confidence threshold so that the precision of its labels is above a target."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np

from ..core.config import RefineConfig
from ..core.errors import UsageError
from ..core.types import GroundTruth, ImageLabels
from ..dataset.refine_rules.minimum_confidence import class_thresholds
from .detection_matches import Matches
from .label_matches import class_image_counts, match_labels
from .precision_bound import (
    PrecisionBound,
    SafeThreshold,
    ScoredLabels,
    labels_needed,
    labels_that_suffice,
    lower_bound,
    safe_threshold,
)

# A promise is broken with at most this probability.
LEVEL = 0.05
# The threshold of one class can bring back labels of another, which a better one had removed: how often this is
# followed before a class is given up.
_ROUNDS = 4


@dataclass(frozen=True)
class LabelScores:
    """The labels of a class in the gold images at a threshold: `labels`, their `precision`, and the `recall` of the
    gold objects, 0..1, None if undefined."""

    labels: int
    precision: float | None
    recall: float | None


@dataclass(frozen=True)
class ClassCalibration:
    """What came out for a class.

    `threshold` is what `build` gets, `calibrated` whether it keeps the promise. Then `lower` is the bound of the
    precision, else `reason` says why there is none, and `missing_gold` about how many more gold objects would do (None
    if no number would, or it is not known). `before` and `after` are the labels at the old and at the new threshold.
    """

    name: str
    calibrated: bool
    threshold: float
    old_threshold: float
    lower: float | None
    gold_objects: int
    before: LabelScores
    after: LabelScores
    reason: str | None = None
    missing_gold: int | None = None


@dataclass(frozen=True)
class Calibration:
    """The thresholds of all classes for a target precision.

    `images` is the number of gold images, `future_images` that of the other images that the promise concerns; None for
    the mean over all images of their kind.
    """

    target: float
    level: float
    images: int
    future_images: int | None
    classes: tuple[ClassCalibration, ...]

    @property
    def confidence(self) -> dict[str, float]:
        """`RefineConfig.confidence`: the threshold of each class."""
        return {one.name: one.threshold for one in self.classes}

    @property
    def failing(self) -> tuple[str, ...]:
        """The classes without a promise."""
        return tuple(one.name for one in self.classes if not one.calibrated)

    def as_json(self) -> dict[str, Any]:
        """JSON-ready data."""
        return {**asdict(self), "classes": [asdict(one) for one in self.classes], "failing": list(self.failing)}


def calibrate_labels(
    truth: GroundTruth,
    labels: Mapping[str, ImageLabels],
    rules: RefineConfig,
    target: float,
    *,
    future_images: int | None = None,
    drop_failing: bool = False,
    not_annotated: Collection[str] = (),
    level: float = LEVEL,
) -> Calibration:
    """The lowest threshold of each class whose labels, after `rules`, are right with at least the `target` precision.

    A label is right if it matches a gold object of its class at mask IoU 0.5 as in COCO; one that matches a crowd does
    not count. The promise for a class holds with probability 1 - `level`, for each class by itself; what it assumes is
    told by `precision_bound.lower_bound`. A class that cannot keep it has its old threshold, or 1 with `drop_failing`.
    The classes in `not_annotated` are not in the gold set, so nothing is known about their labels.

    Args:
        truth: the gold images, in the classes of the labels.
        labels: the base's labels of each gold image by its id, without a threshold.
        rules: the rules of the build; its `confidence` are the old thresholds.
        target: the precision to reach, above 0 and below 1.
        future_images: how many other images the promise concerns; None: the mean over all images like these.

    Raises:
        UsageError: the target is not above 0 and below 1.
    """
    if not 0 < target < 1:
        raise UsageError(f"The target precision is {target:g}; it must be above 0 and below 1.", "Give it as 0.95.")
    names = truth.classes.names
    old = class_thresholds(rules, truth.classes)
    search = _Search(truth, labels, rules, target, level, future_images)
    before = search.matches(old)
    gold = before.gold.sum(axis=1)
    # Without a gold object it is not known whether the class was looked for.
    usable = [at for at, name in enumerate(names) if name not in not_annotated and gold[at] > 0]
    found = search.run(usable, [1.0 if drop_failing else one for one in old])
    rows = []
    for at, name in enumerate(names):
        known = at in usable
        result = found.chosen.get(at)
        bound = None if result is None else result.bound
        reason = (
            _Reason() if bound else _why_not(search, result, name in not_annotated, int(gold[at]), at in found.unstable)
        )
        rows.append(
            ClassCalibration(
                name,
                bound is not None,
                found.thresholds[at],
                old[at],
                None if bound is None else bound.lower,
                int(gold[at]),
                _scores(before, at, known),
                _scores(found.after, at, known),
                reason.text,
                reason.missing_gold,
            )
        )
    return Calibration(target, level, len(truth.images), future_images, tuple(rows))


@dataclass
class _Found:
    """The result of a search: the test of each class, all thresholds, the matches there, and the classes whose labels
    did not settle."""

    chosen: dict[int, SafeThreshold]
    thresholds: list[float]
    after: Matches
    unstable: list[int]


@dataclass
class _Search:
    """Tests the thresholds of each class on the labels that remain beside those of the other classes."""

    truth: GroundTruth
    labels: Mapping[str, ImageLabels]
    rules: RefineConfig
    target: float
    level: float
    future_images: int | None
    known: dict[tuple[float, ...], Matches] = field(default_factory=dict)

    def run(self, classes: Sequence[int], without_promise: Sequence[float]) -> _Found:
        """The thresholds; those in `without_promise` where a class has no promise."""
        every = self.matches([0.0] * len(without_promise))
        chosen = {at: self._test(every, at) for at in classes}
        unstable: list[int] = []
        for round_number in itertools.count():
            thresholds = _thresholds(chosen, without_promise)
            after = self.matches(thresholds)
            bounds = {at: self._bound(after, at, one) for at, one in chosen.items() if one.bound is not None}
            changed = [at for at, one in bounds.items() if one.lower is None or one.lower < self.target]
            if not changed:
                settled = {at: replace(one, bound=bounds.get(at)) for at, one in chosen.items()}
                return _Found(settled, thresholds, after, unstable)
            for at in changed:
                if round_number < _ROUNDS:
                    alone = [0.0 if other == at else one for other, one in enumerate(thresholds)]
                    chosen[at] = self._test(self.matches(alone), at)
                else:
                    unstable.append(at)
                    chosen[at] = replace(chosen[at], threshold=None, bound=None)
        raise AssertionError("unreachable: each further round gives up a class")

    def matches(self, thresholds: Sequence[float]) -> Matches:
        """The matches at a threshold for each class."""
        key = tuple(thresholds)
        if key not in self.known:
            confidence = dict(zip(self.truth.classes.names, key, strict=True))
            rules = self.rules.model_copy(update={"confidence": confidence})
            self.known[key] = match_labels(self.truth, self.labels, rules)
        return self.known[key]

    def _test(self, matches: Matches, at: int) -> SafeThreshold:
        return safe_threshold(_of_class(matches, at), self.target, self.level, self.future_images)

    def _bound(self, after: Matches, at: int, chosen: SafeThreshold) -> PrecisionBound:
        """The bound of a class at the thresholds of all classes."""
        return lower_bound(_of_class(after, at), chosen.level, chosen.correlation, self.future_images)


def _thresholds(chosen: Mapping[int, SafeThreshold], without_promise: Sequence[float]) -> list[float]:
    found = list(without_promise)
    for at, one in chosen.items():
        if one.threshold is not None:
            found[at] = one.threshold
    return found


def _of_class(matches: Matches, at: int) -> ScoredLabels:
    mine = matches.classes == at
    return ScoredLabels.sorted_from(
        matches.scores[mine], matches.matched[mine], matches.images[mine], matches.gold.shape[1]
    )


def _scores(matches: Matches, at: int, known: bool) -> LabelScores:
    right, every, gold = (int(one[at].sum()) for one in class_image_counts(matches))
    if not known:
        return LabelScores(every, None, None)
    return LabelScores(every, right / every if every else None, right / gold)


@dataclass(frozen=True)
class _Reason:
    text: str | None = None
    missing_gold: int | None = None


def _why_not(search: _Search, result: SafeThreshold | None, not_annotated: bool, gold: int, unstable: bool) -> _Reason:
    """Why a class with `gold` objects has no promise."""
    if not_annotated:
        return _Reason("the gold set does not have this class")
    if result is None:
        return _Reason("the gold set has no object of it (crowds do not count)")
    if unstable:
        return _Reason("its labels change with the thresholds of the other classes")
    target = search.target
    if not result.effective:
        return _Reason("the base labels none of it in the gold images, or all in one image")
    if not result.tried:
        factor = labels_needed(target, search.level) / result.effective
        missing = max(1, int(np.ceil(gold * (factor - 1))))
        return _Reason("too few gold labels, even if all of them were right", missing)
    factors = [
        needed / one.effective
        for one in result.tried
        if one.precision is not None
        and one.effective
        and (needed := labels_that_suffice(target, one.precision, result.level))
    ]
    if not factors:
        best = max(one.precision or 0.0 for one in result.tried)
        return _Reason(f"the precision is too low: {best:.3f} at best, at any threshold with enough labels")
    missing = max(1, int(np.ceil(gold * (min(factors) - 1))))
    return _Reason("the precision may be high enough, but the gold set is too small to show it", missing)
