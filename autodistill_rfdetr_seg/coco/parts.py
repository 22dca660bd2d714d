"""The valid parts of a COCO file: an image, an annotation, and what an annotation may refer to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from ..core.types import FileId, Rle

# How far a stated size may differ from the image's, in pixels, for the image's to be used: more is not a rounding
# error.
TRUSTED_PIXELS = 2

Row = dict[str, Any]
Box = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class Image:
    """One row of `images`.

    `file_name` is as stated; `path` is where the file lies (where it would, if it is not there), `upright` as in
    `TruthImage`. Sides are in pixels; `stated` (height, width) are those that the row states, where the image's own are
    trusted instead.
    """

    id: FileId
    file_name: str
    height: int
    width: int
    path: Path
    upright: bool = True
    stated: tuple[int, int] | None = None


class Annotation(NamedTuple):
    """One row of `annotations`; `image` and `category` are keys of the file's images and categories.

    `rle` is checked, and None where the row has a box alone. `area` and `bbox_xywh` are as stated, None where they are
    to be computed from the mask. `polygons` is the form of the mask.
    """

    id: FileId | None
    image: FileId
    category: FileId
    rle: Rle | None
    crowd: bool
    area: float | None
    bbox_xywh: Box | None
    polygons: bool
    score: float | None = None


@dataclass(frozen=True, slots=True)
class Known:
    """What an annotation may refer to: valid `images` by key, keys of image rows that are left out, categories.

    `names` has the key of each category that has a unique name.
    """

    images: Mapping[FileId, Image]
    left_out: frozenset[FileId]
    categories: frozenset[FileId]
    names: Mapping[str, FileId]
