"""Measures whether stability finds errors: errors in the first 10% of an order of labels, against a random order.

    python benchmarks/review_order.py [--data ../shared/data] [--confidence 0 0.2 0.3]

The embedded threshold base labels mushrooms (valid and test) and fruits and nuts (train) with `--stability`. Its labels
go through the default rules with each `--confidence`. A label is an error if its best mask IoU with the masks of people
is below 0.5, or if that mask has another class. `review` is the order of `autodistill-seg review`; `random` is the
expected value, with the range of 90% of seeded shuffles; `oracle` knows the errors.

The image changes in `bases/stability.py` were chosen on these datasets: the numbers on others may be lower.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from autodistill_rfdetr_seg import coco
from autodistill_rfdetr_seg.bases.adapter import BaseAdapter
from autodistill_rfdetr_seg.bases.registry import create_base
from autodistill_rfdetr_seg.core import masks
from autodistill_rfdetr_seg.core.config import RefineConfig
from autodistill_rfdetr_seg.core.plain_text import table
from autodistill_rfdetr_seg.core.types import Classes, ImageLabels, Instance, TruthImage
from autodistill_rfdetr_seg.dataset.refine import refine
from autodistill_rfdetr_seg.images.image_opening import open_image
from autodistill_rfdetr_seg.review.review_order import review_ranks

MUSHROOMS = {"bright": "Mushroom"}
FRUITS = {"#6b2a28:25": "date", "#8a5a40:20": "hazelnut", "#524d40:20": "fig"}
SETS = {
    "mushrooms": (("mushrooms/valid", "mushrooms/test"), MUSHROOMS, {}),
    "fruits_nuts": (("fruits_nuts/train",), FRUITS, {"min_area": 0.001, "split": 0.5, "opening": 5}),
}
FRACTION = 0.1
SHUFFLES = 2000


def label(folders: Sequence[Path], classes: Classes, args: Mapping[str, float]) -> list[tuple[TruthImage, ImageLabels]]:
    """Each gold image with the labels of the base, including their stability."""
    model = create_base("threshold", classes, args)
    plain = BaseAdapter(model, len(classes.prompts))
    adapter = BaseAdapter(model, len(classes.prompts), stability=True)
    found, plain_seconds, stability_seconds = [], 0.0, 0.0
    for truth in (coco.align(coco.read(folder), classes) for folder in folders):
        for image in truth.images:
            opened = open_image(image.path)
            started = time.perf_counter()
            plain.ask(opened.pixels)
            between = time.perf_counter()
            answer = adapter.ask(opened.pixels)
            plain_seconds += between - started
            stability_seconds += time.perf_counter() - between
            # Each prompt is a class here, in the same order, so the prompt index is the class index.
            found.append((image, ImageLabels(opened.record, answer.instances)))
    ratio = stability_seconds / plain_seconds
    print(f"{len(found)} images; with stability {ratio:.1f} times as long as without ({plain_seconds:.1f} s)")
    return found


def errors(image: TruthImage, instances: Sequence[Instance]) -> list[bool]:
    """Whether each instance is an error."""
    iou = masks.iou_matrix([one.rle for one in instances], [one.rle for one in image.instances])
    if not image.instances:
        return [True] * len(instances)
    best = iou.argmax(axis=1)
    return [
        bool(iou[at, best[at]] < 0.5 or image.instances[best[at]].class_index != one.class_index)
        for at, one in enumerate(instances)
    ]


def row(name: str, confidence: float, instances: Sequence[Instance], wrong: npt.NDArray[np.bool_]) -> list[str]:
    """The number of errors in the first part of each order."""
    first = max(1, round(FRACTION * len(wrong)))
    scores = np.array([one.score for one in instances])
    stability = np.array([np.nan if one.stability is None else one.stability for one in instances])
    assert np.isfinite(stability).all()
    orders = (stability, review_ranks(scores - confidence, stability.tolist()), scores)
    found = [str(int(wrong[np.argsort(order, kind="stable")[:first]].sum())) for order in orders]
    rng = np.random.default_rng(0)
    shuffled = [int(wrong[rng.permutation(len(wrong))[:first]].sum()) for _ in range(SHUFFLES)]
    low, high = np.percentile(shuffled, [5, 95])
    random = f"{wrong.mean() * first:.1f} ({low:.0f}–{high:.0f})"
    oracle = str(min(first, int(wrong.sum())))
    return [name, f"{confidence:g}", str(len(wrong)), str(int(wrong.sum())), str(first), random, *found, oracle]


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--data", type=Path, default=Path(__file__).resolve().parents[2] / "shared" / "data")
    parser.add_argument("--confidence", type=float, nargs="+", default=[0.0, 0.2, 0.3])
    args = parser.parse_args()
    rows = []
    for name, (folders, ontology, options) in SETS.items():
        classes = Classes.from_ontology(ontology)
        found = label([args.data / folder for folder in folders], classes, options)
        for confidence in args.confidence:
            config = RefineConfig(confidence=confidence)
            kept = [(image, refine(one, config, classes).instances) for image, one in found]
            wrong = np.array([error for image, instances in kept for error in errors(image, instances)])
            rows.append(row(name, confidence, [one for _, instances in kept for one in instances], wrong))
    head = [
        "set",
        "confidence",
        "labels",
        "errors",
        "first 10%",
        "random (90%)",
        "stability",
        "review",
        "score",
        "oracle",
    ]
    print(table(head, rows))


if __name__ == "__main__":
    main()
