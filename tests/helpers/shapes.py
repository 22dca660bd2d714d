"""Masks and detections of plain shapes."""

from __future__ import annotations

import numpy as np
import supervision as sv


def disc(height: int, width: int, x: int, y: int, radius: int) -> np.ndarray:
    rows, columns = np.mgrid[:height, :width]
    return (rows - y) ** 2 + (columns - x) ** 2 <= radius**2


def detections(masks: np.ndarray, class_id: list[int], confidence: list[float] | None = None) -> sv.Detections:
    return sv.Detections(
        xyxy=sv.mask_to_xyxy(masks).astype(float),
        mask=masks,
        class_id=np.array(class_id),
        confidence=None if confidence is None else np.array(confidence),
    )
