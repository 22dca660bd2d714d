"""Measures whether calibrated thresholds keep their promise: learned on one half of the images, checked on the other.

    python benchmarks/calibration.py [--shared ../shared] [--splits 200] [--targets 0.95 0.9 0.8] [--cache DIR]
    python benchmarks/calibration.py --simulate 500

Each gold set is labeled once by a base (see `labeled_gold.py`) and kept in `--cache`. `calibrate` is
`calibrate_labels` with the default rules, for a promise about as many images as the other half has. `naive` takes the
lowest threshold at which the precision measured on the first half meets the target. A promise is kept if the labels of
the class in the other half have the target precision; a class that has no label there is not counted. `recall` is
that in the other half where a promise was made, `without threshold` that of the same classes with all labels.

With `--simulate` labels are drawn in place of images: Poisson numbers per image with a gamma spread, errors that gather
in images (Gaussian copula), and a precision that rises with the score or is just the target's. There the true
precision is known, and the promise is about ten times as many images.
"""

from __future__ import annotations

import argparse
import dataclasses
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
from labeled_gold import SETS, labeled_gold

from autodistill_rfdetr_seg import coco
from autodistill_rfdetr_seg.core.config import RefineConfig
from autodistill_rfdetr_seg.core.plain_text import number, table
from autodistill_rfdetr_seg.core.types import GroundTruth, ImageLabels
from autodistill_rfdetr_seg.evaluation.detection_matches import Matches
from autodistill_rfdetr_seg.evaluation.label_calibration import calibrate_labels
from autodistill_rfdetr_seg.evaluation.label_matches import match_labels
from autodistill_rfdetr_seg.evaluation.precision_bound import ScoredLabels, safe_threshold

Labels = Mapping[str, ImageLabels]
# A threshold for each class; None where nothing is promised.
Thresholds = list[float | None]


@dataclass
class Tally:
    """The promises of a precision of `target` that were made, and what the other half showed."""

    target: float
    asked: int = 0
    kept: int = 0
    broken: int = 0
    recalls: list[float] = field(default_factory=list)
    whole_recalls: list[float] = field(default_factory=list)

    def cells(self) -> list[str]:
        """Asked, promised, kept of promised, broken of asked, and the recalls."""
        made = self.kept + self.broken
        mean = [number(float(np.mean(one)) if one else None, ".2f") for one in (self.recalls, self.whole_recalls)]
        kept = number(self.kept / made if made else None, ".1%")
        return [str(self.asked), f"{made / self.asked:.1%}", kept, f"{self.broken / self.asked:.1%}", *mean]


def subset(truth: GroundTruth, chosen: npt.NDArray[np.int64]) -> GroundTruth:
    """Some images of a gold set."""
    return dataclasses.replace(truth, images=tuple(truth.images[at] for at in chosen))


def naive(matches: Matches, target: float) -> Thresholds:
    """The lowest threshold of each class at which the measured precision is the target or more."""
    found: Thresholds = []
    for at in range(len(matches.gold)):
        mine = matches.classes == at
        labels = ScoredLabels.sorted_from(matches.scores[mine], matches.matched[mine], matches.images[mine], 1)
        precision = np.cumsum(labels.right) / np.arange(1, len(labels.right) + 1)
        last = np.append(labels.scores[:-1] > labels.scores[1:], True)[: len(labels.scores)]
        met = np.flatnonzero((precision >= target) & last)
        found.append(float(labels.scores[met[-1]]) if len(met) else None)
    return found


def calibrated(truth: GroundTruth, labels: Labels, matches: Matches, target: float, other: int) -> Thresholds:
    """The thresholds of `calibrate`. With one class `matches` without a threshold tell all that it looks at."""
    if len(truth.classes.names) == 1:
        scored = ScoredLabels.sorted_from(matches.scores, matches.matched, matches.images, len(truth.images))
        return [safe_threshold(scored, target, future_images=other).threshold]
    found = calibrate_labels(truth, labels, RefineConfig(), target, future_images=other)
    return [one.threshold if one.calibrated else None for one in found.classes]


def check(tally: Tally, thresholds: Thresholds, whole: Matches, seen: Matches) -> None:
    """Adds what the other half shows: `seen` are its matches with these thresholds, `whole` those without any."""
    for at, threshold in enumerate(thresholds):
        gold = int(whole.gold[at].sum())
        tally.asked += 1
        mine = (seen.classes == at) & (seen.scores >= (2.0 if threshold is None else threshold))
        if not mine.any():
            continue
        met = bool(seen.matched[mine].mean() >= tally.target)
        tally.kept += met
        tally.broken += not met
        if gold:
            tally.recalls.append(float(seen.matched[mine].sum()) / gold)
            tally.whole_recalls.append(float(whole.matched[whole.classes == at].sum()) / gold)


