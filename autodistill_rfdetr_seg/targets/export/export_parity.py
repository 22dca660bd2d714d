"""Whether an exported model says what the model in torch says: the same instances, classes, scores and masks."""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...core.config import ParityConfig
from ...core.errors import DataError, MissingInputError
from ...images.image_reader import RgbImage, discover, open_rgb
from ...readers import read_gold
from ..inference.export_runner import Found, pair
from ..inference.model_artifacts import Artifact

if TYPE_CHECKING:
    import supervision as sv

# Where a model is sure of nothing, so many of each image's best are compared.
_BEST = 5
# What is compared is not finer than this: masks of a large photo's every candidate are gigabytes.
_LONGEST_SIDE = 1280
# Of files that name the images.
_ANNOTATIONS = (".json", ".yaml", ".yml")


@dataclass(frozen=True)
class Samples:
    """Images (RGB HWC uint8) by name, and where they are from: `given`, `test split`, `valid split` or `drawn`."""

    origin: str
    images: tuple[tuple[str, RgbImage], ...]


@dataclass(frozen=True)
class Wanted:
    """What torch says of one image: its instances that count, and the score from which one counts."""

    name: str
    confidence: float
    instances: tuple[Found, ...]


@dataclass(frozen=True)
class Parity:
    """How far two forms of a model agree: over all `instances` of the samples the mean and least mask IoU and the
    largest difference in score, and a sentence for each instance without its like."""

    samples: str
    images: int
    instances: int
    mask_iou: float
    least_mask_iou: float
    score_difference: float
    bounds: ParityConfig
    differences: tuple[str, ...]

    @property
    def passed(self) -> bool:
        """Whether nothing differs by more than the bounds."""
        return not self.differences

    def as_json(self) -> dict[str, Any]:
        """JSON-ready."""
        data = dataclasses.asdict(dataclasses.replace(self, bounds=None))  # type: ignore[arg-type]
        return {"passed": self.passed, **data, "bounds": self.bounds.model_dump()}

    def sentence(self) -> str:
        """What was found, for people."""
        masks = f"mean mask IoU {self.mask_iou:.4f}, least {self.least_mask_iou:.3f}"
        what = f"{self.instances} instances in {self.images} images"
        if self.passed:
            return f"{what} agree ({masks}; scores to {self.score_difference:.4f})"
        return f"{what}: {len(self.differences)} differences ({masks}); {self.differences[0]}"


def find_samples(given: Path | None, checkpoint: Path | None, count: int) -> Samples:
    """Up to `count` images: of a file or folder that is given (a COCO file or data.yaml too), else of the test or valid
    split of the checkpoint's run, else drawn. They are spread evenly over the sorted names; large ones are thinned out.

    Raises:
        MissingInputError: what is given is not there, or holds no image.
        DataError: an image cannot be read.
    """
    if given is not None:
        if not given.exists():
            hint = "Give an image, a folder of images, a COCO .json or a YOLO data.yaml."
            raise MissingInputError(f"There are no samples {given}.", hint)
        return _read("given", *_given(given), count)
    if checkpoint is not None:
        for split in ("test", "valid"):
            folder = checkpoint.resolve().parent.parent / "dataset" / split
            # Either split may be empty.
            with contextlib.suppress(MissingInputError):
                return _read(f"{split} split", folder, discover(folder), count)
    return Samples("drawn", tuple((f"drawn-{at}.png", _draw(at)) for at in range(3)))


def _given(given: Path) -> tuple[Path, list[Path]]:
    """The image files that are given, and the folder that they are under."""
    if given.suffix.lower() in _ANNOTATIONS:
        files = [image.path for image in read_gold(given).images]
        return Path(os.path.commonpath([file.parent for file in files])) if files else given.parent, files
    return given, [given] if given.is_file() else discover(given)


def ask(reference: Artifact, samples: Samples, bounds: ParityConfig) -> list[Wanted]:
    """What a model says of the samples that counts: what it scores over `bounds.confidence`, or, where there is no such
    instance in any image, the best of each."""
    wanted = [
        Wanted(name, bounds.confidence, found_of(reference.predict_batch([image], bounds.confidence)[0]))
        for name, image in samples.images
    ]
    if any(one.instances for one in wanted):
        return wanted
    weak = []
    for name, image in samples.images:
        best = found_of(reference.predict_batch([image], 0.0)[0])[:_BEST]
        weak.append(Wanted(name, best[-1].score if best else 0.0, best))
    return weak


