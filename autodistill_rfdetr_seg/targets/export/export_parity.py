"""Compares an exported model with the model in torch: do both find the same instances, classes, scores and masks?"""

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

from ...core.artifact_config import ParityConfig
from ...core.compact_detections import from_detections
from ...core.config import MAX_MEGAPIXELS
from ...core.errors import DataError, MissingInputError
from ...images.image_discovery import discover
from ...images.image_opening import open_rgb
from ...images.rgb_image import RgbImage
from ...readers import read_gold
from ...runtime.instance_matching import mask_iou, match_instances
from ...runtime.output_decoding import Detection
from ...system.config_files import run_megapixels
from ...system.run_folder import RunFolder
from ..inference.model_artifacts import Artifact

if TYPE_CHECKING:
    pass

# How many of an image's best instances are compared where the model is sure of nothing.
_BEST = 5
# Pixels. Larger images are thinned out: the masks of every candidate in a large photo take gigabytes.
_LONGEST_SIDE = 1280
# Suffixes of files that list images.
_ANNOTATIONS = (".json", ".yaml", ".yml")


@dataclass(frozen=True)
class Samples:
    """Images (RGB HWC uint8) by name, and where they come from: `given`, `test split`, `valid split` or `drawn`."""

    origin: str
    images: tuple[tuple[str, RgbImage], ...]


@dataclass(frozen=True)
class ExpectedImage:
    """What torch finds in the image `name`: the `instances` that count, which score above `confidence`."""

    name: str
    confidence: float
    instances: tuple[Detection, ...]


@dataclass(frozen=True)
class Parity:
    """How far two forms of a model agree: over all `instances` of the samples the mean and least mask IoU and the
    largest difference in score, and a sentence for each instance without a match."""

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
        """The result in one sentence."""
        masks = f"mean mask IoU {self.mask_iou:.4f}, least {self.least_mask_iou:.3f}"
        what = f"{self.instances} instances in {self.images} images"
        if self.passed:
            return f"{what} agree ({masks}; scores to {self.score_difference:.4f})"
        return f"{what}: {len(self.differences)} differences ({masks}); {self.differences[0]}"


def find_samples(source: Path | None, checkpoint: Path | None, count: int) -> Samples:
    """Up to `count` images of a file or folder (a COCO file or data.yaml too), else of the test or valid split of the
    checkpoint's run, else drawn ones. They are spread evenly over the sorted names; large ones are thinned out.

    Raises:
        MissingInputError: `source` does not exist, or holds no image.
        DataError: an image cannot be read.
    """
    run = None if checkpoint is None else RunFolder.of_checkpoint(checkpoint)
    max_megapixels = MAX_MEGAPIXELS if run is None else run_megapixels(run)
    if source is not None:
        if not source.exists():
            hint = "Give an image, a folder of images, a COCO .json or a YOLO data.yaml."
            raise MissingInputError(f"There are no samples {source}.", hint)
        return _read("given", *_listed_images(source, max_megapixels), count, max_megapixels)
    if run is not None:
        for split in ("test", "valid"):
            folder = run.dataset / split
            # Either split may be empty.
            with contextlib.suppress(MissingInputError):
                return _read(f"{split} split", folder, discover(folder), count, max_megapixels)
    return Samples("drawn", tuple((f"drawn-{at}.png", _draw(at)) for at in range(3)))


def _listed_images(source: Path, max_megapixels: float) -> tuple[Path, list[Path]]:
    """The folder that the images of a file or folder are in, and the images."""
    if source.suffix.lower() in _ANNOTATIONS:
        files = [image.path for image in read_gold(source, max_megapixels=max_megapixels).images]
        return Path(os.path.commonpath([file.parent for file in files])) if files else source.parent, files
    return source, [source] if source.is_file() else discover(source)


def expected_images(reference: Artifact, samples: Samples, bounds: ParityConfig) -> list[ExpectedImage]:
    """The instances of each sample that the reference scores above `bounds.confidence`; the best of each sample where
    it scores none so high in any."""
    expected = [
        ExpectedImage(name, bounds.confidence, _predict_one(reference, image, bounds.confidence))
        for name, image in samples.images
    ]
    if any(one.instances for one in expected):
        return expected
    weak = []
    for name, image in samples.images:
        best = _predict_one(reference, image, 0.0)[:_BEST]
        weak.append(ExpectedImage(name, best[-1].score if best else 0.0, best))
    return weak


