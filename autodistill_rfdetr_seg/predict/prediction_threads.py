"""Predicts images one after the other: threads decode them ahead of the model, and draw and write behind it."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..bases.detection_instances import instances_from_detections
from ..core.errors import AutodistillSegError, RemoteError
from ..core.types import Classes, ImageRecord, Instance
from ..drawing.overlays import draw_instances
from ..images.image_opening import OpenedImage, open_image
from ..images.rgb_image import write_png
from ..runtime.prediction_rules import PredictionRules
from ..system.read_ahead import work_ahead
from ..targets.inference.ruled_prediction import predict_with_rules

if TYPE_CHECKING:
    import supervision as sv

# Decoded images that wait for the model, and answers that wait to be written.
_AHEAD, _BEHIND = 4, 2


@dataclass(frozen=True)
class FoundInstances:
    """What a model found in an image; it can be pickled.

    `file_bytes` and `mtime_ns` are those of the image's file. `picture` is a PNG file of the image with the instances,
    None where none is wanted. `counts` are those of the prediction: instances removed as a "duplicate", and 1 "tiled
    image" where it was predicted in tiles.
    """

    record: ImageRecord
    file_bytes: int
    mtime_ns: int
    instances: Sequence[Instance]
    picture: bytes | None = None
    counts: Mapping[str, int] = field(default_factory=dict)


# The name of an image, with what was found or the reason why not.
Answer = tuple[str, FoundInstances | AutodistillSegError]


@dataclass(frozen=True)
class ImagePrediction:
    """How images are predicted: `pictures` says whether they are drawn, larger ones than `max_megapixels` fail."""

    classes: Classes
    rules: PredictionRules
    max_megapixels: float
    pictures: bool

    def predict_each(
        self,
        model: Any,
        images: Sequence[tuple[Path, str]],
        record: Callable[[FoundInstances], None] | None = None,
    ) -> Generator[Answer, None, None]:
        """The answer for each image (path, name), in order; `record` is called with each result in another thread.

        Every result of the model is recorded, even after an interruption.

        Raises:
            RemoteError: a server fails on the first image.
        """
        behind: deque[tuple[str, Future[FoundInstances]]] = deque()
        any_result = False
        opened = work_ahead(images, lambda image: open_image(*image, max_megapixels=self.max_megapixels), _AHEAD)
        with ThreadPoolExecutor(1, thread_name_prefix="write") as writer, closing(opened):
            for (_, name), future in opened:
                counts: Counter[str] = Counter()
                try:
                    image = future.result()
                    found = self._predict(model, image, counts)
                    any_result = True
                except AutodistillSegError as error:
                    # A server that fails on the first image is not tried with the rest.
                    if isinstance(error, RemoteError) and not any_result:
                        raise
                    yield from _take_written(behind, 0)
                    yield name, error
                    continue
                behind.append((name, writer.submit(self._finish, image, found, counts, record)))
                yield from _take_written(behind, _BEHIND)
            yield from _take_written(behind, 0)

    def _predict(self, model: Any, image: OpenedImage, counts: Counter[str]) -> sv.Detections:
        rules = self.rules
        try:
            # torch warns of arrays that cannot be written to.
            found = predict_with_rules(model, [image.pixels.copy()], rules, counts)
            counts["tiled image"] += rules.tile is not None and max(image.pixels.shape) > rules.tile
        except AutodistillSegError:
            raise
        except Exception as error:
            # Such as a device without enough memory for an image of this size.
            text = " ".join(str(error).split())
            message = f"The model failed on {image.record.path}: {type(error).__name__}: {text}"
            raise AutodistillSegError(message) from error
        return found[0]

    def _finish(
        self,
        image: OpenedImage,
        detections: sv.Detections,
        counts: Counter[str],
        record: Callable[[FoundInstances], None] | None,
    ) -> FoundInstances:
        instances = instances_from_detections(detections, image.pixels.shape[:2], len(self.classes.names), Counter())
        picture = _png(image, instances, self.classes) if self.pictures else None
        found = FoundInstances(image.record, image.file_bytes, image.mtime_ns, instances, picture, dict(counts))
        if record is not None:
            record(found)
        return found


def _png(image: OpenedImage, instances: Sequence[Instance], classes: Classes) -> bytes:
    file = BytesIO()
    write_png(file, draw_instances(image.pixels, instances, classes))
    return file.getvalue()


def _take_written(behind: deque[tuple[str, Future[FoundInstances]]], left: int) -> Iterator[Answer]:
    while len(behind) > left:
        name, future = behind.popleft()
        try:
            yield name, future.result()
        except AutodistillSegError as error:
            yield name, error
