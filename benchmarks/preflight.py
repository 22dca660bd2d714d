"""Measures preflight on a large generated dataset, against only reading its JSON.

Preflight reads and checks every mask and the header of every image.

python benchmarks/preflight.py [--images 50000] [--objects 8]
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

from autodistill_rfdetr_seg.core import masks
from autodistill_rfdetr_seg.targets.training.memory_estimate import ModelShape
from autodistill_rfdetr_seg.targets.training.preflight import Plan, preflight
from autodistill_rfdetr_seg.targets.training.training_data import find_dataset, survey_splits

SIDE = 640


def write(root: Path, split: str, images: int, objects: int) -> Path:
    """Writes a split: links to one image, with discs at random positions."""
    folder = root / split
    folder.mkdir()
    Image.fromarray(np.full((SIDE, SIDE, 3), 40, np.uint8)).save(root / "one.png")
    rows, columns = np.mgrid[:64, :64]
    disc = (rows - 32) ** 2 + (columns - 32) ** 2 < 900
    positions = np.random.default_rng(0).integers(0, SIDE - 64, size=(200, 2)).tolist()
    drawn = []
    for top, left in positions:
        rle = masks.encode_at(disc, top, left, SIDE, SIDE)
        segmentation = {"size": [SIDE, SIDE], "counts": rle.counts.decode()}
        drawn.append({"segmentation": segmentation, "bbox": list(masks.bbox_xywh(rle)), "area": masks.area(rle)})
    listed, annotations = [], []
    for at in range(images):
        os.link(root / "one.png", folder / f"{at}.png")
        listed.append({"id": at + 1, "file_name": f"{at}.png", "width": SIDE, "height": SIDE})
        for _ in range(objects):
            number = len(annotations)
            row = {"id": number + 1, "image_id": at + 1, "category_id": number % 3 + 1, "iscrowd": 0}
            annotations.append(row | drawn[number % len(drawn)])
    categories = [{"id": number, "name": name} for number, name in enumerate(("ant", "bee", "fly"), start=1)]
    content = {"images": listed, "annotations": annotations, "categories": categories}
    file = folder / "_annotations.coco.json"
    file.write_text(json.dumps(content))
    return file


def main() -> None:
    """Writes the splits and measures both."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=50_000)
    parser.add_argument("--objects", type=int, default=8)
    args = parser.parse_args()
    shape = ModelShape(33.6e6, 312, 12, 1, 12, 4, 100, 100, 13)
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        files = [
            write(root, "train", args.images, args.objects),
            write(root, "valid", max(1, args.images // 10), args.objects),
        ]
        size = sum(file.stat().st_size for file in files)
        started = time.perf_counter()
        for file in files:
            json.loads(file.read_bytes())
        read = time.perf_counter() - started
        started = time.perf_counter()
        found = preflight(*survey_splits(find_dataset(root)), Plan(shape, 4, 4, 1))
        took = time.perf_counter() - started
        print(found.as_table())
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(f"{args.images} images, {size / 1e6:.0f} MB of JSON: preflight {took:.1f} s, reading the JSON {read:.1f} s")
    print(f"ratio {took / read:.1f}; peak memory of the whole process {peak:.1f} GB")


if __name__ == "__main__":
    main()
