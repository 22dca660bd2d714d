"""Lists every problem of a COCO file, ours or a user's."""

from __future__ import annotations

from pathlib import Path

from ..core.config import MAX_MEGAPIXELS
from ..core.errors import AutodistillSegError
from .layout import locate
from .parsing import ImageCheck, parse
from .problem_kinds import NOT_FOUND
from .problems import Problem


def validate(
    source: str | Path,
    check_images: bool = True,
    *,
    max_megapixels: float = MAX_MEGAPIXELS,
    progress: bool = False,
) -> list[Problem]:
    """All problems of the COCO file `source` (a JSON file, or a folder that contains one).

    An "error" is what `read` refuses; a row with a "warning" is read as it is obviously meant. `check_images` opens
    each image's header, in which more than `max_megapixels` million pixels are an error. Never raises for the
    content of a file.
    """
    try:
        path = locate(source)
    except AutodistillSegError as error:
        return [Problem(NOT_FOUND, error.message, Path(source))]
    problems: list[Problem] = []
    check: ImageCheck = "checked" if check_images else "located"
    parse(path, problems.append, images=check, max_megapixels=max_megapixels, progress=progress)
    return problems
