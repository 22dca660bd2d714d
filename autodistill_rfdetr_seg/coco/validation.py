"""Every problem of a COCO file, ours or a user's, told at once."""

from __future__ import annotations

from pathlib import Path

from ..core.errors import AutodistillSegError
from .layout import locate
from .parsing import parse
from .problems import Problem


def validate(source: str | Path, check_images: bool = True, *, progress: bool = False) -> list[Problem]:
    """All problems of the COCO file `source` (a JSON file, or a folder that holds one).

    An "error" is what `read` refuses; a "warning" is read as it is plainly meant. `check_images` opens each image's
    header. Never raises for what a file holds.
    """
    try:
        path = locate(source)
    except AutodistillSegError as error:
        return [Problem("error", error.message, Path(source))]
    problems: list[Problem] = []
    parse(path, problems.append, images="checked" if check_images else "located", progress=progress)
    return problems
