"""Reads a YOLO-seg dataset as gold sets of our own types, one a split."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ...coco import ground_truth
from ...coco import segmentation as segmentations
from ...coco.problems import OnProblem, Problem, ProblemReporter
from ...core import masks
from ...core.config import MAX_MEGAPIXELS
from ...core.errors import DataError
from ...core.masks import MAX_SIDE
from ...core.types import Classes, GroundTruth, Rle, TruthBox, TruthImage, TruthInstance
from ...images.image_header import image_size
from ...system.files import read_user_text
from . import yolo_problem_kinds as kinds
from .data_yaml import DataYaml, read_data_yaml
from .label_files import LabelFiles
from .label_rows import Row, read_rows
from .poses import PoseWatch
from .yolo_paths import Places
from .yolo_splits import split_images

# Seconds of reading before its progress is shown.
_PATIENCE = 1.0
# Pixels: an outline that is thinner everywhere and longer than a point is a line.
_THICKNESS = 0.1
_POINT = 2.0


@dataclass(frozen=True, slots=True)
class _Job:
    split: str
    image: Path
    label: Path | None


def read_yolo(
    file: Path, on_problem: OnProblem, *, max_megapixels: float = MAX_MEGAPIXELS, progress: bool = True
) -> dict[str, GroundTruth]:
    """The gold sets of the splits ("train", "valid", "test") that the data.yaml `file` declares.

    Classes come in the order of their numbers, which `category_ids` keeps; images in that of the declaration, each with
    its path relative to the file's folder for its id and its size after EXIF orientation. An image without a label
    file, or with an empty one, has no instances. Polygons are rasterized as pycocotools does. An error that
    `on_problem` is told leaves out the row or image that it is about; a warning leaves out nothing that has a mask.

    Raises:
        MissingInputError: the file, or a folder or list that it declares, is not there (a test split may be missing).
        DataError: it is not YAML, its classes or splits are unclear, or a path leads out of its folder.
    """
    from tqdm import tqdm

    data = read_data_yaml(file, on_problem)
    places = Places(data.root)
    splits = split_images(data, places, on_problem)
    jobs = _jobs(splits, places, on_problem)
    images = _Images(data, places, on_problem, max_megapixels)
    found: dict[str, list[TruthImage]] = {split: [] for split in splits}
    with tqdm(jobs, desc="Reading", unit="image", delay=_PATIENCE, leave=False, disable=not progress) as bar:
        for job in bar:
            image = images.read(job)
            if image is not None:
                found[job.split].append(image)
    if images.report_poses():
        found = {split: [replace(image, instances=()) for image in images] for split, images in found.items()}
    classes, numbers = Classes(tuple(data.names.values())), tuple(data.names)
    return {
        split: replace(ground_truth(classes, tuple(images)), category_ids=numbers) for split, images in found.items()
    }


def _jobs(splits: Mapping[str, Sequence[Path]], places: Places, on_problem: OnProblem) -> list[_Job]:
    """The images that can be read, with their label files."""
    files = LabelFiles(places, on_problem)
    jobs: list[_Job] = []
    for split, images in splits.items():
        found = [(image, *files.find(image)) for image in images]
        jobs += [_Job(split, image, label) for image, label, sound in found if sound]
        if images and not any(label for _, label, _ in found):
            message = f"no image of the {split} split has a label file; looked in {files.looked_in(images[0])}"
            ProblemReporter(partial(_report_of, on_problem, split), images[0]).add(kinds.NO_LABELS, message)
    files.tell_orphans([image for images in splits.values() for image in images])
    shared = _shared(jobs, places, on_problem)
    return [job for job in jobs if job.label not in shared]


def _shared(jobs: Sequence[_Job], places: Places, on_problem: OnProblem) -> set[Path]:
    """The label files, not empty, that fit more than one image."""
    users: dict[Path, dict[Path, None]] = {}
    for job in jobs:
        if job.label is not None:
            users.setdefault(job.label, {})[job.image] = None
    shared = set()
    for label, images in users.items():
        if len(images) > 1 and not _is_blank(label):
            names = " and ".join(places.shown(image) for image in images)
            ProblemReporter(on_problem, label).add(
                kinds.SHARED, f"it is the label file of {names}: whose labels are these?"
            )
            shared.add(label)
    return shared


def _is_blank(label: Path) -> bool:
    try:
        return not read_user_text(label).strip()
    except DataError:
        return False


def _report_of(on_problem: OnProblem, split: str, problem: Problem) -> None:
    """Reports a problem with its split."""
    on_problem(replace(problem, split=split))


class _Images:
    """Reads the images of a dataset, one after the other."""

    def __init__(self, data: DataYaml, places: Places, on_problem: OnProblem, max_megapixels: float) -> None:
        self._data = data
        self._places = places
        self._on_problem = on_problem
        self._max_megapixels = max_megapixels
        self._index = {number: at for at, number in enumerate(data.names)}
        self._poses = PoseWatch()
        self._first: ProblemReporter | None = None

    def read(self, job: _Job) -> TruthImage | None:
        """The image with its instances, or None where it cannot be read."""
        on_problem = partial(_report_of, self._on_problem, job.split)
        reporter = ProblemReporter(on_problem, job.image)
        try:
            height, width = image_size(job.image, max_megapixels=self._max_megapixels)
        except DataError as error:
            reporter.add(kinds.OPEN, error.message.rstrip("."))
            return None
        if max(height, width) > MAX_SIDE:
            reporter.add(kinds.SIDE, f"{width} x {height} pixels; a side may have {MAX_SIDE}")
            return None
        instances: tuple[TruthInstance, ...] = ()
        boxes: tuple[TruthBox, ...] = ()
        if job.label is not None:
            try:
                text = read_user_text(job.label)
            except DataError as error:
                ProblemReporter(on_problem, job.label).add(kinds.TEXT, error.message.rstrip("."))
                return None
            rows = read_rows(text, job.label, self._data, on_problem)
            boxes = tuple(self._boxes(rows, height, width))
            instances = tuple(self._instances(rows, job.label, height, width, on_problem))
        name = self._places.shown(job.image)
        return TruthImage(name, job.image, height, width, instances, boxes=boxes)

    def report_poses(self) -> bool:
        """Reports if all rows of the dataset look like keypoints; `task` in the data.yaml decides."""
        if self._data.task == "segment" or not self._poses.poses or self._first is None:
            return False
        rows, points = self._poses.rows, self._poses.points
        message = f"all {rows} rows have {2 * points + 1} numbers and look like a box and {points - 2} keypoints"
        self._first.add(kinds.LIKE_POSES, message)
        return True

    def _boxes(self, rows: Sequence[Row], height: int, width: int) -> Iterator[TruthBox]:
        for row in rows:
            if row.is_box:
                (x0, y0), (x1, y1) = (row.points * (width, height)).tolist()
                yield TruthBox(self._index[row.number], (x0, y0, x1 - x0, y1 - y0), row.score)

    def _instances(
        self, rows: Sequence[Row], label: Path, height: int, width: int, on_problem: OnProblem
    ) -> Iterator[TruthInstance]:
        for row in rows:
            if row.is_box:
                continue
            reporter = ProblemReporter(on_problem, label, line=row.line)
            rle = _mask(row, height, width, reporter)
            if rle is not None:
                self._first = self._first or reporter
                self._poses.see(row.points)
                yield TruthInstance(self._index[row.number], rle, polygons=True)


def _mask(row: Row, height: int, width: int, reporter: ProblemReporter) -> Rle | None:
    """The mask of a row's polygon; None, with a report, if it has none."""
    points = row.points * (width, height)
    try:
        rle = segmentations.parse([points.ravel().tolist()], height, width)
    except ValueError as error:
        reporter.add(kinds.MASK, str(error))
        return None
    area = masks.area(rle)
    longest = float((points.max(axis=0) - points.min(axis=0)).max())
    if longest >= _POINT and area <= 2 * longest and _thickness(points) < _THICKNESS:
        reporter.add(kinds.LINE, "all points of the polygon are on one line: it has no inside")
        return None
    if not area:
        reporter.add(kinds.NO_PIXEL, f"the polygon covers no pixel of {width} x {height}")
        return None
    return rle


def _thickness(points: npt.NDArray[np.float64]) -> float:
    """The extent of points, (N, 2) pixels, across the direction of their largest extent."""
    centered = points - points.mean(axis=0)
    _, _, directions = np.linalg.svd(centered, full_matrices=False)
    return float(np.ptp(centered @ directions[-1]))
