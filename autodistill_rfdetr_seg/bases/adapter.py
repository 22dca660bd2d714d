"""The seam between any autodistill base and this package: an RGB image in, scored instances out.

What bases of the ecosystem do that a script would trip over is put right or refused here, in one place: `None` or empty
detections, no scores, `class_id` of None or beyond the ontology, masks of the wrong size, boxes without masks.
"""

from __future__ import annotations

import dataclasses
import math
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

from ..core import masks
from ..core.errors import AutodistillSegError, BaseModelError, UsageError
from ..core.types import ImageRecord, Instance
from ..images.rgb_image import RgbImage, write_png
from .contract import Boxes, ImageInput, Masks, answers_by_image
from .registry import BASES
from .segmenters.segmenter_registry import SEGMENTERS
from .stability import ask_again
from .tiling import Window, ask_in_tiles

# Images a batch for a base that takes batches and does not say how many it prefers.
DEFAULT_BATCH = 8

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Answer:
    """What a base said of one image: instances whose `class_index` is the index of their prompt, the number of
    detections dropped by reason, and the base's own seconds."""

    instances: tuple[Instance, ...]
    dropped: Mapping[str, int]
    seconds: float


Pending = Callable[[], Answer]


class BaseAdapter:
    """Asks `model` (any `DetectionBaseModel`) about images, and brings its answers into one form.

    `classes` (one a prompt) tells which prompts find one class, as `same_class` has it: what tiles and further
    questions show of an object belongs together, whichever of them found it.

    Raises:
        UsageError: the base answers by image (`contract`, `for_images`), and is to be asked in tiles or for stability.
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
        """How many images at a time to ask about: `wanted`, or what the base prefers; 1 where it takes no batches."""
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

    def start(self, images: Sequence[RgbImage], records: Sequence[ImageRecord] = ()) -> list[Pending]:
        """Asks about a batch; what each image's `Pending` does when called is left to do without the base.

        That is encoding masks, safe in another thread. A `Pending` raises BaseModelError as `ask` does. A batch that
        the base fails on is asked again one by one, so that one image costs no other. `records` are the images' own,
        without which a base that answers by image fails.

        With `stability` the base is asked again here (see `stability.py`), of whole images, each in tiles where that
        is how they are asked; moved boxes only where there are no tiles, as those want an image of the base's size.
        """
        pending = self._started(images, records)
        if not self.stability:
            return pending
        # Encoded before the next question, so that the masks of one question at a time are dense.
        pending = [_now(one) for one in pending]
        segment = None
        if self.tiles is None and callable(getattr(self.model, "segment", None)):
            segment = self._segment
        judged = ask_again(images, [_said(one) or () for one in pending], self._said_of, segment, self.classes)
        return [partial(_judged, one, instances) for one, instances in zip(pending, judged, strict=True)]

    def _said_of(self, images: Sequence[RgbImage]) -> list[Sequence[Instance] | None]:
        return [_said(one) for one in self._started(images, ())]

    def _segment(self, pixels: RgbImage, boxes_xyxy: Boxes) -> Masks:
        masks_: Masks = self._timed(partial(self.model.segment, self._bgr(pixels), boxes_xyxy))[0]
        return masks_

    def _started(self, images: Sequence[RgbImage], records: Sequence[ImageRecord]) -> list[Pending]:
        """As `start`, without asking again."""
        if self.tiles is not None:
            return [_now(partial(self._ask_in_tiles, pixels, self.tiles)) for pixels in images]
        if len(images) > 1 and (batch := self._batch(images, records)) is not None:
            return batch
        return [self._one(pixels, records[at : at + 1]) for at, pixels in enumerate(images)]

    def _ask_in_tiles(self, pixels: RgbImage, tile: int) -> Answer:
        dropped: Counter[str] = Counter()
        height, width = pixels.shape[:2]
        predict, spent = self._timed(partial(self._parts, pixels, tile))

        def ask(window: Window) -> list[Instance]:
            nonlocal spent
            detections, seconds = self._timed(partial(predict, window))
            spent += seconds
            shape = (window.bottom - window.top, window.right - window.left)
            return instances_of(detections, shape, self.prompts, dropped)

        instances = ask_in_tiles(ask, height, width, tile, self.overlap, self.classes)
        return Answer(tuple(instances), dict(dropped), spent)

    def _parts(self, pixels: RgbImage, tile: int) -> Callable[[Window], Any]:
        """What gives the base's detections in a part of an image."""
        within_image = getattr(self.model, "within_image", None)
        if within_image is not None and max(pixels.shape[:2]) > tile:
            return self._given(pixels, within_image).predict  # type: ignore[no-any-return]
        return lambda w: self._given(pixels[w.top : w.bottom, w.left : w.right], self.model.predict)

    def _about(self, records: Sequence[ImageRecord]) -> Any:
        """What answers about the images of these records: the base, unless it answers by image."""
        if not answers_by_image(self.model):
            return self.model
        if not records:
            raise UsageError("This base knows images by their names, and was shown one without.", "Use it in `label`.")
        return self.model.for_images(records)

    def _batch(self, images: Sequence[RgbImage], records: Sequence[ImageRecord]) -> list[Pending] | None:
        def ask() -> Any:
            return self._about(records).predict_batch([self._input(image) for image in images])

        try:
            found, seconds = self._timed(ask)
        except AutodistillSegError:
            return None
        if len(found) != len(images):
            return None
        return [
            partial(self._answer, detections, image.shape, seconds / len(images))
            for detections, image in zip(found, images, strict=True)
        ]

    def _one(self, pixels: RgbImage, records: Sequence[ImageRecord]) -> Pending:
        try:
            detections, seconds = self._timed(lambda: self._given(pixels, self._about(records).predict))
        except AutodistillSegError as error:
            return partial(_raise, error)
        return partial(self._answer, detections, pixels.shape, seconds)

    def _answer(self, detections: Any, shape: tuple[int, ...], seconds: float) -> Answer:
        dropped: Counter[str] = Counter()
        return Answer(tuple(instances_of(detections, shape[:2], self.prompts, dropped)), dict(dropped), seconds)

    def _timed(self, ask: Callable[[], _T]) -> tuple[_T, float]:
        """The base's answer and its seconds; what it raises comes as one of our errors."""
        started = time.perf_counter()
        try:
            found = ask()
        except AutodistillSegError:
            raise
        except Exception as error:
            raise BaseModelError(f"The base failed: {type(error).__name__}: {error}.") from error
        return found, time.perf_counter() - started

    def _given(self, pixels: RgbImage, call: Callable[[Any], Any]) -> Any:
        """What `call` says of an image in the form that the base takes."""
        if self.image_input == "path":
            # Not the user's file: the base would read it unrotated, and masks would lie on other pixels than ours.
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
    """Refuses tiles and further questions, for a base that answers by image: it would give the whole image's answer.

    Raises:
        UsageError: one of them is asked for.
    """
    for wanted, option in ((tiles is not None, "--tiles"), (stability, "--stability")):
        if wanted:
            raise UsageError(
                "This base answers about whole images that it knows, neither about parts nor changed ones.",
                f"Leave out {option}.",
            )


