"""Reads one set of annotated images, to compare predictions with."""

from __future__ import annotations

import logging
from pathlib import Path

from .. import coco
from ..coco.parsing import ImageCheck
from ..core.bulk_objects import many_objects
from ..core.config import MAX_MEGAPIXELS
from ..core.errors import DataError
from ..core.types import GroundTruth
from .annotated_source import read_source

_log = logging.getLogger(__name__)


@many_objects()
def read_gold(
    source: str | Path,
    *,
    images: ImageCheck = "located",
    max_megapixels: float = MAX_MEGAPIXELS,
    quiet: bool = False,
    progress: bool = False,
) -> GroundTruth:
    """The gold set that `source` is: a COCO file or folder, a YOLO `data.yaml` or its folder, or a run.

    Of a dataset in splits the test split is used, else the valid split; the log says which. `images` and
    `max_megapixels` are as in `coco.parse`; with "checked" the images are to be opened, upright as everywhere, and one
    that was annotated as it is stored, before its EXIF orientation is applied, is refused. What is written in another
    form but is unambiguous is read, and logged unless `quiet`.

    Raises:
        MissingInputError: there is no gold set.
        DataError: something in it is wrong; the message names the file, image id and annotation id.
    """
    found = read_source(source, images=images, max_megapixels=max_megapixels, progress=progress)
    split = next((name for name in ("", "test", "valid") if name in found.splits), None)
    if split is None:
        raise DataError(f"{source} has neither a test nor a valid split to compare predictions with.")
    problems = found.problems_of(split)
    coco.refuse_errors(problems)
    if images == "checked":
        _refuse_unturned(found.splits[split])
    if not quiet:
        if split:
            _log.info("%s: the %s split is used", source, split)
        coco.log_warnings(problems)
    return found.splits[split]


def _refuse_unturned(truth: GroundTruth) -> None:
    image = next((image for image in truth.images if not image.upright), None)
    if image is not None:
        raise DataError(
            f"{image.path} is turned by EXIF, and its annotations are for the picture as it is stored, unturned.",
            "`autodistill-seg repair` writes it as it was annotated.",
        )
