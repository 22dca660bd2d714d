"""What a COCO file says, and a change of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from autodistill_rfdetr_seg.core import masks
from autodistill_rfdetr_seg.core.types import GroundTruth

ANNOTATIONS = "_annotations.coco.json"


def objects(truth: GroundTruth) -> dict[str, list[tuple[str, tuple[int, ...]]]]:
    """Class name and mask's box (xywh) of each object, sorted, by the stem of its image; each mask fills its box."""
    found: dict[str, list[tuple[str, tuple[int, ...]]]] = {}
    for image in truth.images:
        rows = found.setdefault(image.path.stem, [])
        for one in image.instances:
            box = tuple(map(int, masks.bbox_xywh(one.rle)))
            assert masks.area(one.rle) == box[2] * box[3]
            rows.append((truth.classes.names[one.class_index], box))
    return {stem: sorted(rows) for stem, rows in found.items()}


def edit(file: Path, change: Any) -> None:
    data = json.loads(file.read_text())
    change(data)
    file.write_text(json.dumps(data))
