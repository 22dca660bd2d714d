"""A lower bound of the precision of labels that come in images, and the threshold that keeps it above a target.

Labels of one image are not independent: a scene that confuses the base confuses it many times. The bound takes the
image as the unit that is drawn.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .detections import BoolArray, FloatArray, IntArray

# Thresholds that are tried keep at least this many times as many labels as the one before.
_STEP = 1.3
# Errors in so many images are enough to measure how much errors gather in images.
_ERROR_IMAGES = 10
# Of the distribution that sets the level of one test.
_DRAWS = 5_000


@dataclass(frozen=True, slots=True)
class ScoredLabels:
    """The labels of one class, best score first: `scores` (N,), whether each is `right` (N,), and its image (N,).

    `images` is the number of gold images, also those without a label.
    """

    scores: FloatArray
    right: BoolArray
    image: IntArray
    images: int

    @classmethod
    def sorted_from(cls, scores: FloatArray, right: BoolArray, image: IntArray, images: int) -> ScoredLabels:
        """The labels in the order of their scores."""
        order = np.argsort(-scores, kind="stable")
        return cls(scores[order], right[order], image[order], images)

    def first(self, count: int) -> ScoredLabels:
        """The `count` labels with the best scores."""
        return ScoredLabels(self.scores[:count], self.right[:count], self.image[:count], self.images)

    def per_image(self) -> tuple[FloatArray, FloatArray]:
        """The right labels and all labels of each image that has a label."""
        _, at = np.unique(self.image, return_inverse=True)
        right = np.bincount(at, weights=self.right.astype(np.float64))
        return right.astype(np.float64), np.bincount(at).astype(np.float64)


@dataclass(frozen=True, slots=True)
class PrecisionBound:
    """The measured `precision` of labels and its `lower` bound, each 0..1, None if undefined.

    `effective` is the number of independent labels that tell as much as these, `labels` and `images` are how many there
    are and in how many images.
    """

    precision: float | None
    lower: float | None
    effective: float
    labels: int
    images: int


@dataclass(frozen=True, slots=True)
class SafeThreshold:
    """The lowest threshold at which the bound reached the target, and the bound there; both None if none did.

    `tried` are the bounds of all thresholds that were tested, from the highest down; none where the labels are too few
    to reach the target even if all of them are right. `level` is the error level of one test, `effective` what all
    labels together are worth (see `PrecisionBound`), `correlation` what the bound was computed with.
    """

    threshold: float | None
    bound: PrecisionBound | None
    tried: tuple[PrecisionBound, ...]
    level: float
    effective: float
    correlation: float


def intraclass_correlation(labels: ScoredLabels) -> float:
    """How much errors gather in images: 0 if they are spread as by chance, 1 if each image is all right or all wrong.

    The design effect of the ratio of right labels (Cochran, Sampling Techniques, 1977, section 9.3), less 1, divided by
    the mean number of other labels in the image of a label. 0 where no image has two labels or nothing is wrong.

    It is measured on the best labels, as many as have errors in `_ERROR_IMAGES` images, if there are so many: the bound
    is wanted for the best labels, and among bad ones errors gather much more.
    """
    return _correlation(labels.first(_enough_errors(labels)))


def _correlation(labels: ScoredLabels) -> float:
    effect, others = _measured_effect(labels), _mean_size(labels) - 1
    return 0.0 if effect is None or others <= 0 else float(np.clip((effect - 1) / others, 0.0, 1.0))


def lower_bound(labels: ScoredLabels, level: float, correlation: float, future_images: int | None) -> PrecisionBound:
    """The bound that the precision is above with probability 1 - `level`.

    It is the one-sided bound of Korn and Graubard (Confidence intervals for proportions with small expected number of
    positive counts estimated from survey data, Survey Methodology 24, 1998): that of Clopper and Pearson for as many
    independent labels as these are worth. These are the labels divided by the design effect, corrected for the few
    images that it is estimated from: as many of equal size as tell the same (Carter, Schnepel and Steigerwald, Review
    of Economics and Statistics 99, 2017). The design effect is the measured one, at least what `correlation` makes of
    the images' sizes, and at least 1.

    With `future_images` it is a bound of the precision in that many other images: the variance of what they will show
    is added to that of what is known. None bounds the mean over all images of their kind.

    Assumes that the gold images and the others are drawn alike and independently of each other, so near copies such as
    frames of a video count for more than they tell.
    """
    from scipy.stats import beta, t

    count, images = len(labels.scores), len(np.unique(labels.image))
    if not count:
        return PrecisionBound(None, None, 0.0, 0, 0)
    precision = float(labels.right.mean())
    if images < 2:
        return PrecisionBound(precision, None, 0.0, count, images)
    effect = max(1.0, 1 + correlation * (_mean_size(labels) - 1), _measured_effect(labels) or 1.0)
    alike = max(2.0, count / _mean_size(labels))
    few_images = float(t.ppf(1 - level, alike - 1) / t.ppf(1 - level, max(count - 1, alike - 1)))
    effective = count / effect / few_images**2
    effective /= _variance_factor(labels.images, future_images)
    right = precision * effective
    lower = 0.0 if right == 0 else float(beta.ppf(level, right, effective - right + 1))
    return PrecisionBound(precision, lower, effective, count, images)


def safe_threshold(
    labels: ScoredLabels, target: float, level: float = 0.05, future_images: int | None = None
) -> SafeThreshold:
    """The lowest threshold whose `lower_bound` reaches `target`, found so that the search is paid for.

    A fixed family of thresholds is tested, as in Learn then Test (Angelopoulos et al., arXiv:2110.01052): a coarse grid
    of numbers of labels. All its bounds hold together with probability 1 - `level`, so any threshold of the grid may be
    chosen. The level of one test comes from the distribution of the largest error along nested sets of labels
    (`_level_of_one`), which is less strict than Bonferroni's. Equal scores stay together.
    """
    correlation = intraclass_correlation(labels)
    counts = _grid(labels, correlation, labels_needed(target, level), future_images)
    share = _level_of_one(counts, level)
    # How errors gather is measured one step further, among the labels that a threshold only just drops.
    further = [max(correlation, _correlation(labels.first(int(np.ceil(count * _STEP))))) for count in counts]
    bounds = tuple(
        lower_bound(labels.first(count), share, one, future_images) for count, one in zip(counts, further, strict=True)
    )
    whole = lower_bound(labels, share, correlation, future_images).effective
    passed = [at for at, one in enumerate(bounds) if one.lower is not None and one.lower >= target]
    if not passed:
        return SafeThreshold(None, None, bounds, share, whole, correlation)
    return SafeThreshold(
        _between(labels.scores, counts[passed[-1]]), bounds[passed[-1]], bounds, share, whole, correlation
    )


def labels_needed(target: float, level: float) -> int:
    """The least number of independent labels, all of them right, whose bound reaches `target`."""
    return int(np.ceil(np.log(level) / np.log(target)))


def labels_that_suffice(target: float, precision: float, level: float) -> int | None:
    """About how many independent labels with this precision have a bound of `target`; None if no number (up to a
    million) has."""
    from scipy.stats import beta

    def bound(count: int) -> float:
        return float(beta.ppf(level, precision * count, count - precision * count + 1))

    low, high = 1, 2
    while precision > target and bound(high) < target and high < 1_000_000:
        low, high = high, 2 * high
    if precision <= target or bound(high) < target:
        return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if bound(middle) >= target else (middle, high)
    return high


def _measured_effect(labels: ScoredLabels) -> float | None:
    """The variance of the precision with images as units, divided by that of independent labels; None if undefined.

    The variance is that of the jackknife over images (linearized), which is not too small where images differ in size.
    """
    right, every = labels.per_image()
    total, images = every.sum(), len(every)
    precision = right.sum() / total if images else 0.0
    binomial = total * precision * (1 - precision)
    if images < 2 or binomial == 0:
        return None
    left_out = (right - precision * every) / (1 - every / total)
    return float((images - 1) / images * (left_out**2).sum() / binomial)


def _enough_errors(labels: ScoredLabels) -> int:
    """How many of the best labels have errors in `_ERROR_IMAGES` images, and one step of the grid more."""
    wrong = np.flatnonzero(~labels.right)
    _, first = np.unique(labels.image[wrong], return_index=True)
    if len(first) < _ERROR_IMAGES:
        return len(labels.right)
    return int(np.ceil(_STEP * (wrong[np.sort(first)[_ERROR_IMAGES - 1]] + 1)))


def _mean_size(labels: ScoredLabels) -> float:
    """The mean, over labels, of the number of labels in their image."""
    _, every = labels.per_image()
    return float((every**2).sum() / every.sum()) if every.size else 0.0


def _grid(labels: ScoredLabels, correlation: float, least: int, future_images: int | None) -> list[int]:
    """Numbers of best labels, rising by `_STEP` at least, that a threshold can separate from the others, and that are
    worth `least` independent labels or more by the sizes of their images."""
    scores, count = labels.scores, len(labels.scores)
    ends = np.append(np.flatnonzero(scores[:-1] > scores[1:]) + 1, count) if count else np.zeros(0, dtype=np.int64)
    coarse: list[int] = []
    for end in ends[ends >= least].tolist():
        if not coarse or end >= coarse[-1] * _STEP or end == count:
            coarse.append(end)
    factor = _variance_factor(labels.images, future_images)

    def worth(end: int) -> float:
        return end / (1 + correlation * (_mean_size(labels.first(end)) - 1)) / factor

    return [end for end in coarse if worth(end) >= least]


def _variance_factor(images: int, future_images: int | None) -> float:
    """What the variance grows by where the precision in other images is bounded, not the mean."""
    return 1.0 if future_images is None else 1 + images / future_images


def _level_of_one(counts: list[int], level: float) -> float:
    """The error level of one bound, so that the bounds of all `counts` hold together with probability 1 - `level`.

    The error of the precision of the first c labels, in standard errors, is a random walk at time c divided by its
    standard deviation. The largest of these over `counts` is drawn `_DRAWS` times with a fixed seed.
    """
    from scipy.stats import norm

    if len(counts) < 2:
        return level
    times = np.array(counts, dtype=np.float64)
    steps = np.random.default_rng(0).standard_normal((_DRAWS, len(times))) * np.sqrt(np.diff(times, prepend=0.0))
    largest = (steps.cumsum(axis=1) / np.sqrt(times)).max(axis=1)
    return float(norm.sf(np.quantile(largest, 1 - level)))


def _between(scores: FloatArray, count: int) -> float:
    """A threshold that keeps the first `count` labels: halfway to the next score, or 0 if there is none."""
    return float((scores[count - 1] + scores[count]) / 2) if count < len(scores) else 0.0
