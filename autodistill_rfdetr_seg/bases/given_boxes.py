"""The base `boxes`: boxes that people have already, found again by the image's name or content."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import numpy as np
from autodistill.detection import CaptionOntology, DetectionBaseModel

from ..core.errors import DataError, UnknownNameError, UsageError
from ..core.plain_text import short_list
from ..core.types import ImageRecord
from ..system.file_hash import file_sha256
from .base_ontology import ontology_of
from .box_file import BoxFile, BoxRow, hash_of_boxes, read_boxes

if TYPE_CHECKING:
    import supervision as sv

_NAMED = 3


class GivenBoxes(DetectionBaseModel):  # type: ignore[misc]
    """A detector that knows its images: each gets the boxes of its row in a file, with their classes and scores.

    Its prompts are the file's class names; the ontology may rename or leave out some, which is counted
    (`class_left_out`). A crowd's box is left out (`crowd_box`), and so is one without area (`box_without_area`) or
    outside of its image (`box_outside_image`); one that reaches out is cut. An image with a row and no boxes is a
    negative; one without a row is not known, and fails.

    Which row is an image's: that of its path, as the file writes it; else the one row whose path ends in the image's,
    or the other way round; else the one whose own file, beside the box file, has the same content.

    Args:
        ontology: class name of the file → class, a `CaptionOntology` or a plain mapping.
        file: a COCO file, a YOLO `data.yaml`, or a folder that holds one of them (`box_file`).

    Raises:
        MissingInputError: there is no such file.
        DataError: something in it is no box; it is named.
        UnknownNameError: a prompt is not one of the file's classes; the nearest is suggested.
    """

    ontology: CaptionOntology

    def __init__(self, ontology: CaptionOntology | Mapping[str, str], file: str | Path) -> None:
        self.ontology = ontology_of(ontology)
        self.settings = self.identity({"file": file})
        self._file = read_boxes(file)
        prompts = list(self.ontology.prompts())
        for prompt in prompts:
            if prompt not in self._file.classes:
                raise UnknownNameError("class of the boxes", prompt, self._file.classes)
        # -1 for a class that is left out.
        self._prompt_of = np.array([prompts.index(n) if n in prompts else -1 for n in self._file.classes], dtype=int)
        self._known: dict[str, BoxRow | str] = {}

    @staticmethod
    def identity(args: Mapping[str, Any]) -> Mapping[str, Any]:
        """The content of the boxes: the place of the file does not change labels."""
        return {"boxes_sha256": hash_of_boxes(_given(args))}

    @staticmethod
    def classes(args: Mapping[str, Any]) -> tuple[str, ...]:
        """The file's class names."""
        return read_boxes(_given(args)).classes

    def expect(self, items: Sequence[tuple[Path, str]]) -> list[str]:
        """Finds the row of each image (path, name); gives a sentence about rows that are no image's."""
        self._known = match(self._file, items)
        taken = {row.name for row in self._known.values() if isinstance(row, BoxRow)}
        idle = [row for row in self._file.rows if row.name not in taken]
        if not idle:
            return []
        boxes = sum(len(row.xyxy) for row in idle)
        names = short_list(row.name for row in idle)
        return [
            f"In {self._file.path.name} {len(idle)} of {len(self._file.rows)} rows have no image here; their {boxes} "
            f"boxes are not used: {names}."
        ]

    def for_images(self, records: Sequence[ImageRecord]) -> BoxAnswers:
        """What answers about these images.

        Raises:
            DataError: one has no row, or a row of another size.
        """
        return BoxAnswers([self._row(record) for record in records], self._prompt_of)

    def predict(self, input: Any) -> Any:
        """Refuses: pixels alone do not show which image it is.

        Raises:
            UsageError: always.
        """
        raise UsageError("The base `boxes` knows images by their names: use it in `label`, not by `predict`.")

    def _row(self, record: ImageRecord) -> BoxRow:
        row = self._known.get(record.path) or match(self._file, [(Path(record.path), record.path)])[record.path]
        if isinstance(row, str):
            raise DataError(f"{record.path}: {row}.")
        if row.size is not None and row.size != (record.height, record.width):
            raise DataError(
                f"{record.path}: {self._file.path.name} says {row.size[1]}x{row.size[0]} (width x height), and the "
                f"image is {record.width}x{record.height}, so that its boxes may lie elsewhere."
            )
        return row


