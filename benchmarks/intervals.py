"""Shows by simulation how often the intervals of an evaluation hold the true score.

    python benchmarks/intervals.py [--data ../shared/data] [--draws 500] [--replicates 1000] [--images 10 20 40]

The images of a whole set stand for all images there are; its AP is the true one. Each draw takes some of its images at
random, with replacement, as a gold set, and computes the interval of AP from these alone. An interval that keeps its
promise holds the true AP in 95% of the draws. `difference` is that of two models on the same images, and `ratio` is the
recovery. Sets: drawn ellipses (one class and three), and mushrooms and fruits with the labels of the threshold base,
against a second model that loses some of them. `percentile` is the usual bootstrap interval, for comparison.
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
from review_order import FRUITS, MUSHROOMS, label

from autodistill_rfdetr_seg import coco
from autodistill_rfdetr_seg.core.plain_text import table
from autodistill_rfdetr_seg.core.types import Classes, GroundTruth, ImagePredictions
from autodistill_rfdetr_seg.evaluation.bootstrap import group_weights, interval
from autodistill_rfdetr_seg.evaluation.coco_arrays import IOU_THRESHOLDS
from autodistill_rfdetr_seg.evaluation.detection_matches import DetectionMatches
from autodistill_rfdetr_seg.evaluation.prediction_matches import match_predictions
from autodistill_rfdetr_seg.evaluation.resampled_ap import ResampledAp
from evaluation import make_files

SETS = {
    "mushrooms": (("mushrooms/train", "mushrooms/valid", "mushrooms/test"), MUSHROOMS, {}),
    "fruits_nuts": (("fruits_nuts/train",), FRUITS, {"min_area": 0.001, "split": 0.5, "opening": 5}),
}
LIMIT = 500

LabeledSet = tuple[GroundTruth, list[ImagePredictions]]


def matched(truth: GroundTruth, predictions: list[ImagePredictions]) -> DetectionMatches:
    """The matches of the predictions with the gold set."""
    return match_predictions(truth, predictions, limit=LIMIT, thresholds=IOU_THRESHOLDS.tolist())


def weaker(predictions: list[ImagePredictions], keep: float, seed: int = 0) -> list[ImagePredictions]:
    """A model that misses further objects, in some images more than in others."""
    rng = np.random.default_rng(seed)
    found = []
    for one in predictions:
        share = rng.beta(6 * keep, 6 * (1 - keep))
        kept = [instance for instance in one.instances if rng.random() < share]
        found.append(ImagePredictions(one.image_id, tuple(kept)))
    return found


def drawn_set(images: int, classes: int) -> LabeledSet:
    """Drawn ellipses and detections of them."""
    with tempfile.TemporaryDirectory() as name:
        gold, results = make_files(Path(name), images, 6, classes, seed=1)
        truth = coco.read(gold, images="ignored")
        return truth, list(coco.read_results(results, truth))


def labeled_set(folders: list[Path], prompts: dict[str, str], args: dict[str, float]) -> LabeledSet:
    """The images of a real set and the labels of the threshold base."""
    classes = Classes.from_ontology(prompts)
    pairs = label(folders, classes, args)
    names = {id(image): f"{at}" for at, (image, _) in enumerate(pairs)}
    images = tuple(replace(image, image_id=names[id(image)], file_id=at) for at, (image, _) in enumerate(pairs))
    found = [ImagePredictions(names[id(image)], labels.instances) for image, labels in pairs]
    return GroundTruth(classes, images, ""), found


NAMES = ("base AP", "target AP", "difference", "ratio")


def scores(base: ResampledAp, target: ResampledAp, weights: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The values of the four scores for each row of weights, (4, R)."""
    one, two = base(weights).mean(axis=1), target(weights).mean(axis=1)
    return np.stack([one, two, two - one, two / one])


def coverage(
    base: DetectionMatches, target: DetectionMatches, size: int, draws: int, replicates: int
) -> list[list[str]]:
    """A row for each score: how often its interval, and the percentile interval, hold the true value."""
    rng = np.random.default_rng(size)
    images = base.gold.shape[1]
    truth = scores(ResampledAp(base), ResampledAp(target), np.ones((1, images)))[:, 0]
    held = np.zeros((2, len(NAMES)))
    defined, widths = np.zeros(len(NAMES)), np.zeros(len(NAMES))
    for draw in range(draws):
        chosen, times = np.unique(rng.integers(0, images, size), return_counts=True)
        place = np.repeat(np.arange(len(chosen)), times)
        weights = np.zeros((replicates + 1, len(chosen)))
        weights[0] = times
        for at, drawn in enumerate(group_weights(range(size), replicates, seed=draw).T):
            weights[1:, place[at]] += drawn
        found = scores(ResampledAp(base.of_images(chosen)), ResampledAp(target.of_images(chosen)), weights)
        for at in range(len(NAMES)):
            one = interval(found[at, 1:], float(found[at, 0]), size)
            if one is None:
                continue
            low, high = np.nanquantile(found[at, 1:], [0.025, 0.975])
            defined[at] += 1
            held[:, at] += [one.low <= truth[at] <= one.high, low <= truth[at] <= high]
            widths[at] += one.high - one.low
    rows = []
    for at in np.flatnonzero(defined).tolist():
        shares = [f"{share:.1%}" for share in held[:, at] / defined[at]]
        rows.append([NAMES[at], f"{truth[at]:.3f}", *shares, f"{widths[at] / defined[at]:.3f}", f"{defined[at]:.0f}"])
    return rows


def main() -> None:
    """Prints a table for each set and number of images."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--draws", type=int, default=500)
    parser.add_argument("--replicates", type=int, default=1000)
    parser.add_argument("--images", type=int, nargs="+", default=[10, 20, 40])
    parser.add_argument("--sets", nargs="+", default=["drawn", "drawn, 3 classes", *SETS])
    options = parser.parse_args()
    for name in options.sets:
        if name in SETS:
            folders, prompts, args = SETS[name]
            truth, found = labeled_set([options.data / folder for folder in folders], prompts, args)
        else:
            truth, found = drawn_set(300, 3 if "3" in name else 1)
        base, target = matched(truth, found), matched(truth, weaker(found, 0.85))
        for size in options.images:
            rows = coverage(base, target, size, options.draws, options.replicates)
            print(f"\n{name}: {size} of {len(truth.images)} images, {options.draws} draws")
            print(table(["", "true", "holds it", "percentile", "mean width", "defined"], rows))


if __name__ == "__main__":
    main()
