"""Slices: the parts of a run's images that several processes or machines label side by side."""

from __future__ import annotations

from collections.abc import Sequence

from ..images.file_copies import possible_copies
from ..images.image_opening import image_id
from .base_source import Item


def in_slice(name: str, image_slice: tuple[int, int] | None) -> bool:
    """Whether an image belongs to slice I of N (1-based); its name alone decides, so that slices never overlap."""
    if image_slice is None:
        return True
    index, count = image_slice
    return int(image_id(name, ""), 16) % count == index - 1


def items_of_slice(
    images: Sequence[Item], image_slice: tuple[int, int] | None, max_megapixels: float, progress: bool
) -> Sequence[Item]:
    """The images of a slice. Possible copies go to the slice of the first of them, so that no two slices label the same
    content."""
    if image_slice is None:
        return images
    alike = possible_copies(images, max_megapixels=max_megapixels, progress=progress)
    return [file[:2] for same in alike if in_slice(same[0].name, image_slice) for file in same]
