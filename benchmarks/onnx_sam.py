"""Measures accuracy and speed of `onnx-sam`: masks from people's boxes against people's masks, on COCO datasets.

    python benchmarks/onnx_sam.py --models DIR --data SET [--data SET …] [--baseline vit_b]

DIR has the two files of an export; each SET is a COCO file or a folder with `_annotations.coco.json` and its images. A
prompt is the box in the file. For each set it prints the mean IoU of the masks over instances (without crowds), and the
median seconds of the encoder per image and of the decoder per prompt, both in processor time of this process.

`--baseline vit_b` or `vit_h` also times the image encoder of SAM of that size in transformers, with random weights
(they do not change the time), with the same threads and on one image. The ratio is its time divided by that of the
encoder of `onnx-sam`. ViT-H takes 3 GB of memory and some minutes.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Row:
    """One dataset: mean IoU over its instances, median CPU seconds of the encoder and of a prompt."""

    data: str
    images: int
    instances: int
    mean_iou: float
    encode: float
    prompt: float


def measure(segmenter: Any, source: Path) -> Row:
    """Segments every box of a dataset; a first call with one box encodes the image."""
    from autodistill_rfdetr_seg import coco
    from autodistill_rfdetr_seg.core import masks
    from autodistill_rfdetr_seg.images.image_opening import open_rgb

    ious: list[float] = []
    encode: list[float] = []
    prompt: list[float] = []
    truth = coco.read(source)
    for image in truth.images:
        wanted = [one for one in image.instances if not one.crowd and one.bbox_xywh is not None]
        if not wanted:
            continue
        bgr = np.ascontiguousarray(open_rgb(image.path)[:, :, ::-1])
        boxes = np.array([one.bbox_xywh for one in wanted])
        boxes[:, 2:] += boxes[:, :2]
        started = time.process_time()
        segmenter.segment(bgr, boxes[:1])
        first = time.process_time() - started
        started = time.process_time()
        made = [segmenter.segment(bgr, box[None]).masks[0] for box in boxes]
        prompt.append((time.process_time() - started) / len(boxes))
        encode.append(first - prompt[-1])
        ious += [
            float(masks.iou_matrix([masks.encode(mask)], [one.rle])[0, 0])
            for mask, one in zip(made, wanted, strict=True)
        ]
        print(f"{source.name}: {len(encode)} images, mean IoU {np.mean(ious):.3f}", end="\r", file=sys.stderr)
    print(file=sys.stderr)
    if not ious:
        raise SystemExit(f"{source} has no box with a mask")
    times = (float(np.median(encode)), float(np.median(prompt)))
    return Row(str(source), len(encode), len(ious), float(np.mean(ious)), *times)


def baseline(kind: str) -> float:
    """CPU seconds of the image encoder in transformers on one image of 1024x1024."""
    import random_weights
    import torch

    encoder = random_weights.sam_encoder(kind)
    pixels = torch.rand(1, 3, 1024, 1024)
    started = time.process_time()
    with torch.inference_mode():
        encoder(pixels)
    return time.process_time() - started


def report(rows: Sequence[Row], threads: int, base: str | None, seconds: float | None, as_json: bool) -> None:
    """Prints what was measured."""
    import onnxruntime

    about = {"threads": threads, "onnxruntime": onnxruntime.__version__, "load": round(os.getloadavg()[0], 1)}
    if as_json:
        found = {"about": about, "rows": [dataclasses.asdict(row) for row in rows]}
        print(json.dumps(found | {"baseline": base, "baseline_seconds": seconds}, indent=2))
        return
    print("; ".join(f"{name} {value}" for name, value in about.items()))
    print(f"{'set':<44}{'images':>7}{'masks':>7}{'mean IoU':>10}{'encoder s':>11}{'prompt s':>10}{'ratio':>8}")
    for row in rows:
        ratio = f"{seconds / row.encode:.1f}x" if seconds else "–"
        print(
            f"{row.data[-43:]:<44}{row.images:>7}{row.instances:>7}{row.mean_iou:>10.3f}{row.encode:>11.2f}"
            f"{row.prompt:>10.3f}{ratio:>8}"
        )
    if seconds:
        print(f"ratio: the image encoder of SAM {base} in transformers, {seconds:.1f} s, random weights, / ours")


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--models", type=Path, required=True, help="a folder with the files of an export")
    parser.add_argument("--data", type=Path, action="append", required=True, help="a COCO dataset; repeatable")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--baseline", choices=("vit_b", "vit_h"), help="an image encoder to compare with")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = str(args.threads)

    import cv2

    from autodistill_rfdetr_seg.bases.segmenters.segmenter_registry import create_segmenter

    cv2.setNumThreads(args.threads)
    segmenter = create_segmenter("onnx-sam", {"model": str(args.models), "threads": args.threads})
    rows = [measure(segmenter, source) for source in args.data]
    seconds = None
    if args.baseline:
        import torch

        torch.set_num_threads(args.threads)
        seconds = baseline(args.baseline)
    report(rows, args.threads, args.baseline, seconds, args.json)


if __name__ == "__main__":
    main()