def _now(ask: Callable[[], Answer]) -> Pending:
    """An answer that is complete at once."""
    try:
        answer = ask()
    except AutodistillSegError as error:
        return partial(_raise, error)
    return lambda: answer


def _raise(error: AutodistillSegError) -> NoReturn:
    raise error


def _said(pending: Pending) -> Sequence[Instance] | None:
    """The instances of an answer; None where the base failed."""
    try:
        return pending().instances
    except AutodistillSegError:
        return None


def _judged(pending: Pending, instances: tuple[Instance, ...]) -> Answer:
    return dataclasses.replace(pending(), instances=instances)


def instances_of(detections: Any, shape: tuple[int, ...], prompts: int, dropped: Counter[str]) -> list[Instance]:
    """The usable instances of an `sv.Detections` (or None); what is not is counted in `dropped` (reason → number).

    Raises:
        BaseModelError: as `usable`.
    """
    return [instance for _, instance in usable(detections, shape, prompts, dropped)]


def usable(detections: Any, shape: tuple[int, ...], prompts: int, dropped: Counter[str]) -> list[tuple[int, Instance]]:
    """As `instances_of`, each with its place in the detections.

    Raises:
        BaseModelError: it has boxes without masks, or masks that do not have the image's height and width.
    """
    if detections is None:
        return []
    dropped.update(detections.metadata.get("dropped", {}))
    count = len(detections)
    if count == 0:
        return []
    found = _masks(detections, count, shape)
    scores = _scores(detections, count)
    mask_scores, stability = (_extra(detections, name, count) for name in ("mask_score", "stability"))
    class_ids = [None] * count if detections.class_id is None else list(detections.class_id)
    instances: list[tuple[int, Instance]] = []
    for at in range(count):
        prompt = _prompt_index(class_ids[at], prompts)
        mask = np.asarray(found[at])
        if prompt is None:
            dropped["unknown_class"] += 1
        elif scores[at] is None:
            dropped["no_finite_score"] += 1
        elif not masks.area(rle := masks.encode(mask)):
            dropped["empty_mask"] += 1
        else:
            score = float(scores[at])  # type: ignore[arg-type]
            found_here = Instance(prompt, rle, score, mask_scores[at], prompt, stability=stability[at])
            instances.append((at, found_here))
    return instances


def _masks(detections: Any, count: int, shape: tuple[int, ...]) -> npt.NDArray[Any]:
    found = detections.mask
    # GroundedSAM answers "no mask" with an array of shape (0,), which is as good as None.
    if found is None or len(found) == 0:
        raise BaseModelError(
            f"The base gives boxes without masks ({count} on this image).",
            f"Add --segmenter {' or '.join(sorted(SEGMENTERS))}, or take a base with masks: "
            f"{', '.join(name for name, entry in BASES.working().items() if entry.masks)}.",
        )
    if len(found) != count:
        raise BaseModelError(f"The base gives {len(found)} masks for {count} boxes.")
    if tuple(found.shape[1:]) != tuple(shape):
        raise BaseModelError(
            f"The base gives masks of {'x'.join(map(str, found.shape[1:]))} (height x width) for an image of "
            f"{shape[0]}x{shape[1]}.",
            "A base must answer in the pixels of the image it was given.",
        )
    return found  # type: ignore[no-any-return]


def _scores(detections: Any, count: int) -> list[float | None]:
    """Each score within 0..1; 1 where the base gives none at all, None where one is not a finite number."""
    return [1.0] * count if detections.confidence is None else _shares(detections.confidence)


def _extra(detections: Any, name: str, count: int) -> list[float | None]:
    """A further score that a base keeps in its detections' `data`; None where there is none."""
    values = detections.data.get(name)
    return [None] * count if values is None or len(values) != count else _shares(values)


def _shares(values: Any) -> list[float | None]:
    return [min(max(float(value), 0.0), 1.0) if math.isfinite(value) else None for value in values]


def _prompt_index(class_id: Any, prompts: int) -> int | None:
    if class_id is None or not (0 <= class_id < prompts):
        return None
    return int(class_id)
