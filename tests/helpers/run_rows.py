"""Labels as a built dataset has them, and as a person's tool writes them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from autodistill_rfdetr_seg import coco
from autodistill_rfdetr_seg.core import masks
from autodistill_rfdetr_seg.system.files import read_json


def rows_of(run: Path, name: str) -> list[tuple[np.ndarray, dict[str, Any]]]:
    """Mask and COCO row of each label of the image `name` in the built dataset."""
    entry = read_json(run / "dataset" / "dataset.json")["images"][name]
    folder = run / "dataset" / entry["split"]
    (image,) = (i for i in coco.read(folder).images if i.image_id == entry["file_name"])
    told = coco.read_rows(folder)[entry["file_name"]]
    return [(masks.decode(i.rle), row) for i, row in zip(image.instances, told, strict=True)]


def annotation(mask: np.ndarray, number: int, image_id: int, category_id: int = 1) -> dict[str, Any]:
    rle = masks.encode(mask)
    segmentation = {"size": [rle.height, rle.width], "counts": rle.counts.decode()}
    shape = {"bbox": list(masks.bbox_xywh(rle)), "area": masks.area(rle), "segmentation": segmentation}
    return {"id": number, "image_id": image_id, "category_id": category_id, "iscrowd": 0, **shape}
