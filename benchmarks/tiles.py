"""Compares labels made in tiles with labels of the whole image: the threshold base on images at twice their size.

    python benchmarks/tiles.py FOLDER [FOLDER ...] [--tile 640] [--overlap 0.2] [--scale 2] [--prompt bright]

For each image: the number of objects without and with tiles; mask AP and AP50 of the tiled labels with the untiled ones
as truth; the fraction of both that match one of the other (mask IoU above 0.5); AP50 and fraction if the base only sees
each tile (the baseline); seconds of the base, and of the rest (mask encoding and joining).
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autodistill_rfdetr_seg.bases.adapter import BaseAdapter
from autodistill_rfdetr_seg.bases.registry import create_base
from autodistill_rfdetr_seg.core import masks
from autodistill_rfdetr_seg.core.types import (
    Classes,
    GroundTruth,
    ImagePredictions,
    Instance,
    TruthImage,
    TruthInstance,
)
from autodistill_rfdetr_seg.evaluation import evaluate
from autodistill_rfdetr_seg.images.image_opening import open_rgb


class TileByTile:
    """A base without `within_image`: it sees each tile as an image."""

    def __init__(self, base: Any) -> None:
        self.ontology = base.ontology
        self.predict = base.predict


@dataclass(frozen=True, slots=True)
class LabeledImage:
    """The labels of one image: untiled, tiled, and tiled by a base that only sees tiles; seconds of the tiled ones."""

    name: str
    shape: tuple[int, int]
    whole: tuple[Instance, ...]
    tiled: tuple[Instance, ...]
    tile_by_tile: tuple[Instance, ...]
    base_seconds: float
    seconds: float


def label_image(path: Path, classes: Classes, args: argparse.Namespace) -> LabeledImage:
    """Labels one image in all three ways."""
    import cv2

    pixels = cv2.resize(open_rgb(path), None, fx=args.scale, fy=args.scale, interpolation=cv2.INTER_CUBIC)
    base = create_base("threshold", classes)
    tiling = ("bgr", args.tile, args.overlap)
    whole = BaseAdapter(base, 1).ask(pixels).instances
    tile_by_tile = BaseAdapter(TileByTile(base), 1, *tiling).ask(pixels).instances
    started = time.perf_counter()
    tiled = BaseAdapter(base, 1, *tiling).ask(pixels)
    seconds = time.perf_counter() - started
    return LabeledImage(path.name[:24], pixels.shape[:2], whole, tiled.instances, tile_by_tile, tiled.seconds, seconds)


def agreement(
    pairs: Sequence[tuple[LabeledImage, tuple[Instance, ...]]], classes: Classes
) -> tuple[float, float, float]:
    """Mask AP50:95 and AP50 of labels against the untiled ones of the same image, and the fraction that match."""
    truth = tuple(
        TruthImage(str(at), Path(), *one.shape, tuple(TruthInstance(i.class_index, i.rle) for i in one.whole))
        for at, (one, _) in enumerate(pairs)
    )
    found = [ImagePredictions(str(at), instances) for at, (_, instances) in enumerate(pairs)]
    mask = evaluate(GroundTruth(classes, truth, "untiled"), found, max_detections=1000, area_from="mask").mask
    ious = [masks.iou_matrix([i.rle for i in one.whole], [i.rle for i in instances]) for one, instances in pairs]
    matched = sum(int((iou > 0.5).any(axis=axis).sum()) for iou in ious if iou.size for axis in (0, 1))
    fraction = matched / max(sum(sum(iou.shape) for iou in ious), 1)
    return float(mask["ap"] or 0), float(mask["ap50"] or 0), fraction


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--tile", type=int, default=640)
    parser.add_argument("--overlap", type=float, default=0.2)
    parser.add_argument("--scale", type=float, default=2)
    parser.add_argument("--prompt", default="bright")
    args = parser.parse_args()
    classes = Classes.from_ontology({args.prompt: "object"})
    paths = [path for folder in args.folders for path in sorted(folder.glob("*.jpg"))]
    print(
        f"{'image':<26}{'whole':>6}{'tiled':>6}{'AP':>7}{'AP50':>7}{'match':>7}"
        f"{'tile by tile:':>15}{'AP50':>7}{'match':>7}{'base s':>8}{'rest s':>8}"
    )
    every: list[LabeledImage] = []
    for path in paths:
        one = label_image(path, classes, args)
        every.append(one)
        row(one.name, [one], classes)
    row("pooled", every, classes)


def row(name: str, seen: Sequence[LabeledImage], classes: Classes) -> None:
    """Prints one line."""
    ap, ap50, fraction = agreement([(one, one.tiled) for one in seen], classes)
    _, tile_ap50, tile_fraction = agreement([(one, one.tile_by_tile) for one in seen], classes)
    whole, tiled, alone = (
        sum(map(len, counts)) for counts in zip(*((s.whole, s.tiled, s.tile_by_tile) for s in seen), strict=True)
    )
    base = sum(one.base_seconds for one in seen)
    rest = sum(one.seconds for one in seen) - base
    print(
        f"{name:<26}{whole:>6}{tiled:>6}{ap:>7.3f}{ap50:>7.3f}{fraction:>7.3f}"
        f"{alone:>15}{tile_ap50:>7.3f}{tile_fraction:>7.3f}{base:>8.2f}{rest:>8.2f}"
    )


if __name__ == "__main__":
    main()