class BoxAnswers:
    """The answers about some images, in their order."""

    def __init__(self, rows: Sequence[BoxRow], prompt_of: Any) -> None:
        self._rows, self._prompt_of = rows, prompt_of

    def predict(self, input: Any) -> sv.Detections:
        """The boxes of the first image, an HWC uint8 BGR array."""
        return self.predict_batch([input])[0]

    def predict_batch(self, images: Sequence[Any]) -> list[sv.Detections]:
        """The boxes of each image."""
        return [self._boxes(row, *image.shape[:2]) for row, image in zip(self._rows, images, strict=True)]

    def _boxes(self, row: BoxRow, height: int, width: int) -> sv.Detections:
        import supervision as sv

        sides = np.array([width, height] * 2, dtype=np.float64)
        xyxy = row.xyxy
        prompts = self._prompt_of[row.classes]
        cut = np.clip(xyxy, 0, sides)
        flat = (xyxy[:, 2:] <= xyxy[:, :2]).any(axis=1)
        outside = ~flat & (cut[:, 2:] <= cut[:, :2]).any(axis=1)
        other = (prompts < 0) & ~flat & ~outside
        reasons = {"box_without_area": flat, "box_outside_image": outside, "class_left_out": other}
        dropped = Counter({reason: int(which.sum()) for reason, which in reasons.items()}) + Counter(row.left_out)
        keep = ~(flat | outside | other)
        return sv.Detections(
            xyxy=cut[keep],
            confidence=row.scores[keep],
            class_id=prompts[keep],
            metadata={"dropped": dict(dropped)},
        )


def match(file: BoxFile, items: Sequence[tuple[Path, str]]) -> dict[str, BoxRow | str]:
    """The row of each image (path, name) by its name, or why it has none."""
    rows = {row.name: row for row in file.rows}
    parts = {row.name: PurePosixPath(row.name).parts for row in file.rows}
    by_last: dict[str, list[str]] = defaultdict(list)
    for name, path in parts.items():
        by_last[path[-1]].append(name)
    found: dict[str, list[str]] = {}
    for _, name in items:
        mine = PurePosixPath(name).parts
        alike = [row for row in by_last.get(mine[-1], ()) if _ends_alike(parts[row], mine)]
        found[name] = [row for row in alike if parts[row] == mine] or alike
    nameless = [(path, name) for path, name in items if not found[name]]
    if nameless:
        free = set(rows) - {one for some in found.values() for one in some}
        found |= _of_content(nameless, {row: rows[row].path for row in sorted(free)})
    images = Counter(some[0] for some in found.values() if len(some) == 1)
    told: dict[str, BoxRow | str] = {}
    for name, some in found.items():
        if not some:
            told[name] = f"there is no row for this image in {file.path.name}"
        elif len(some) > 1:
            told[name] = f"{len(some)} rows of {file.path.name} fit this image: {short_list(some)}"
        elif images[some[0]] > 1:
            told[name] = f"the row {some[0]} of {file.path.name} fits {images[some[0]]} images, such as this one"
        else:
            told[name] = rows[some[0]]
    return told


def _ends_alike(one: Sequence[str], other: Sequence[str]) -> bool:
    length = min(len(one), len(other))
    return one[-length:] == other[-length:]


def _of_content(items: Sequence[tuple[Path, str]], files: Mapping[str, Path]) -> dict[str, list[str]]:
    """The rows (name → file) of the same content as each image; only files of the same size are read."""
    by_size: dict[int, list[str]] = defaultdict(list)
    for row, file in files.items():
        if file.is_file():
            by_size[file.stat().st_size].append(row)
    found: dict[str, list[str]] = {}
    for path, name in items:
        alike = by_size.get(path.stat().st_size, []) if path.is_file() else []
        content = file_sha256(path) if alike else ""
        found[name] = [row for row in alike if file_sha256(files[row]) == content]
    return found


def _given(args: Mapping[str, Any]) -> str | Path:
    file = args.get("file")
    if not isinstance(file, str | Path) or not str(file):
        raise UsageError("The base `boxes` has no file of boxes.", "Give it: --base-arg file=boxes.json.")
    return file