def halves(count: int, splits: int) -> Iterator[tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]]:
    """Seeded splits of the images into two halves, in the order of the images."""
    for seed in range(splits):
        order = np.random.default_rng(seed).permutation(count)
        yield np.sort(order[: count // 2]), np.sort(order[count // 2 :])


def of_images(matches: Matches, chosen: npt.NDArray[np.int64]) -> Matches:
    """The matches in some images, whose numbers become 0, 1 …"""
    new = np.full(matches.gold.shape[1], -1)
    new[chosen] = np.arange(len(chosen))
    kept = new[matches.images] >= 0
    parts = (matches.scores[kept], matches.classes[kept], new[matches.images[kept]], matches.rows[kept])
    return Matches(*parts, matches.matched[kept], matches.gold[:, chosen])


def rows_of(name: str, truth: GroundTruth, labels: Labels, targets: list[float], splits: int) -> list[list[str]]:
    """The rows of a gold set: for each target, ours and the naive threshold."""
    from tqdm import tqdm

    rules = RefineConfig()
    # Matches number the images in the order of `in_id_order`, which is made the order of the images here.
    truth = dataclasses.replace(truth, images=tuple(coco.in_id_order(truth.images)))
    every = match_labels(truth, labels, rules)
    rows = []
    for target in targets:
        tallies = {"calibrate": Tally(target), "naive": Tally(target)}
        pairs = list(halves(len(truth.images), splits))
        for first, second in tqdm(pairs, desc=f"{name} {target}", mininterval=10):
            known, whole = of_images(every, first), of_images(every, second)
            found = {
                "calibrate": calibrated(subset(truth, first), labels, known, target, len(second)),
                "naive": naive(known, target),
            }
            for method, thresholds in found.items():
                check(tallies[method], thresholds, whole, seen_with(thresholds, truth, labels, second, whole))
        rows += [[name, f"{target:g}", method, *tally.cells()] for method, tally in tallies.items()]
    return rows


def seen_with(
    thresholds: Thresholds, truth: GroundTruth, labels: Labels, chosen: npt.NDArray[np.int64], whole: Matches
) -> Matches:
    """The matches in `chosen` images as a build with these thresholds has them; classes without one keep all."""
    if len(thresholds) == 1 or not any(thresholds):
        return whole
    confidence = {name: one or 0.0 for name, one in zip(truth.classes.names, thresholds, strict=True)}
    return match_labels(subset(truth, chosen), labels, RefineConfig(confidence=confidence))


CURVES: dict[str, Callable[[npt.NDArray[np.float64]], npt.NDArray[np.float64]]] = {
    "rises to 0.99": lambda score: np.clip(0.6 + 0.45 * score, 0, 0.99),
    "0.95 everywhere": lambda score: np.full_like(score, 0.95),
    "0.98 everywhere": lambda score: np.full_like(score, 0.98),
}
# Images, mean labels per image, shape of the gamma spread of that mean (0: none), correlation of errors in an image.
SHAPES = ((60, 4, 0.0, 0.0), (40, 20, 2.0, 0.2), (150, 4, 2.0, 0.3), (300, 10, 1.0, 0.1))


def draw(
    rng: np.random.Generator, images: int, mean: float, spread: float, correlation: float, curve: str
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_], npt.NDArray[np.int64]]:
    """Scores, whether right, and image of drawn labels."""
    from scipy.stats import norm

    means = mean * (rng.gamma(spread, 1 / spread, images) if spread else np.ones(images))
    image = np.repeat(np.arange(images), rng.poisson(means))
    score = rng.beta(2, 1.2, len(image))
    shared, own = rng.normal(size=images)[image], rng.normal(size=len(image))
    right = norm.cdf(np.sqrt(correlation) * shared + np.sqrt(1 - correlation) * own) < CURVES[curve](score)
    return score, right, image


def simulate(repeats: int, target: float = 0.95) -> str:
    """The table of drawn labels."""
    rows = []
    for curve in CURVES:
        for shape in SHAPES:
            rng = np.random.default_rng(0)
            made = false = broken = naive_false = 0
            for _ in range(repeats):
                known, other = (draw(rng, times * shape[0], *shape[1:], curve) for times in (1, 10))
                labels = ScoredLabels.sorted_from(*known, shape[0])
                one = safe_threshold(labels, target, future_images=10 * shape[0]).threshold
                matches = Matches(
                    known[0], np.zeros(len(known[0]), int), known[2], known[2], known[1], np.zeros((1, 1))
                )
                guess = naive(matches, target)[0]
                truth = CURVES[curve](other[0])
                naive_false += (
                    guess is not None and (other[0] >= guess).any() and truth[other[0] >= guess].mean() < target - 1e-9
                )
                if one is not None:
                    made += 1
                    kept = other[0] >= one
                    false += truth[kept].mean() < target - 1e-9
                    broken += other[1][kept].mean() < target
            cells = [made, broken, naive_false]
            rows.append([curve, *(f"{one:g}" for one in shape), *(f"{one / repeats:.1%}" for one in cells)])
    head = ["precision", "images", "labels per image", "spread", "correlation", "promised", "broken", "naive: too low"]
    return table(head, rows)


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shared", type=Path, default=Path(__file__).resolve().parents[2] / "shared")
    parser.add_argument("--cache", type=Path, default=Path(tempfile.gettempdir()) / "labeled_gold")
    parser.add_argument("--splits", type=int, default=200)
    parser.add_argument("--targets", type=float, nargs="+", default=[0.95, 0.9, 0.8])
    parser.add_argument("--sets", nargs="+", choices=list(SETS), default=list(SETS))
    parser.add_argument("--simulate", type=int, metavar="REPEATS")
    args = parser.parse_args()
    if args.simulate:
        print(simulate(args.simulate))
        return
    rows = []
    for name in args.sets:
        truth, labels = labeled_gold(name, args.shared, args.cache)
        rows += rows_of(name, truth, labels, args.targets, args.splits)
    head = ["set", "target", "method", "asked", "promised", "kept", "broken of asked", "recall", "without threshold"]
    print(table(head, rows))


if __name__ == "__main__":
    main()
