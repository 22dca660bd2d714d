"""A model that finds what is red."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import supervision as sv

from helpers.shapes import detections


class Reds:
    """A model that finds what is red; `fails` are the calls (from 0) at which it raises that."""

    class_names = ("ant", "bee")

    def __init__(self, fails: dict[int, BaseException] | None = None) -> None:
        self.calls = 0
        self._fails = fails or {}

    def predict_batch(self, images: Sequence[np.ndarray], confidence: float) -> list[sv.Detections]:
        self.calls += 1
        if (error := self._fails.get(self.calls - 1)) is not None:
            raise error
        masks = [image[..., 0].astype(int) > image[..., 2] + 80 for image in images]
        return [detections(mask[None], [1], [0.123456789]) for mask in masks]
