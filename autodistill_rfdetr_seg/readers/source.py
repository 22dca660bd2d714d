"""What a user points at as annotated images → the gold set of each split, and everything that is wrong with it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from .. import coco
from ..coco.parsing import ImageCheck
from ..errors import DataError, MissingInputError
from ..records import GroundTruth
from .yolo import find_data_yaml, read_yolo

_KINDS = (
    "Give a COCO .json, a folder with one (beside the images, one in each of train/ and valid/, or in annotations/), a "
    "YOLO data.yaml, or a run."
)


@dataclass(frozen=True)
class AnnotatedSource:
    """Annotated images as they were understood.

    `root` is the folder that holds them; nothing outside of it was read. `splits` has what is sound of each split
    ("train", "valid", "test"; "" where the source is of no split), `files` where each was read from, and `problems`
    everything else, in the order of reading.
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
    source: str | Path, *, images: ImageCheck = "checked", trust_images: bool = False, progress: bool = False
) -> AnnotatedSource:
    """The annotated images that `source` is: a COCO file or folder, a YOLO `data.yaml` or its folder, or a run.

    `images` and `trust_images` are as in `coco.parse`. What is wrong in a file is among the `problems`.

    Raises:
        MissingInputError: there is nothing at `source`, or nothing annotated.
        DataError: it cannot be told what is meant.
    """
    path = Path(source).expanduser()
    if not path.exists():
        raise MissingInputError(f"There is nothing at {path}.", _KINDS)
    if (path / "pipeline.yaml").is_file() and (path / "dataset").is_dir():
        path = path / "dataset"
    problems: list[coco.Problem] = []
    yaml_file = None if (path / "train" / coco.ANNOTATIONS).is_file() else find_data_yaml(path)
    if yaml_file is not None:
        found = read_yolo(yaml_file, problems.append, progress=progress)
        return AnnotatedSource(yaml_file.parent, "yolo", found, dict.fromkeys(found, yaml_file), tuple(problems))
    files = coco.find_files(path) if path.is_dir() else {"": path}
    if not files:
        raise MissingInputError(f"There are no annotated images in {path}.{coco.listing(path)}", _KINDS)
    if path.is_file() and path.suffix.lower() != ".json":
        raise DataError(f"{path} holds no annotations that are known here.", _KINDS)
    splits = {
        split: coco.truth_of(
            coco.parse(file, problems.append, images=images, trust_images=trust_images, progress=progress)
        )
        for split, file in files.items()
    }
    root = path if path.is_dir() else path.parent
    return AnnotatedSource(root, "coco", splits, files, tuple(problems))
