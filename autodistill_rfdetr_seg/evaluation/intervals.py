"""The 95% intervals of scores, of the difference of two models, and of the recovery, by bootstrap over images.

They assume that the groups of the gold set are a random sample of the images that the model is for. An interval from
the frames of one camera is about that camera alone.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from .bootstrap import Interval, group_weights, interval
from .coco_arrays import IOU50, IOU75
from .detection_matches import DetectionMatches
from .detections import FloatArray
from .resampled_ap import ResampledAp

# The metrics that have an interval, and how they come from AP at the ten IoU thresholds.
SCORES: Mapping[str, Any] = {
    "ap": lambda ap: ap.mean(axis=1),
    "ap50": lambda ap: ap[:, IOU50],
    "ap75": lambda ap: ap[:, IOU75],
}
MOST_REPLICATES, LEAST_REPLICATES = 1000, 200
# Pairs of a detection and a resampled set, above which there are fewer sets: about a minute.
_MOST_WORK = 1e9
_AT_ONCE = 20


@dataclass(frozen=True, slots=True, eq=False)
class ScoreMatches:
    """The matches of one model on masks and on boxes, at COCO's ten IoU thresholds."""

    mask: DetectionMatches
    box: DetectionMatches


@dataclass(frozen=True, slots=True, eq=False)
class ResampledScores:
    """The scores of one model in each resampled set (R,), NaN where undefined, and in the gold set itself.

    Their keys are `mask.ap`, `box.ap50` and so on. `groups` is the number of groups of images.
    """

    values: Mapping[str, FloatArray]
    estimates: Mapping[str, float | None]
    groups: int
    ap_of_masks: ResampledAp

    def mask_ap(self, weights: FloatArray) -> FloatArray:
        """Mask AP (R,) with other weights of the images (R, images); NaN without a gold instance."""
        result: FloatArray = self.ap_of_masks(weights).mean(axis=1)
        return result

    def intervals(self) -> dict[str, dict[str, dict[str, float] | None]]:
        """The interval of each score: {"mask": {"ap": {"low", "high"} or None, ...}, "box": ...}."""
        found: dict[str, dict[str, dict[str, float] | None]] = {"mask": {}, "box": {}}
        for key, values in self.values.items():
            kind, name = key.split(".")
            found[kind][name] = _bounds(interval(values, self.estimates[key], self.groups, (0.0, 1.0)))
        return found


def resample(
    matches: ScoreMatches, groups: Sequence[Hashable], replicates: int | None = None, progress: bool = False
) -> ResampledScores:
    """The scores of a model in resampled gold sets, the same sets for every model with these groups.

    `groups` has the group of each image. Without `replicates` there are 1,000 sets, fewer for very many detections.
    """
    from tqdm import tqdm

    count = replicates_for(matches, replicates)
    weights = group_weights(groups, count).astype(np.float64)
    values: dict[str, FloatArray] = {}
    estimates: dict[str, float | None] = {}
    both = {"mask": ResampledAp(matches.mask), "box": ResampledAp(matches.box)}
    with tqdm(total=2 * count, desc="Intervals", unit="set", disable=not progress or None, delay=2, leave=False) as bar:
        for kind, ap_of in both.items():
            parts = []
            for start in range(0, count, _AT_ONCE):
                parts.append(ap_of(weights[start : start + _AT_ONCE]))
                bar.update(len(parts[-1]))
            whole = ap_of(np.ones((1, weights.shape[1])))
            for name, of_ap in SCORES.items():
                values[f"{kind}.{name}"] = of_ap(np.concatenate(parts))
                estimate = float(of_ap(whole)[0])
                estimates[f"{kind}.{name}"] = None if np.isnan(estimate) else estimate
    return ResampledScores(values, estimates, len(set(groups)), both["mask"])


def replicates_for(matches: ScoreMatches, replicates: int | None) -> int:
    """How many resampled sets there are: `replicates`, or as many as take about a minute."""
    if replicates is not None:
        return replicates
    work = max(1, matches.mask.objects.size + matches.box.objects.size)
    return int(min(MOST_REPLICATES, max(LEAST_REPLICATES, _MOST_WORK // work)))


@dataclass(frozen=True, slots=True)
class ModelComparison:
    """Two models on the same gold images, by mask AP: the target's minus the base's, and divided by it (recovery).

    `images` are in `groups` groups; `instances` are those of the gold set.
    """

    difference: float | None
    difference_interval: Interval | None
    recovery_interval: Interval | None
    images: int
    groups: int
    instances: int


def compare(base: ResampledScores, target: ResampledScores, images: int, instances: int) -> ModelComparison:
    """Compares two models that were scored on the same resampled sets."""
    key = "mask.ap"
    one, two = base.estimates[key], target.estimates[key]
    defined = one is not None and two is not None
    difference = two - one if one is not None and two is not None else None
    ratio = two / one if one and two is not None else None
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios: npt.NDArray[np.float64] = target.values[key] / base.values[key]
    ratios[~np.isfinite(ratios)] = np.nan
    apart = target.values[key] - base.values[key]
    return ModelComparison(
        difference,
        interval(apart, difference, base.groups, (-1.0, 1.0)) if defined else None,
        interval(ratios, ratio, base.groups, (0.0, math.inf)),
        images,
        base.groups,
        instances,
    )


def _bounds(found: Interval | None) -> dict[str, float] | None:
    return None if found is None else {"low": found.low, "high": found.high}


def comparison_dict(found: ModelComparison | None) -> dict[str, dict[str, float] | None]:
    """The intervals of the difference and the recovery, for metrics.json."""
    if found is None:
        return {"difference": None, "recovery": None}
    return {"difference": _bounds(found.difference_interval), "recovery": _bounds(found.recovery_interval)}
