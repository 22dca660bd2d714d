"""Whether labels made in tiles are those made of the whole image: the threshold base on images at twice their size.

    python benchmarks/tiles.py FOLDER [FOLDER ...] [--tile 640] [--overlap 0.2] [--scale 2] [--prompt bright]

For each image: objects untiled and tiled; mask AP and AP50 of the tiled ones with the untiled ones as the truth; the
share of either that have a partner in the other (mask IoU over a half); AP50 and share where the base sees nothing but
each tile (the baseline); seconds of the base, and of all else (mask encoding and joining).
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
    """A base without `within_image`: each tile is an image of its own to it."""

    def __init__(self, base: Any) -> None:
        self.ontology = base.ontology
        self.predict = base.predict


@dataclass(frozen=True, slots=True)
class Seen:
    """One image's labels, untiled, tiled, and tiled by a base that knows tiles alone; seconds of the second."""

    name: str
    shape: tuple[int, int]
    whole: tuple[Instance, ...]
    tiled: tuple[Instance, ...]
    alone: tuple[Instance, ...]
    base_seconds: float
    seconds: float


def see(path: Path, classes: Classes, args: argparse.Namespace) -> Seen:
    """Labels one image in the three ways."""
    import cv2

    pixels = cv2.resize(open_rgb(path), None, fx=args.scale, fy=args.scale, interpolation=cv2.INTER_CUBIC)
    base = create_base("threshold", classes)
    tiling = ("bgr", args.tile, args.overlap)
    whole = BaseAdapter(base, 1).ask(pixels).instances
    alone = BaseAdapter(TileByTile(base), 1, *tiling).ask(pixels).instances
    started = time.perf_counter()
    tiled = BaseAdapter(base, 1, *tiling).ask(pixels)
    seconds = time.perf_counter() - started
    return Seen(path.name[:24], pixels.shape[:2], whole, tiled.instances, alone, tiled.seconds, seconds)


def agreement(pairs: Sequence[tuple[Seen, tuple[Instance, ...]]], classes: Classes) -> tuple[float, float, float]:
    """Mask AP50:95 and AP50 of labels against the untiled ones of the same image, and the share with a partner."""
    truth = tuple(
        TruthImage(str(at), Path(), *one.shape, tuple(TruthInstance(i.class_index, i.rle) for i in one.whole))
        for at, (one, _) in enumerate(pairs)
    )
    found = [ImagePredictions(str(at), instances) for at, (_, instances) in enumerate(pairs)]
    mask = evaluate(GroundTruth(classes, truth, "untiled"), found, max_detections=1000, area_from="mask").mask
    ious = [masks.iou_matrix([i.rle for i in one.whole], [i.rle for i in instances]) for one, instances in pairs]
    partners = sum(int((iou > 0.5).any(axis=axis).sum()) for iou in ious if iou.size for axis in (0, 1))
    share = partners / max(sum(sum(iou.shape) for iou in ious), 1)
    return float(mask["ap"] or 0), float(mask["ap50"] or 0), share


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
        f"{'image':<26}{'whole':>6}{'tiled':>6}{'AP':>7}{'AP50':>7}{'share':>7}"
        f"{'tile by tile:':>15}{'AP50':>7}{'share':>7}{'base s':>8}{'rest s':>8}"
    )
    every: list[Seen] = []
    for path in paths:
        one = see(path, classes, args)
        every.append(one)
        row(one.name, [one], classes)
    row("pooled", every, classes)


def row(name: str, seen: Sequence[Seen], classes: Classes) -> None:
    """Prints one line."""
    ap, ap50, share = agreement([(one, one.tiled) for one in seen], classes)
    _, alone_ap50, alone_share = agreement([(one, one.alone) for one in seen], classes)
    whole, tiled, alone = (
        sum(map(len, counts)) for counts in zip(*((s.whole, s.tiled, s.alone) for s in seen), strict=True)
    )
    base = sum(one.base_seconds for one in seen)
    rest = sum(one.seconds for one in seen) - base
    print(
        f"{name:<26}{whole:>6}{tiled:>6}{ap:>7.3f}{ap50:>7.3f}{share:>7.3f}"
        f"{alone:>15}{alone_ap50:>7.3f}{alone_share:>7.3f}{base:>8.2f}{rest:>8.2f}"
    )


if __name__ == "__main__":
    main()
