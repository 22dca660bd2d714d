"""From a model's raw output to instances: which of them count, their boxes and masks."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from .instance_mask import Mask, masks_from_logits

Array = np.ndarray[Any, Any]


class Detection(NamedTuple):
    """One instance: 0-based class, score 0..1, box [x0, y0, x1, y1] in pixels, and its mask at the image's size."""

    class_id: int
    score: float
    xyxy: Array
    compact_mask: Mask

    @property
    def mask(self) -> Array:
        """The mask as (height, width) bool, computed each time."""
        return self.compact_mask.dense()


def decode_output(
    raw: Sequence[Array], size: Sequence[int], spec: Mapping[str, Any], confidence: float
) -> list[Detection]:
    """The instances over `confidence`, best first, in an image of `size` (height, width).

    `raw` is what the model gives for it: boxes (queries, 4: center and size, 0..1), logits (queries, slots), mask
    logits (queries, h, w). The best `num_select` logits count, without those of no class.
    """
    boxes, logits, masks = (np.asarray(one) for one in raw)
    scores = 1 / (1 + np.exp(-np.clip(logits.astype(np.float32), -88, 88)))
    flat = scores.ravel()
    over = np.flatnonzero(flat > confidence)
    order = over[np.argsort(-flat[over], kind="stable")][: spec["num_select"]]
    queries, slots = np.unravel_index(order, scores.shape)
    center, extent = boxes[queries, :2].astype(np.float32), np.maximum(boxes[queries, 2:].astype(np.float32), 0) / 2
    frame = np.array([size[1], size[0]] * 2, dtype=np.float32)
    corners = np.clip(np.concatenate([center - extent, center + extent], axis=1) * frame, 0, frame)
    of_class = [spec["slots"][slot] for slot in slots.tolist()]
    kept = np.array([at for at, class_id in enumerate(of_class) if class_id is not None], dtype=np.int64)
    found_masks = masks_from_logits(masks[queries[kept]], int(size[0]), int(size[1]))
    return [
        Detection(of_class[at], float(flat[order[at]]), corners[at], mask)
        for at, mask in zip(kept.tolist(), found_masks, strict=True)
    ]
