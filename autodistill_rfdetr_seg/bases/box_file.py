"""Boxes that people have already, of annotated images in any form that `readers` knows → boxes by image.

Of each object the stated box is taken, or that of its mask where the file states none; and its score, if there is one.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath

import numpy as np
import numpy.typing as npt

from .. import coco
from ..coco import problem_kinds as kinds
from ..core import masks
from ..core.errors import DataError
from ..core.types import TruthImage
from ..readers import joined_classes, read_source
from ..readers.yolo import yolo_problem_kinds as yolo_kinds
from ..system.files import fingerprint
from .weight_hashes import weights_sha256

Floats = npt.NDArray[np.float64]
# What is wrong with a file of masks, and is the point of one of boxes.
_EXPECTED = (kinds.NO_MASK, yolo_kinds.BOX)


@dataclass(frozen=True, slots=True)
class BoxRow:
    """What a file says of one image: `name` is its path in the file (POSIX), `path` where it would lie beside it,
    `size` its (height, width) where the file tells.

    `xyxy` (N, 4) float64 are pixels; `classes` (N,) are indices of the file's classes, `scores` (N,) are 0..1 and 1
    where the file has none. `left_out` (reason → number) is what is no box of one object.
    """

    name: str
    path: Path
    size: tuple[int, int] | None
    xyxy: Floats
    classes: npt.NDArray[np.int64]
    scores: Floats
    left_out: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class BoxFile:
    """A file of boxes: its classes by name, in its order, and a row for each image that it knows."""

    path: Path
    classes: tuple[str, ...]
    rows: tuple[BoxRow, ...]


def read_boxes(source: str | Path) -> BoxFile:
    """The boxes of a COCO file, a YOLO `data.yaml`, or a folder that holds one of them.

    Raises:
        MissingInputError: it is not there.
        DataError: something in it is no box; file, annotation id or line are named.
    """
    path = Path(source).expanduser()
    found = read_source(path, images="boxes", max_megapixels=math.inf)  # only headers are read
    problems = [
        replace(problem, kind=replace(problem.kind, severity="error")) if problem.kind == kinds.SCORE_FORM else problem
        for problem in found.problems
        if problem.kind not in _EXPECTED
    ]
    coco.refuse_errors(problems)
    coco.log_warnings(problems)
    classes = joined_classes(found.splits)
    rows: list[BoxRow] = []
    images: dict[Path, None] = {}
    for split, truth in found.splits.items():
        # Each split's COCO file has names of its own; those of a data.yaml count from its folder.
        prefix = f"{split}/" if found.format == "coco" and len(found.splits) > 1 else ""
        index = np.array([classes.names.index(name) for name in truth.classes.names], dtype=np.int64)
        # A data.yaml may name a folder in two splits: each image has the same label file in both.
        rows += [_row(image, prefix, index) for image in truth.images if prefix or image.path not in images]
        images |= dict.fromkeys(image.path for image in truth.images)
    if twice := [name for name, count in Counter(row.name for row in rows).items() if count > 1]:
        raise DataError(f"{path}: two images have the file name {twice[0]!r}.", "Name each image once.")
    return BoxFile(path, classes.names, tuple(rows))


def hash_of_boxes(source: str | Path) -> str:
    """What decides the boxes: the SHA-256 of a COCO file, or what names all that is read of a folder or `data.yaml`.

    Raises:
        MissingInputError, DataError: as `read_boxes`.
    """
    path = Path(source).expanduser()
    if path.is_file() and path.suffix.lower() == ".json":
        return weights_sha256(path)
    file = read_boxes(path)
    content = [(row.name, row.xyxy.tolist(), row.classes.tolist(), row.scores.tolist()) for row in file.rows]
    return fingerprint(file.classes, content)


def _row(image: TruthImage, prefix: str, index: npt.NDArray[np.int64]) -> BoxRow:
    found = [
        (one.bbox_xywh or masks.bbox_xywh(one.rle), one.class_index, one.score)
        for one in image.instances
        if not one.crowd
    ]
    found += [(one.bbox_xywh, one.class_index, one.score) for one in image.boxes if not one.crowd]
    crowds = sum(one.crowd for one in image.instances) + sum(one.crowd for one in image.boxes)
    xywh = np.array([box for box, _, _ in found], dtype=np.float64).reshape(-1, 4)
    return BoxRow(
        # What a Windows program wrote.
        prefix + PurePosixPath(image.image_id.replace("\\", "/")).as_posix(),
        image.path,
        (image.height, image.width) if image.height and image.width else None,
        np.hstack([xywh[:, :2], xywh[:, :2] + xywh[:, 2:]]),
        index[np.array([at for _, at, _ in found], dtype=np.int64)],
        np.array([1.0 if score is None else score for _, _, score in found], dtype=np.float64),
        {"crowd_box": crowds} if crowds else {},
    )
