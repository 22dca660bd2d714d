"""Measures evaluation against pycocotools: seconds and peak memory of a process each, and the difference of the scores.

    python benchmarks/evaluation.py [--images 5000] [--objects 20] [--classes 3] [--repeats 3]

The processes read the same two files (a gold set, and COCO results with masks) and score masks and boxes.
`pycocotools` runs `COCO`, `loadRes` and `COCOeval`, as its documentation shows, and prints the 12 metrics twice.
`vernier` does the same with vernier, which `ours` is built on, without a check: the least that it can take. `ours` is
`evaluate_predictions`, which also checks every row of the files and computes the best F1 of each class and the details
of the report. Objects are drawn ellipses with noise on their outline; detections are objects that are shifted, resized,
left out or of another class, and false alarms.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from benchmark_helpers import run_python

from autodistill_rfdetr_seg.core import masks
from autodistill_rfdetr_seg.core.types import Rle

WIDTH, HEIGHT = 640, 480

PYCOCOTOOLS = """
import json, sys
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
gold = COCO(sys.argv[1])
scores = {}
for kind in ("segm", "bbox"):
    results = json.load(open(sys.argv[2]))
    for row in results if kind == "segm" else ():
        del row["bbox"]
    evaluator = COCOeval(gold, gold.loadRes(results), kind)
    evaluator.evaluate()
    evaluator.accumulate()
    evaluator.summarize()
    scores[kind] = evaluator.stats.tolist()
json.dump(scores, open(sys.argv[3], "w"))
"""

VERNIER = """
import json, sys
from vernier.instance import CocoDataset, evaluate_bbox_grid, evaluate_segm_grid
with open(sys.argv[1], "rb") as file:
    gold = CocoDataset.from_json(file.read())
with open(sys.argv[2], "rb") as file:
    found = file.read()
scores = {}
for kind, evaluate, area in (("segm", evaluate_segm_grid, "mask"), ("bbox", evaluate_bbox_grid, "bbox")):
    grid = evaluate(gold, found, parity_mode="strict", max_dets_per_image=100, use_cats=True, dt_area=area)
    scores[kind] = grid.accumulate([1, 10, 100]).summarize().stats
json.dump(scores, open(sys.argv[3], "w"))
"""

OURS = """
import json, sys
from autodistill_rfdetr_seg.evaluation.model_scores import evaluate_predictions
report = evaluate_predictions(sys.argv[2], sys.argv[1])
scores = {kind: list(values.values())[:12] for kind, values in (("segm", report.mask), ("bbox", report.box))}
json.dump(scores, open(sys.argv[3], "w"))
"""


def make_files(folder: Path, images: int, objects: int, classes: int, seed: int = 0) -> tuple[Path, Path]:
    """Writes the gold set and the results."""
    rng = np.random.default_rng(seed)

    def row(image: int, shape: npt.NDArray[np.float64], category: int) -> dict[str, Any]:
        x, y, long, short, angle = shape
        points = cv2.ellipse2Poly((round(x), round(y)), (round(long), round(short)), round(angle), 0, 360, 12)
        points = np.clip(points + rng.integers(-1, 2, points.shape).astype(points.dtype), 0, (WIDTH - 1, HEIGHT - 1))
        (left, top), (right, bottom) = points.min(axis=0).tolist(), points.max(axis=0).tolist()
        crop = np.zeros((bottom - top + 1, right - left + 1), np.uint8)
        cv2.fillPoly(crop, [points - (left, top)], 1)
        rle = masks.encode_at(crop, top, left, HEIGHT, WIDTH)
        segmentation = {"size": [HEIGHT, WIDTH], "counts": rle.counts.decode()}
        box = [left, top, right - left + 1, bottom - top + 1]
        return {"image_id": image, "category_id": category, "segmentation": segmentation, "bbox": box}

    annotations: list[dict[str, Any]] = []
    results: list[dict[str, Any]] = []
    for image in range(1, images + 1):
        for _ in range(objects):
            shape = np.array([*rng.uniform((40, 40), (WIDTH - 40, HEIGHT - 40)), *rng.uniform(8, 60, 2), 0])
            shape[4] = rng.uniform(0, 180)
            category = int(rng.integers(1, classes + 1))
            truth = row(image, shape, category)
            counts = truth["segmentation"]["counts"].encode()
            area = masks.area(Rle(HEIGHT, WIDTH, counts))
            annotations.append({"id": len(annotations) + 1, **truth, "area": area, "iscrowd": 0})
            kind = rng.random()
            if kind < 0.1:
                continue
            if kind < 0.2:
                shape = np.array([*rng.uniform((40, 40), (WIDTH - 40, HEIGHT - 40)), *rng.uniform(8, 60, 2), 0])
            moved = shape * [1, 1, *rng.uniform(0.85, 1.15, 2), 1] + [*rng.normal(0, 3, 2), 0, 0, 0]
            label = category if rng.random() < 0.95 else int(rng.integers(1, classes + 1))
            results.append({**row(image, moved, label), "score": round(float(rng.beta(4, 2)), 6)})
    rows = [{"id": at, "file_name": f"{at:06d}.jpg", "width": WIDTH, "height": HEIGHT} for at in range(1, images + 1)]
    categories = [{"id": at, "name": f"class {at}"} for at in range(1, classes + 1)]
    gold, found = folder / "gold.json", folder / "results.json"
    gold.write_text(json.dumps({"images": rows, "annotations": annotations, "categories": categories}))
    found.write_text(json.dumps(results))
    return gold, found


def main() -> None:
    """Prints a line for each process, and the ratios of the first and the last."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=5000)
    parser.add_argument("--objects", type=int, default=20)
    parser.add_argument("--classes", type=int, default=3)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        files = make_files(folder, options.images, options.objects, options.classes)
        print(f"{options.images} images x {options.objects} objects, {options.classes} classes; masks and boxes")
        seconds: dict[str, float] = {}
        peaks: dict[str, int] = {}
        scores: dict[str, Any] = {}
        for who, code in (("pycocotools", PYCOCOTOOLS), ("vernier", VERNIER), ("ours", OURS)):
            output = folder / f"{who}.json"
            runs = [run_python(code, *map(str, (*files, output)), input_folder=folder) for _ in range(options.repeats)]
            seconds[who], peaks[who] = min(run.seconds for run in runs), max(run.peak for run in runs)
            scores[who] = json.loads(output.read_text())
            print(f"{who:12} {seconds[who]:7.2f} s  {peaks[who] / 2**20:7.0f} MiB")
    pairs = [
        (-1.0 if mine is None else mine, theirs)
        for kind in ("segm", "bbox")
        for mine, theirs in zip(scores["ours"][kind], scores["pycocotools"][kind], strict=True)
    ]
    print(
        f"pycocotools / ours: {seconds['pycocotools'] / seconds['ours']:.1f} in time, "
        f"{peaks['pycocotools'] / peaks['ours']:.2f} in memory; "
        f"largest difference of {len(pairs)} metrics: {max(abs(mine - theirs) for mine, theirs in pairs):.1e}"
    )


if __name__ == "__main__":
    main()
