"""Compares what two forms of a model find: which instances are the same."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from .instance_mask import Crop, shared_pixels
from .output_decoding import Detection


def mask_iou(first: Crop, second: Crop) -> float:
    """Intersection over union of two masks of one image; 1 for two empty masks."""
    shared = shared_pixels(first, second)
    union = int(np.count_nonzero(first.pixels)) + int(np.count_nonzero(second.pixels)) - shared
    return shared / union if union else 1.0


def match_instances(gold: Sequence[Detection], found: Sequence[Detection], tolerance: float) -> tuple[list[Any], ...]:
    """Matches of one class, scores within `tolerance`, IoU from 0.5: (gold, found, IoU); what is missing; the rest."""
    pairs, missing, left = [], [], dict(enumerate(found))
    crop_of = lru_cache(maxsize=64)(lambda at: found[at].compact_mask.crop())
    for one in gold:
        near = [i for i, f in left.items() if f.class_id == one.class_id and abs(f.score - one.score) <= tolerance]
        crop = one.compact_mask.crop()
        iou, at = max(((mask_iou(crop, crop_of(i)), -i) for i in near), default=(0.0, 0))
        if iou < 0.5:
            missing.append(one)
        else:
            pairs.append((one, left.pop(-at), iou))
    return pairs, missing, list(left.values())
