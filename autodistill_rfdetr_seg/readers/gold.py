"""One set of annotated images, to be held against predictions."""

from __future__ import annotations

from pathlib import Path

from .. import coco
from ..records import GroundTruth


def read_gold(source: str | Path) -> GroundTruth:
    """The gold set that `source` is: a COCO file, or a folder that holds one.

    Raises:
        MissingInputError: there is none.
        DataError: something in it is wrong; the message names the file, image id and annotation id.
    """
    return coco.read(source)
