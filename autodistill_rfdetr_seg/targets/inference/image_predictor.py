"""`predict` and `predict_many` of a target, for one image, a list, a folder or a video."""

from __future__ import annotations

import os
import warnings
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Any, Literal, cast, overload

from ...core.config import DISPLAY_CONFIDENCE
from ...core.errors import UnknownNameError
from ...images.rgb_image import RgbImage
from ...runtime.prediction_rules import PredictionRules
from .class_confidence import Confidence
from .prediction_input import ImageInput, ImageWithMetadata, is_folder_or_video, read_image, read_images
from .ruled_prediction import predict_with_rules, prediction_rules

if TYPE_CHECKING:
    import supervision as sv

_PREDICT_BATCH = 8


class ImagePredictor:
    """A model with `class_names` and `predict_batch`, for which `predict` and `predict_many` read images of any source.

    `predict_batch` gives all that the model finds; `predict` and `predict_many` remove duplicates.
    """

    @property
    def class_names(self) -> tuple[str, ...]:
        """The classes, in the order of `class_id`; a subclass has them."""
        raise NotImplementedError

    def predict_batch(self, images: Sequence[RgbImage], confidence: float = DISPLAY_CONFIDENCE) -> list[sv.Detections]:
        """The instances of RGB HWC uint8 arrays of any sizes; a subclass finds them."""
        raise NotImplementedError

    @overload
    def predict(
        self,
        input: ImageInput,
        confidence: Confidence = DISPLAY_CONFIDENCE,
        *,
        color: Literal["bgr", "rgb"] = "bgr",
        allow_url: bool = False,
        **options: Any,
    ) -> sv.Detections: ...

    @overload
    def predict(
        self,
        input: list[ImageInput] | tuple[ImageInput, ...],
        confidence: Confidence = DISPLAY_CONFIDENCE,
        *,
        color: Literal["bgr", "rgb"] = "bgr",
        allow_url: bool = False,
        **options: Any,
    ) -> list[sv.Detections]: ...

    def predict(
        self,
        input: ImageInput | list[ImageInput] | tuple[ImageInput, ...],
        confidence: Confidence = DISPLAY_CONFIDENCE,
        *,
        color: Literal["bgr", "rgb"] = "bgr",
        allow_url: bool = False,
        **options: Any,
    ) -> Any:
        """The instances of one image, or of each image of a list, scored above `confidence`, best first.

        `predict_many` takes folders and videos. `predict_images` and `predict_video` write files, and continue after
        an image that cannot be read.

        Args:
            input: a path (its EXIF orientation is applied), an HWC uint8 array, a PIL image (not turned), or a list or
                tuple of these. The path of a folder or video is deprecated: it gives what `predict_many` gives.
            confidence: 0..1, an instance must score above it; or a value for each of some classes by name; or "best",
                the value of each class with the best F1 in the last evaluation of the model.
            color: channel order of arrays: "bgr" as everywhere in autodistill, or "rgb".
            allow_url: fetch an input that is an http or https address; without it nothing is fetched.
            options: of `PredictConfig`: `tiles` and `overlap` for small objects in large images; `nms_iou`, `nms_iom`
                and `agnostic_nms_iou`, over which an instance is a duplicate of a better one and removed.

        Returns:
            Detections with `mask` (N, H, W) bool at image size, computed when it is first read, `xyxy` (N, 4) pixels,
            `confidence` (N,), `class_id` (N,) 0-based and `data["class_name"]`. A list or tuple gives a list of them.

        Raises:
            UsageError: the input is not an image, or a URL where none is allowed, or an option is wrong; with "best",
                the model has not been evaluated.
            MissingInputError: there is no such file.
            DataError: a file cannot be read as an image, or is too large.
        """
        _check_color(color)
        if is_folder_or_video(input):
            warnings.warn(
                "predict() of a folder or a video is deprecated: use predict_many(), which gives the same.",
                DeprecationWarning,
                stacklevel=2,
            )
            return self.predict_many(cast("str", input), confidence, **options)
        rules = prediction_rules(self, confidence, options)
        if not isinstance(input, list | tuple):
            return predict_with_rules(self, [read_image(input, color, allow_url)], rules)[0]
        found: list[sv.Detections] = []
        for start in range(0, len(input), _PREDICT_BATCH):
            images = [read_image(one, color, allow_url) for one in input[start : start + _PREDICT_BATCH]]
            found += predict_with_rules(self, images, rules)
        return found

    def predict_many(
        self,
        source: str | os.PathLike[str] | Iterable[ImageInput],
        confidence: Confidence = DISPLAY_CONFIDENCE,
        *,
        color: Literal["bgr", "rgb"] = "bgr",
        allow_url: bool = False,
        **options: Any,
    ) -> Iterator[sv.Detections]:
        """The instances of image after image; each is read and predicted when the iterator comes to it.

        So the memory holds one image and its masks, however many there are.

        Args:
            source: a folder (with its subfolders, by name), a video, or an iterable of what `predict` takes as an
                image, such as `Path("photos").glob("*.jpg")`; the path of one image is an iterable of one.
            confidence: as for `predict`.
            color: as for `predict`.
            allow_url: as for `predict`.
            options: as for `predict`.

        Returns:
            An iterator of detections as `predict` gives them. `metadata["image"]` is the path of each image that has
            one; frames have `metadata["frame"]`, from 0, and `metadata["seconds"]`, since the first frame.

        Raises:
            UsageError: the source is one array or PIL image, or `color` or `confidence` is wrong.
            MissingInputError: there is no such source, or no image in the folder.
            DataError: the video cannot be read; an image cannot, when the iterator comes to it.
            DependencyError: PyAV, for a video, is not installed.
        """
        _check_color(color)
        rules = prediction_rules(self, confidence, options)
        return self._predict_each(read_images(source, color, allow_url), rules)

    def _predict_each(
        self, images: Generator[ImageWithMetadata, None, None], rules: PredictionRules
    ) -> Iterator[sv.Detections]:
        with closing(images):
            for pixels, metadata in images:
                (found,) = predict_with_rules(self, [pixels], rules)
                found.metadata |= metadata
                yield found


def _check_color(color: str) -> None:
    if color not in ("bgr", "rgb"):
        raise UnknownNameError("color", str(color), ("bgr", "rgb"))
