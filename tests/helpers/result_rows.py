"""A gold file, and rows of results that fit it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

SIDE = 40


def rle(x: int, y: int, size: int = 12) -> dict[str, Any]:
    mask = np.zeros((SIDE, SIDE), np.uint8, order="F")
    mask[y : y + size, x : x + size] = 1
    found = coco_mask.encode(mask)
    return {"size": [SIDE, SIDE], "counts": found["counts"].decode()}


def annotation(number: int, image_id: Any, category_id: Any, x: int, y: int) -> dict[str, Any]:
    row = {"id": number, "image_id": image_id, "category_id": category_id, "segmentation": rle(x, y), "iscrowd": 0}
    return row | {"area": 144, "bbox": [x, y, 12, 12]}


def gold_file(
    folder: Path, images: list[Any], categories: list[Any], names: list[str] | None = None, per_image: int = 3
) -> Path:
    """A COCO file with these ids; image `at` has `per_image` objects, at places of its own, of classes in turn."""
    names = names or [f"frame_{at:03}.png" for at in range(len(images))]
    rows = [
        annotation(1 + at * per_image + n, image, categories[(at + n) % len(categories)], 2 + 9 * n, (5 * at) % 28)
        for at, image in enumerate(images)
        for n in range(per_image)
    ]
    data = {
        "images": [
            {"id": i, "file_name": n, "height": SIDE, "width": SIDE} for i, n in zip(images, names, strict=True)
        ],
        "categories": [{"id": c, "name": f"class {at}"} for at, c in enumerate(categories)],
        "annotations": rows,
    }
    path = folder / "gold.json"
    path.write_text(json.dumps(data))
    return path


def as_results(gold: Path, **changes: Any) -> list[dict[str, Any]]:
    """The file's own annotations as results, fields replaced by what `changes` makes of a row."""
    rows = json.loads(gold.read_text())["annotations"]
    kept = [{k: row[k] for k in ("image_id", "category_id", "segmentation")} | {"score": 0.9} for row in rows]
    return [row | {key: change(row) for key, change in changes.items()} for row in kept]


def put(folder: Path, rows: Any) -> Path:
    path = folder / "results.json"
    path.write_text(json.dumps(rows))
    return path
