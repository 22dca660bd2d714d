"""Pictures of single errors: the place in the image with the gold masks, and with those of the target."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..core.errors import DataError
from ..core.types import Classes, Instance, TruthInstance
from ..drawing.label_text import class_name
from ..drawing.overlays import data_uri, draw_instances
from ..images.image_opening import open_rgb
from .error_tables import picture_id

# Of one class and kind, and on the whole page.
MOST_OF_ONE, MOST = 3, 48
_SIDE = 320
_LEAST_CROP = 64  # pixels


@dataclass(frozen=True, eq=False)
class ErrorPicture:
    """One error (`DetectionError.to_dict`), the image file it is in, and what is drawn there.

    `explain` is a command that shows where a label like it comes from, and `like` says of which label; "" if there is
    none.
    """

    error: Mapping[str, Any]
    image: Path
    gold: tuple[TruthInstance, ...]
    target: tuple[Instance, ...]
    explain: str = ""
    like: str = ""

    @property
    def id(self) -> str:
        """The id of the pictures of its class and kind."""
        return picture_id(self.error["kind"], self.error["class_index"])


def chosen_errors(errors: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The errors that are shown: the first of each class and kind, as many of each as there is place for."""
    seen: Counter[tuple[str, int]] = Counter()
    ranked = []
    for at, one in enumerate(errors):
        key = (one["kind"], one["class_index"])
        seen[key] += 1
        if seen[key] <= MOST_OF_ONE:
            ranked.append((seen[key], at, one))
    return [one for _, _, one in sorted(ranked, key=lambda item: item[:2])[:MOST]]


def drawn(
    pictures: Sequence[ErrorPicture], classes: Classes, max_megapixels: float
) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """The pictures by class and kind, as (id, panels); an image is read for each of its errors, one at a time."""
    order = list(dict.fromkeys(one.id for one in pictures))
    for group in order:
        yield group, [_panels(one, classes, max_megapixels) for one in pictures if one.id == group]


def _panels(picture: ErrorPicture, classes: Classes, max_megapixels: float) -> dict[str, Any]:
    error = picture.error
    caption = {
        "image": error["image_id"],
        "kind": error["kind"],
        "text": _text(error, classes),
        "explain": picture.explain,
        "like": picture.like,
    }
    try:
        pixels = open_rgb(picture.image, max_megapixels=max_megapixels)
    except DataError as problem:
        return {**caption, "problem": problem.message, "panels": ()}
    panels = []
    for name, instances in (("Gold", picture.gold), ("Target", picture.target)):
        crop = _crop(draw_instances(pixels, instances, classes), error["bbox_xywh"])
        uri, width, height = data_uri(crop, side=_SIDE, max_bytes=24_000)
        panels.append({"name": name, "uri": uri, "width": width, "height": height})
    return {**caption, "problem": "", "panels": panels}


def _text(error: Mapping[str, Any], classes: Classes) -> str:
    name = class_name(classes, error["class_index"])
    if error["kind"] == "missed":
        return name
    text = f"{name} {error['score']:.2f}"
    other = error["other_class"]
    if other is not None and other != error["class_index"]:
        text += f", the object is {class_name(classes, other)}"
    return f"{text}, IoU {error['iou']:.2f}" if error["iou"] > 0 else text


def _crop(image: npt.NDArray[np.uint8], bbox_xywh: Sequence[float]) -> npt.NDArray[np.uint8]:
    """The part of the image around a box, with as much again on each side as half of the box."""
    x, y, width, height = bbox_xywh
    margin = max(width, height, _LEAST_CROP) / 2
    top, left = max(0, int(y - margin)), max(0, int(x - margin))
    return image[top : int(y + height + margin) + 1, left : int(x + width + margin) + 1]
