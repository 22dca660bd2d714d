"""Instances as rows of JSON lines, an image or a frame each: a file that grows while a model runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..core import masks
from ..core.types import Classes, Instance
from . import segmentation as segmentations
from .writing import further_scores


def instance_row(instance: Instance, classes: Classes, **more: Any) -> dict[str, Any]:
    """`class`, `class_id` (from 0), `score`, `bbox_xywh`, the keys of `more`, and `segmentation` (COCO RLE)."""
    return {
        "class": classes.names[instance.class_index],
        "class_id": instance.class_index,
        "score": round(instance.score, 6),
        "bbox_xywh": masks.bbox_xywh(instance.rle),
        **more,
        **further_scores(instance),
        "segmentation": segmentations.to_json(instance.rle),
    }


def read_instance(row: Mapping[str, Any], height: int, width: int) -> Instance:
    """The instance of such a row, in an image of `height` x `width` pixels.

    Raises:
        ValueError, KeyError, TypeError: it is not such a row.
    """
    mask_score, stability = (float(row[name]) if name in row else None for name in ("mask_score", "stability"))
    rle = segmentations.parse(row["segmentation"], height, width)
    return Instance(int(row["class_id"]), rle, float(row["score"]), mask_score, stability=stability)