def _predict_one(model: Artifact, image: RgbImage, confidence: float) -> tuple[Detection, ...]:
    (found,) = model.predict_batch([image], confidence)
    return from_detections(found)


def compare(expected: Sequence[ExpectedImage], artifact: Artifact, samples: Samples, bounds: ParityConfig) -> Parity:
    """Compares what a model finds in the samples with what is expected, in full batches of its own size.

    Raises:
        DataError: neither finds anything, so there is nothing to compare.
    """
    differences: list[str] = []
    overlaps: list[float] = []
    scores: list[float] = []
    inexact: list[str] = []
    images = dict(samples.images)
    for batch in _batches(expected, artifact.batch_size or 1):
        floor = max(min(one.confidence for one in batch) - bounds.score_difference, 0.0)
        results = artifact.predict_batch([images[one.name] for one in batch], floor)
        for place, (one, found) in enumerate(zip(batch, results, strict=True), 1):
            pairs, missing, left = match_instances(one.instances, from_detections(found), bounds.score_difference)
            overlaps += [iou for *_, iou in pairs]
            scores += [abs(first.score - second.score) for first, second, _ in pairs]
            where = one.name if len(batch) == 1 else f"{one.name} in place {place} of a batch of {len(batch)}"
            text = _DifferenceText(where, artifact.class_names)
            inexact += [text.inexact(first, iou) for first, _, iou in pairs if iou < bounds.mask_iou]
            differences += [text.missing(instance, left) for instance in missing]
            differences += [text.extra(f) for f in left if f.score > one.confidence + bounds.score_difference]
    if not overlaps and not differences:
        raise DataError("The model finds nothing at all in the samples, so nothing can be compared.")
    if overlaps and np.mean(overlaps) < bounds.mask_iou:
        differences += inexact
    return Parity(
        samples.origin,
        len(expected),
        sum(len(one.instances) for one in expected),
        float(np.mean(overlaps)) if overlaps else 0.0,
        min(overlaps, default=0.0),
        max(scores, default=0.0),
        bounds,
        tuple(differences),
    )


def _batches(expected: Sequence[ExpectedImage], size: int) -> list[list[ExpectedImage]]:
    """All images in full batches. A model may be wrong in one place of a batch alone, so each place gets an image with
    instances, where there is one. Neighbors differ where there is more than one image."""
    with_instances = [one for one in expected if one.instances] or list(expected)
    queue = [*expected, *islice(cycle(with_instances), -len(expected) % size)]
    batches = [queue[start : start + size] for start in range(0, len(queue), size)]
    if any(not any(batch[place].instances for batch in batches) for place in range(size)):
        batches.append(list(islice(cycle(with_instances), size)))
    return batches


@dataclass(frozen=True)
class _DifferenceText:
    """Describes the differences in the image `name`."""

    name: str
    classes: Sequence[str]

    def missing(self, one: Detection, left: Sequence[Detection]) -> str:
        text = f"{self.name}: {self.classes[one.class_id]} with score {one.score:.3f} is missing"
        if not left:
            return text
        crop = one.compact_mask.crop()
        iou, at = max((mask_iou(crop, other.compact_mask.crop()), -at) for at, other in enumerate(left))
        near = left[-at]
        what = f"{self.classes[near.class_id]} with score {near.score:.3f} and mask IoU {iou:.3f}"
        return f"{text} (nearest: {what})"

    def inexact(self, one: Detection, iou: float) -> str:
        return f"{self.name}: {self.classes[one.class_id]} with score {one.score:.3f} has mask IoU {iou:.3f}"

    def extra(self, one: Detection) -> str:
        return f"{self.name}: {self.classes[one.class_id]} with score {one.score:.3f} is not expected"


def _read(origin: str, root: Path, paths: Sequence[Path], count: int, max_megapixels: float) -> Samples:
    at = sorted({round(i) for i in np.linspace(0, len(paths) - 1, min(count, len(paths)))})
    images = []
    for path in (paths[i] for i in at):
        pixels = open_rgb(path, max_megapixels=max_megapixels)
        step = -(-max(pixels.shape) // _LONGEST_SIDE)
        name = path.name if root.is_file() else path.relative_to(root).as_posix()
        images.append((name, np.ascontiguousarray(pixels[::step, ::step])))
    return Samples(origin, tuple(images))


def _draw(seed: int) -> RgbImage:
    """Colored discs and squares on noise, the same for the same seed."""
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
