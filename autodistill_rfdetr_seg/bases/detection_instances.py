"""From the detections of a base to instances: what is usable becomes RLE with a score, the rest is counted by
reason.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np

from ..core import masks
from ..core.compact_detections import compact_masks
from ..core.errors import BaseModelError
from ..core.types import Instance, Rle
from .registry import BASES
from .segmenters.segmenter_registry import SEGMENTERS


def instances_from_detections(
    detections: Any, shape: tuple[int, ...], prompts: int, dropped: Counter[str]
) -> list[Instance]:
    """The usable instances of an `sv.Detections` (or None); the others are counted in `dropped` (reason → number).

    Raises:
        BaseModelError: as `indexed_instances`.
    """
    return [instance for _, instance in indexed_instances(detections, shape, prompts, dropped)]


def indexed_instances(
    detections: Any, shape: tuple[int, ...], prompts: int, dropped: Counter[str]
) -> list[tuple[int, Instance]]:
    """As `instances_from_detections`, each with its index in the detections.

    Raises:
        BaseModelError: there are boxes without masks, or the masks have another size than the image.
    """
    if detections is None:
        return []
    dropped.update(detections.metadata.get("dropped", {}))
    count = len(detections)
    if count == 0:
        return []
    check_masks(detections, shape)
    encoded = _masks(detections, shape)
    scores = _scores(detections, count)
    mask_scores, stability = (_extra(detections, name, count) for name in ("mask_score", "stability"))
    class_ids = [None] * count if detections.class_id is None else list(detections.class_id)
    instances: list[tuple[int, Instance]] = []
    for at in range(count):
        prompt = _prompt_index(class_ids[at], prompts)
        if prompt is None:
            dropped["unknown_class"] += 1
        elif scores[at] is None:
            dropped["no_finite_score"] += 1
        elif not masks.area(rle := encoded(at)):
            dropped["empty_mask"] += 1
        else:
            score = float(scores[at])  # type: ignore[arg-type]
            found_here = Instance(prompt, rle, score, mask_scores[at], prompt, stability=stability[at])
            instances.append((at, found_here))
    return instances


def check_masks(detections: Any, shape: tuple[int, ...]) -> None:
    """Checks that detections in an image of `shape` (height, width) have masks of its size, one each.

    Raises:
        BaseModelError: there are boxes without masks, or the masks have another size than the image.
    """
    count = len(detections)
    compact = compact_masks(detections)
    found: Any = detections.mask if compact is None else compact
    if not count:
        return
    # GroundedSAM returns an array of shape (0,) for no masks.
    if found is None or len(found) == 0:
        raise BaseModelError(
            f"The base gives boxes without masks ({count} on this image).",
            f"Add --segmenter {' or '.join(sorted(SEGMENTERS))}, or use a base with masks: "
            f"{', '.join(name for name, entry in BASES.working().items() if entry.masks)}.",
        )
    if len(found) != count:
        raise BaseModelError(f"The base gives {len(found)} masks for {count} boxes.")
    size = tuple(found.shape[1:]) if compact is None else compact[0].shape
    if size != tuple(shape[:2]):
        raise BaseModelError(
            f"The base gives masks of {'x'.join(map(str, size))} (height x width) for an image of "
            f"{shape[0]}x{shape[1]}.",
            "The masks of a base must have the size of the image.",
        )


def _masks(detections: Any, shape: tuple[int, ...]) -> Callable[[int], Rle]:
    """The RLE of each mask by its index; compact masks are never made dense all at once."""
    compact = compact_masks(detections)
    if compact is None:
        return lambda at: masks.encode(np.asarray(detections.mask[at]))
    return lambda at: masks.encode_crop(compact[at].crop(), *shape[:2])


def _scores(detections: Any, count: int) -> list[float | None]:
    """Each score, clipped to 0..1; 1 if the base gives no scores, None for one that is not a finite number."""
    return [1.0] * count if detections.confidence is None else _clipped(detections.confidence)


def _extra(detections: Any, name: str, count: int) -> list[float | None]:
    """Another score in the detections' `data`; None if there is none."""
    values = detections.data.get(name)
    return [None] * count if values is None or len(values) != count else _clipped(values)


def _clipped(values: Any) -> list[float | None]:
    return [min(max(float(value), 0.0), 1.0) if math.isfinite(value) else None for value in values]


def _prompt_index(class_id: Any, prompts: int) -> int | None:
    if class_id is None or not (0 <= class_id < prompts):
        return None
    return int(class_id)
