"""One interface to every autodistill base: an RGB image in, scored instances out.

Known defects of bases are corrected or refused in one place, here and in `detection_instances`: `None` or empty
detections, no scores, `class_id` of None or beyond the ontology, masks of the wrong size, boxes without masks.
"""

from __future__ import annotations

import dataclasses
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import numpy as np
import numpy.typing as npt

from ..core.errors import AutodistillSegError, BaseModelError, UsageError
from ..core.types import ImageRecord, Instance
from ..images.rgb_image import RgbImage, write_png
from ..runtime.tile_joining import Window
from .contract import Boxes, ImageInput, Masks, answers_by_image
from .detection_instances import instances_from_detections
from .stability import ask_again
from .tiling import ask_in_tiles

# Images in a batch for a base that takes batches and has no `preferred_batch`.
DEFAULT_BATCH = 8

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Answer:
    """A base's answer for one image: instances whose `class_index` is the index of their prompt, the number of dropped
    detections by reason, and the seconds that the base took."""

    instances: tuple[Instance, ...]
    dropped: Mapping[str, int]
    seconds: float


PendingAnswer = Callable[[], Answer]


class BaseAdapter:
    """Runs `model` (any `DetectionBaseModel`) on images; its answers have one form.

    `classes` has the class of each prompt, as for `same_class`: detections of one object in several tiles or views
    belong together if their prompts find the same class.

    Raises:
        UsageError: the base has `for_images` (see `contract`), and tiles or stability are asked for.
    """

    def __init__(
        self,
        model: Any,
        prompts: int,
        image_input: ImageInput = "bgr",
        tiles: int | None = None,
        overlap: float = 0.0,
        *,
        stability: bool = False,
        classes: Sequence[int] = (),
    ) -> None:
        if answers_by_image(model):
            refuse_parts(tiles, stability)
        self.model = model
        self.prompts = prompts
        self.image_input = image_input
        self.tiles = tiles
        self.overlap = overlap
        self.stability = stability
        self.classes = classes

    def batch_size(self, wanted: int | None) -> int:
        """How many images to pass at a time: `wanted`, or what the base prefers; 1 if it takes no batches."""
        batches = self.image_input != "path" and callable(getattr(self.model, "predict_batch", None))
        if self.tiles is not None or not batches:
            return 1
        return wanted or int(getattr(self.model, "preferred_batch", DEFAULT_BATCH))

    def ask(self, pixels: RgbImage) -> Answer:
        """The instances in one image, HWC uint8 RGB, orientation applied.

        Raises:
            BaseModelError: the base failed, or its answer cannot be used; the message says why.
        """
        return self.start([pixels])[0]()

    def start(self, images: Sequence[RgbImage], records: Sequence[ImageRecord] = ()) -> list[PendingAnswer]:
        """Runs the base on a batch. Calling an image's `PendingAnswer` does the rest, which does not need the base.

        The rest is encoding masks, which may run in another thread. A `PendingAnswer` raises BaseModelError as `ask`
        does. If the base fails on a batch, its images are passed one by one, so that one bad image affects no other.
        A base with `for_images` needs the `records` of the images.

        With `stability` the base is run again here (see `stability.py`) on views of whole images, in tiles if tiles
        are set; boxes are moved only without tiles, because `segment` takes an image of the base's own size.
        """
        pending = self._start(images, records)
        if not self.stability:
            return pending
        # Encoded before the next view, so that only the masks of one view are dense at a time.
        pending = [_completed(one) for one in pending]
        segment = None
        if self.tiles is None and callable(getattr(self.model, "segment", None)):
            segment = self._segment
        judged = ask_again(
            images, [_instances_or_none(one) or () for one in pending], self._instances_of_images, segment, self.classes
        )
        return [partial(_with_instances, one, instances) for one, instances in zip(pending, judged, strict=True)]

    def _instances_of_images(self, images: Sequence[RgbImage]) -> list[Sequence[Instance] | None]:
        return [_instances_or_none(one) for one in self._start(images, ())]

    def _segment(self, pixels: RgbImage, boxes_xyxy: Boxes) -> Masks:
        masks_: Masks = self._timed(partial(self.model.segment, self._bgr(pixels), boxes_xyxy))[0]
        return masks_

    def _start(self, images: Sequence[RgbImage], records: Sequence[ImageRecord]) -> list[PendingAnswer]:
        """As `start`, without stability."""
        if self.tiles is not None:
            return [_completed(partial(self._ask_in_tiles, pixels, self.tiles)) for pixels in images]
        if len(images) > 1 and (batch := self._ask_batch(images, records)) is not None:
            return batch
        return [self._ask_one(pixels, records[at : at + 1]) for at, pixels in enumerate(images)]

    def _ask_in_tiles(self, pixels: RgbImage, tile: int) -> Answer:
        dropped: Counter[str] = Counter()
        height, width = pixels.shape[:2]
        predict, spent = self._timed(partial(self._parts, pixels, tile))

        def ask(window: Window) -> list[Instance]:
            nonlocal spent
            detections, seconds = self._timed(partial(predict, window))
            spent += seconds
            shape = (window.bottom - window.top, window.right - window.left)
            return instances_from_detections(detections, shape, self.prompts, dropped)

        instances = ask_in_tiles(ask, height, width, tile, self.overlap, self.classes)
        return Answer(tuple(instances), dict(dropped), spent)

    def _parts(self, pixels: RgbImage, tile: int) -> Callable[[Window], Any]:
        """A function that gives the base's detections in a part of an image."""
        within_image = getattr(self.model, "within_image", None)
        if within_image is not None and max(pixels.shape[:2]) > tile:
            return self._call(pixels, within_image).predict  # type: ignore[no-any-return]
        return lambda w: self._call(pixels[w.top : w.bottom, w.left : w.right], self.model.predict)

    def _model_for(self, records: Sequence[ImageRecord]) -> Any:
        """The base, or what its `for_images` gives for these records."""
        if not answers_by_image(self.model):
            return self.model
        if not records:
            raise UsageError(
                "This base needs the names of its images, and got an image without one.", "Use it in `label`."
            )
        return self.model.for_images(records)

    def _ask_batch(self, images: Sequence[RgbImage], records: Sequence[ImageRecord]) -> list[PendingAnswer] | None:
        def ask() -> Any:
            return self._model_for(records).predict_batch([self._input(image) for image in images])

        try:
            found, seconds = self._timed(ask)
        except AutodistillSegError:
            return None
        if len(found) != len(images):
            return None
        return [
            partial(self._to_answer, detections, image.shape, seconds / len(images))
            for detections, image in zip(found, images, strict=True)
        ]

    def _ask_one(self, pixels: RgbImage, records: Sequence[ImageRecord]) -> PendingAnswer:
        try:
            detections, seconds = self._timed(lambda: self._call(pixels, self._model_for(records).predict))
        except AutodistillSegError as error:
            return partial(_raise, error)
        return partial(self._to_answer, detections, pixels.shape, seconds)

    def _to_answer(self, detections: Any, shape: tuple[int, ...], seconds: float) -> Answer:
        dropped: Counter[str] = Counter()
        return Answer(
            tuple(instances_from_detections(detections, shape[:2], self.prompts, dropped)), dict(dropped), seconds
        )

    def _timed(self, ask: Callable[[], _T]) -> tuple[_T, float]:
        """The base's answer and the seconds it took; an exception of the base is raised as BaseModelError."""
        started = time.perf_counter()
        try:
            found = ask()
        except AutodistillSegError:
            raise
        except Exception as error:
            raise BaseModelError(f"The base failed: {type(error).__name__}: {error}.") from error
        return found, time.perf_counter() - started

    def _call(self, pixels: RgbImage, call: Callable[[Any], Any]) -> Any:
        """The result of `call` for an image in the form that the base takes."""
        if self.image_input == "path":
            # Not the user's file: the base might ignore its orientation, and the masks would not fit our pixels.
            with tempfile.TemporaryDirectory(prefix="autodistill-seg-") as folder:
                path = Path(folder, "image.png")
                write_png(path, pixels)
                return call(str(path))
        return call(self._input(pixels))

    def _input(self, pixels: RgbImage) -> Any:
        if self.image_input == "pil":
            from PIL import Image

            return Image.fromarray(pixels)
        return self._bgr(pixels)

    @staticmethod
    def _bgr(pixels: RgbImage) -> npt.NDArray[np.uint8]:
        import cv2

        return np.asarray(cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR), dtype=np.uint8)


def refuse_parts(tiles: int | None, stability: bool) -> None:
    """Refuses tiles and stability for a base with `for_images`: it would give the answer for the whole image.

    Raises:
        UsageError: one of them is asked for.
    """
    for wanted, option in ((tiles is not None, "--tiles"), (stability, "--stability")):
        if wanted:
            raise UsageError(
                "This base knows whole images only: it cannot be run on tiles or changed views.",
                f"Leave out {option}.",
            )


def _completed(ask: Callable[[], Answer]) -> PendingAnswer:
    """The answer of a call that is made now."""
    try:
        answer = ask()
    except AutodistillSegError as error:
        return partial(_raise, error)
    return lambda: answer


def _raise(error: AutodistillSegError) -> NoReturn:
    raise error


def _instances_or_none(pending: PendingAnswer) -> Sequence[Instance] | None:
    """The instances of an answer; None if the base failed."""
    try:
        return pending().instances
    except AutodistillSegError:
        return None


def _with_instances(pending: PendingAnswer, instances: tuple[Instance, ...]) -> Answer:
    return dataclasses.replace(pending(), instances=instances)
