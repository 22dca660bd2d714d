"""Compares a target's mask AP on large images with tiles and without.

    autodistill-seg demo --output runs/demo
    python benchmarks/tiled_prediction.py runs/demo --tiles 256
    python benchmarks/tiled_prediction.py RUN --gold COCO --scale 3 --tiles 640

Without `--gold` it draws scenes of 3840x2160 pixels, each of 135 scenes like the demo's, which no model has seen.
With `--gold` the images are enlarged `--scale` times before they are predicted, and the gold masks with them.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np

from autodistill_rfdetr_seg import coco
from autodistill_rfdetr_seg.core import masks
from autodistill_rfdetr_seg.core.types import Classes, ImageLabels, Instance
from autodistill_rfdetr_seg.evaluation.model_scores import evaluate_model
from autodistill_rfdetr_seg.images.image_opening import open_image, open_rgb
from autodistill_rfdetr_seg.images.rgb_image import write_png
from autodistill_rfdetr_seg.pipeline.demo_scenes import ONTOLOGY, draw_scene
from autodistill_rfdetr_seg.readers import read_gold
from autodistill_rfdetr_seg.targets import load_artifact

_HEIGHT, _WIDTH, _SIDE = 2160, 3840, 256
# Other scenes than the demo's own.
_SEED = 7


def draw_belts(folder: Path, count: int) -> Path:
    """`count` large images of many small scenes, with their exact masks as COCO."""
    classes = Classes.from_ontology(ONTOLOGY)
    entries = []
    for number in range(count):
        image = np.zeros((_HEIGHT, _WIDTH, 3), np.uint8)
        instances = []
        places = [(top, left) for top in range(0, _HEIGHT, _SIDE) for left in range(0, _WIDTH, _SIDE)]
        for at, (top, left) in enumerate(places):
            # Every fourth place has parts: the demo's target cannot tell apart two parts of a class that are close, as
            # its scenes hardly have any. Scenes with such a number are empty.
            index = number * len(places) + at
            apart = (top // _SIDE) % 2 == 0 and (left // _SIDE) % 2 == 0
            scene = draw_scene(index + (index % 11 == 4) if apart else 11 * index + 4, _SIDE, _SEED)
            rows, columns = min(_SIDE, _HEIGHT - top), min(_SIDE, _WIDTH - left)
            image[top : top + rows, left : left + columns] = scene.image[:rows, :columns]
            for name, mask in scene.parts:
                if mask[:rows, :columns].any():
                    rle = masks.encode_at(mask[:rows, :columns], top, left, _HEIGHT, _WIDTH)
                    instances.append(Instance(classes.names.index(name), rle, 1.0))
        path = folder / f"{number}.png"
        write_png(path, image)
        entries.append((path.name, ImageLabels(open_image(path, path.name).record, tuple(instances), source="drawn")))
    coco.write(folder / coco.ANNOTATIONS, entries, classes, {"description": "exact masks of drawn scenes"})
    return folder


def enlarge(gold: Path, folder: Path, scale: float) -> Path:
    """The images of a gold set and their masks, `scale` times as large."""
    truth = read_gold(gold)
    entries = []
    for number, image in enumerate(truth.images):
        pixels = cv2.resize(open_rgb(image.path), None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
        height, width = pixels.shape[:2]
        path = folder / f"{number}.png"
        write_png(path, pixels)
        instances = []
        for one in image.instances:
            mask = cv2.resize(masks.decode(one.rle).astype(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST)
            instances.append(Instance(one.class_index, masks.encode(mask), 1.0))
        entries.append(
            (path.name, ImageLabels(open_image(path, path.name).record, tuple(instances), source="imported"))
        )
    coco.write(folder / coco.ANNOTATIONS, entries, truth.classes, {"description": "enlarged"})
    return folder


def main() -> None:
    """Prints the comparison."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", help="a run, a checkpoint or an export")
    parser.add_argument("--tiles", type=int, default=256)
    parser.add_argument("--overlap", type=float, default=0.2)
    parser.add_argument("--gold", type=Path, help="enlarge the images of this gold set instead of drawing some")
    parser.add_argument("--scale", type=float, default=2.0)
    parser.add_argument("--count", type=int, default=2, help="images to draw")
    args = parser.parse_args()
    model = load_artifact(args.run)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        gold = enlarge(args.gold, folder, args.scale) if args.gold else draw_belts(folder, args.count)
        print("prediction | mask AP | AP50 | best F1 | instances | seconds an image")
        found = {}
        for what, tiles in (("whole", None), (f"tiles of {args.tiles}", args.tiles)):
            began = time.perf_counter()
            report = evaluate_model(model, gold, tiles=tiles, overlap=args.overlap, max_detections=1000)
            seconds = (time.perf_counter() - began) / report.images
            found[what] = report.mask["ap"] or 0.0
            print(
                f"{what} | {found[what]:.3f} | {report.mask['ap50'] or 0:.3f} | {report.best_f1 or 0:.3f} | "
                f"{report.instances} | {seconds:.1f}"
            )
        whole, tiled = found.values()
        print(f"tiled / whole: {tiled / whole:.1f}x" if whole else "whole images: nothing found")


if __name__ == "__main__":
    main()
