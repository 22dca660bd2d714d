"""The input of a model, made of images."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from .bilinear import resize_pixels

Array = np.ndarray[Any, Any]


def make_input(images: Sequence[Array], spec: Mapping[str, Any]) -> Array:
    """The model's input (batch, 3, S, S) float32 of images (H, W, 3) uint8 RGB.

    A model of a fixed batch size (`batch_size` above 0) gets the last image again in empty places.
    """
    mean, std = (np.asarray(spec[name], dtype=np.float32).reshape(3, 1, 1) for name in ("mean", "std"))
    side = spec["input_size"]
    batch = np.empty((max(len(images), spec["batch_size"]), 3, side, side), dtype=np.float32)
    for place, image in enumerate(images):
        # As (pixels / 255 - mean) / std.
        np.subtract(resize_pixels(image, side, side), 255 * mean, out=batch[place])
        batch[place] /= 255 * std
    batch[len(images) :] = batch[len(images) - 1]
    return batch