def compare(wanted: Sequence[Wanted], artifact: Artifact, samples: Samples, bounds: ParityConfig) -> Parity:
    """Holds a model against what another said of the same samples, in whole batches of the size that it is made for.

    Raises:
        DataError: there was nothing to compare.
    """
    differences: list[str] = []
    overlaps: list[float] = []
    scores: list[float] = []
    inexact: list[str] = []
    images = dict(samples.images)
    for batch in _batches(wanted, artifact.batch_size or 1):
        floor = max(min(one.confidence for one in batch) - bounds.score_difference, 0.0)
        answers = artifact.predict_batch([images[one.name] for one in batch], floor)
        for place, (one, answer) in enumerate(zip(batch, answers, strict=True), 1):
            pairs, missing, left = pair(one.instances, found_of(answer), bounds.score_difference)
            overlaps += [iou for *_, iou in pairs]
            scores += [abs(first.score - second.score) for first, second, _ in pairs]
            where = one.name if len(batch) == 1 else f"{one.name} in place {place} of a batch of {len(batch)}"
            say = _Saying(where, artifact.class_names)
            inexact += [say.inexact(first, iou) for first, _, iou in pairs if iou < bounds.mask_iou]
            differences += [say.missing(instance, left) for instance in missing]
            differences += [say.extra(f) for f in left if f.score > one.confidence + bounds.score_difference]
    if not overlaps and not differences:
        raise DataError("The model finds nothing at all in the samples, so nothing can be compared.")
    if overlaps and np.mean(overlaps) < bounds.mask_iou:
        differences += inexact
    return Parity(
        samples.origin,
        len(wanted),
        sum(len(one.instances) for one in wanted),
        float(np.mean(overlaps)) if overlaps else 0.0,
        min(overlaps, default=0.0),
        max(scores, default=0.0),
        bounds,
        tuple(differences),
    )


def _batches(wanted: Sequence[Wanted], size: int) -> list[list[Wanted]]:
    """All of them in batches that are full: a model may be wrong in one place of a batch alone, so each place gets an
    image with something in it, where there is one. Neighbours differ wherever there is more than one image."""
    telling = [one for one in wanted if one.instances] or list(wanted)
    queue = [*wanted, *islice(cycle(telling), -len(wanted) % size)]
    batches = [queue[start : start + size] for start in range(0, len(queue), size)]
    if any(not any(batch[place].instances for batch in batches) for place in range(size)):
        batches.append(list(islice(cycle(telling), size)))
    return batches


def found_of(detections: sv.Detections) -> tuple[Found, ...]:
    """Detections with masks as the runner has them, in the same order."""
    fields = (detections.class_id, detections.confidence, detections.xyxy, detections.mask)
    rows = zip(*(field for field in fields if field is not None), strict=True)
    return tuple(Found(int(class_id), float(score), box, mask) for class_id, score, box, mask in rows)


@dataclass(frozen=True)
class _Saying:
    name: str
    classes: Sequence[str]

    def missing(self, one: Found, left: Sequence[Found]) -> str:
        said = f"{self.name}: {self.classes[one.class_id]} with score {one.score:.3f} is missing"
        near = max(left, key=one.iou, default=None)
        if near is None:
            return said
        what = f"{self.classes[near.class_id]} with score {near.score:.3f} and mask IoU {one.iou(near):.3f}"
        return f"{said} (nearest: {what})"

    def inexact(self, one: Found, iou: float) -> str:
        return f"{self.name}: {self.classes[one.class_id]} with score {one.score:.3f} has mask IoU {iou:.3f}"

    def extra(self, one: Found) -> str:
        return f"{self.name}: {self.classes[one.class_id]} with score {one.score:.3f} is not expected"


def _read(origin: str, root: Path, paths: Sequence[Path], count: int) -> Samples:
    at = sorted({round(i) for i in np.linspace(0, len(paths) - 1, min(count, len(paths)))})
    images = []
    for path in (paths[i] for i in at):
        pixels = open_rgb(path)
        step = -(-max(pixels.shape) // _LONGEST_SIDE)
        name = path.name if root.is_file() else path.relative_to(root).as_posix()
        images.append((name, np.ascontiguousarray(pixels[::step, ::step])))
    return Samples(origin, tuple(images))


def _draw(seed: int) -> RgbImage:
    """Coloured discs and squares on noise, the same for the same seed."""
    random = np.random.default_rng(seed)
    height, width = (480, 640) if seed % 2 else (400, 400)
    image = random.integers(90, 130, (height, width, 3), dtype=np.uint8)
    rows, columns = np.mgrid[:height, :width]
    for number in range(6):
        y, x = random.integers(40, height - 40), random.integers(40, width - 40)
        down, across, size = abs(rows - y), abs(columns - x), random.integers(15, 40)
        inside = np.maximum(down, across) < size if number % 2 else down**2 + across**2 < size**2
        image[inside] = random.integers(0, 256, 3)
    return image
