"""Measures whether choosing the images of a gold set by their labels gives closer scores than choosing them at random.

    python benchmarks/gold_sampling.py [--data ../shared/data] [--work FOLDER] [--sets scenes …] [--draws 4000]

The sets are those of `certification.py`. A third of the images is chosen without replacement with probabilities
proportional to a size, and each counts with the inverse of its probability. Printed is the mean squared error of the
base's precision, recall and F1 at IoU 0.5 around their values on all images, divided by that of a random choice: 0.6
means that 60% of the images do as well.

    labels     the number of labels, and one
    suspects   the labels that `review` shows in the first quarter, a quarter of the others, and a half
    ranks      the sum over the labels of how early `review` shows them (0..1), and a half
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Mapping
from pathlib import Path

import certification
import numpy as np
from certification import Truth

from autodistill_rfdetr_seg.core.plain_text import table
from autodistill_rfdetr_seg.evaluation.detections import FloatArray, IntArray


def sizes_of(truth: Truth) -> dict[str, FloatArray]:
    """The size of each image, by the name of the way to choose."""
    images = truth.image[truth.region]
    count = int(truth.image.max()) + 1
    labels = np.bincount(images, minlength=count)
    suspects = np.bincount(images, truth.ranks < np.quantile(truth.ranks, 0.25), minlength=count)
    early = np.bincount(images, 1 - truth.ranks, minlength=count)
    return {
        "random": np.ones(count),
        "labels": labels + 1.0,
        "suspects": suspects + 0.25 * (labels - suspects) + 0.5,
        "ranks": early + 0.5,
    }


def inclusion(sizes: FloatArray, count: int) -> FloatArray:
    """Probabilities proportional to the sizes that sum to `count`, none above 1."""
    chance = count * sizes / sizes.sum()
    while (chance > 1).any():
        open_ = chance < 1
        rest = count - (~open_).sum()
        chance = np.where(open_, rest * sizes / sizes[open_].sum(), 1.0)
    return chance


def choose(chance: FloatArray, rng: np.random.Generator) -> IntArray:
    """Images with these probabilities: a systematic sample of a shuffled list (Madow, 1949), which has a fixed size."""
    order = rng.permutation(len(chance))
    ends = np.cumsum(chance[order])
    places = np.searchsorted(ends, rng.random() + np.arange(round(ends[-1])), "right")
    return np.asarray(order[np.minimum(places, len(order) - 1)], dtype=np.int64)


def scores(right: FloatArray, labels: FloatArray, objects: FloatArray) -> FloatArray:
    """Precision, recall and F1 of weighted counts of images."""
    found, given, wanted = right.sum(), max(labels.sum(), 1e-9), max(objects.sum(), 1e-9)
    return np.array([found / given, found / wanted, 2 * found / (given + wanted)])


def measure(truth: Truth, draws: int) -> Mapping[str, FloatArray]:
    """The mean squared errors of precision, recall and F1, by the name of the way to choose."""
    labels = np.bincount(truth.image, truth.labels)
    right = labels - np.bincount(truth.image, truth.region_wrong)
    objects = right + np.bincount(truth.image, truth.region_missed)
    true = scores(right, labels, objects)
    found = {}
    for name, sizes in sizes_of(truth).items():
        chance = inclusion(sizes, max(2, len(sizes) // 3))
        errors = np.zeros(3)
        for seed in range(draws):
            chosen = choose(chance, np.random.default_rng(seed))
            weight = 1 / chance[chosen]
            errors += (scores(weight * right[chosen], weight * labels[chosen], weight * objects[chosen]) - true) ** 2
        found[name] = errors / draws
    return found


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    certification.add_set_arguments(parser)
    parser.add_argument("--draws", type=int, default=4000)
    args = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as temporary:
        for name in args.sets:
            truth = certification.labeled_set(name, args, args.work or Path(temporary))
            found = measure(truth, args.draws)
            for way in list(found)[1:]:
                ratios = found[way] / found["random"]
                rows.append([name, str(int(truth.image.max()) + 1), way, *(f"{one:.2f}" for one in ratios)])
    print(table(["set", "images", "chosen by", "precision", "recall", "F1"], rows))


if __name__ == "__main__":
    main()
