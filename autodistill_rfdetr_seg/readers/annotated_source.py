"""Reads the annotated images that a user names: the gold set of each split, and every problem in it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from .. import coco
from ..coco.parsing import ImageCheck
from ..core.config import MAX_MEGAPIXELS
from ..core.errors import DataError, MissingInputError
from ..core.types import GroundTruth
from ..system.folders import folder_contents
from .yolo import find_data_yaml, read_yolo
from .yolo.yolo_problem_kinds import IN_TWO_SPLITS

_KINDS = (
    "Give a COCO .json, a folder with one (beside the images, one in each of train/ and valid/, or in annotations/), a "
    "YOLO data.yaml, or a run."
)
# How many nested folders that contain only one folder are opened, and the folder that macOS adds to archives.
_DEEPEST = 4
_MAC = "__MACOSX"


@dataclass(frozen=True)
class AnnotatedSource:
    """Annotated images as they were read.

    `root` is their folder; nothing outside it was read. `splits` has the valid part of each split ("train", "valid",
    "test"; "" if the source is of no split), `files` the file of each, and `problems` everything else, in the order of
    reading.
    """

    root: Path
    format: Literal["coco", "yolo"]
    splits: Mapping[str, GroundTruth]
    files: Mapping[str, Path]
    problems: tuple[coco.Problem, ...]

    @property
    def errors(self) -> int:
        """How many of the problems are errors."""
        return sum(problem.severity == "error" for problem in self.problems)

    def problems_of(self, split: str) -> list[coco.Problem]:
        """The problems of a split's own files."""
        if self.format == "yolo":
            return [problem for problem in self.problems if problem.split in (split, None)]
        return [problem for problem in self.problems if problem.file == self.files[split]]


def read_source(
    source: str | Path,
    *,
    images: ImageCheck = "checked",
    trust_images: bool = False,
    max_megapixels: float = MAX_MEGAPIXELS,
    progress: bool = False,
) -> AnnotatedSource:
    """The annotated images that `source` is: a COCO file or folder, a YOLO `data.yaml` or its folder, or a run.

    `images`, `trust_images` and `max_megapixels` are as in `coco.parse`. Problems of a file are in
    `problems`.

    Raises:
        MissingInputError: there is nothing at `source`, or nothing annotated.
        DataError: it is unclear what is meant.
    """
    stated = Path(source).expanduser()
    if not stated.exists():
        raise MissingInputError(f"There is nothing at {stated}.", _KINDS)
    path, yaml_file, files = _find(stated)
    problems: list[coco.Problem] = []
    if yaml_file is not None:
        splits = read_yolo(yaml_file, problems.append, max_megapixels=max_megapixels, progress=progress)
        files = dict.fromkeys(splits, yaml_file)
        _report_shared(splits, files, problems.append)
        return AnnotatedSource(yaml_file.parent, "yolo", splits, files, tuple(problems))
    if not files:
        raise MissingInputError(
            f"There are no annotated images in {stated}, which contains {folder_contents(stated)}.", _KINDS
        )
    if path.is_file() and path.suffix.lower() != ".json":
        raise DataError(f"{path} has no annotations in a known format.", _KINDS)
    splits = {
        split: coco.truth_of(
            coco.parse(
                file,
                problems.append,
                images=images,
                trust_images=trust_images,
                max_megapixels=max_megapixels,
                progress=progress,
            )
        )
        for split, file in files.items()
    }
    _report_shared(splits, files, problems.append)
    root = path if path.is_dir() else path.parent
    return AnnotatedSource(root, "coco", splits, files, tuple(problems))


def _find(path: Path) -> tuple[Path, Path | None, dict[str, Path]]:
    """The folder of the annotations, its data.yaml if it has one, or its COCO files by split.

    A folder that contains only another folder, as in unpacked archives, is replaced by that one.
    """
    if not path.is_dir():
        yaml_file = find_data_yaml(path)
        return path, yaml_file, {} if yaml_file else {"": path}
    for _ in range(_DEEPEST):
        if (path / "pipeline.yaml").is_file() and (path / "dataset").is_dir():
            path = path / "dataset"
        yaml_file = None if (path / "train" / coco.ANNOTATIONS).is_file() else find_data_yaml(path)
        files = {} if yaml_file else coco.find_files(path)
        inner = [one for one in path.iterdir() if not one.name.startswith(".") and one.name != _MAC]
        if yaml_file or files or len(inner) != 1 or not inner[0].is_dir() or inner[0].is_symlink():
            return path, yaml_file, files
        path = inner[0]
    return path, None, {}


def _report_shared(splits: Mapping[str, GroundTruth], files: Mapping[str, Path], on_problem: coco.OnProblem) -> None:
    """Reports images that are in two splits: a model is scored on images that it was trained on."""
    first: dict[Path, str] = {}
    for split, truth in splits.items():
        for image in truth.images:
            other = first.setdefault(image.path, split)
            if other != split:
                message = f"{image.image_id!r} is in the {other} split too"
                on_problem(coco.Problem(IN_TWO_SPLITS, message, files[split], image.file_id, split=split))
