"""`predict` and `predict_many` of a target, for one image, a list, a folder or a video."""

from __future__ import annotations

import os
import warnings
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Any, Literal, cast, overload

from ...core.config import DISPLAY_CONFIDENCE, check_confidence
from ...core.errors import UnknownNameError
from ...images.rgb_image import RgbImage
from .prediction_input import ImageInput, ImageWithMetadata, is_folder_or_video, read_image, read_images

if TYPE_CHECKING:
    import supervision as sv

_PREDICT_BATCH = 8


class ImagePredictor:
    """A model with `predict_batch`, which `predict` and `predict_many` call with images of any source."""

    def predict_batch(self, images: Sequence[RgbImage], confidence: float = DISPLAY_CONFIDENCE) -> list[sv.Detections]:
        """The instances of RGB HWC uint8 arrays of any sizes; a subclass finds them."""
        raise NotImplementedError

    @overload
    def predict(
        self,
        input: ImageInput,
        confidence: float = DISPLAY_CONFIDENCE,
        *,
        color: Literal["bgr", "rgb"] = "bgr",
        allow_url: bool = False,
    ) -> sv.Detections: ...

    @overload
    def predict(
        self,
        input: list[ImageInput] | tuple[ImageInput, ...],
        confidence: float = DISPLAY_CONFIDENCE,
        *,
        color: Literal["bgr", "rgb"] = "bgr",
        allow_url: bool = False,
    ) -> list[sv.Detections]: ...

    def predict(
        self,
        input: ImageInput | list[ImageInput] | tuple[ImageInput, ...],
        confidence: float = DISPLAY_CONFIDENCE,
        *,
        color: Literal["bgr", "rgb"] = "bgr",
        allow_url: bool = False,
    ) -> Any:
        """The instances of one image, or of each image of a list, scored above `confidence`, best first.

        `predict_many` takes folders and videos. `predict_images` and `predict_video` write files, and continue after
        an image that cannot be read.

        Args:
            input: a path (its EXIF orientation is applied), an HWC uint8 array, a PIL image (not turned), or a list or
                tuple of these. The path of a folder or video is deprecated: it gives what `predict_many` gives.
            confidence: 0..1; an instance must score above it.
            color: channel order of arrays: "bgr" as everywhere in autodistill, or "rgb".
            allow_url: fetch an input that is an http or https address; without it nothing is fetched.

        Returns:
            Detections with `mask` (N, H, W) bool at image size, `xyxy` (N, 4) pixels, `confidence` (N,), `class_id`
            (N,) 0-based and `data["class_name"]`. A list or tuple gives a list of them.

        Raises:
            UsageError: the input is not an image, or a URL where none is allowed, or `color` or `confidence` is wrong.
            MissingInputError: there is no such file.
            DataError: a file cannot be read as an image, or is too large.
        """
        self._check_prediction(confidence, color)
        if is_folder_or_video(input):
            warnings.warn(
                "predict() of a folder or a video is deprecated: use predict_many(), which gives the same.",
                DeprecationWarning,
                stacklevel=2,
            )
            return self.predict_many(cast("str", input), confidence)
        if not isinstance(input, list | tuple):
            return self.predict_batch([read_image(input, color, allow_url)], confidence)[0]
        found: list[sv.Detections] = []
        for start in range(0, len(input), _PREDICT_BATCH):
            images = [read_image(one, color, allow_url) for one in input[start : start + _PREDICT_BATCH]]
            found += self.predict_batch(images, confidence)
        return found

    def predict_many(
        self,
        source: str | os.PathLike[str] | Iterable[ImageInput],
        confidence: float = DISPLAY_CONFIDENCE,
        *,
        color: Literal["bgr", "rgb"] = "bgr",
        allow_url: bool = False,
    ) -> Iterator[sv.Detections]:
        """The instances of image after image; each is read and predicted when the iterator comes to it.

        So the memory holds one image and its masks, however many there are.

        Args:
            source: a folder (with its subfolders, by name), a video, or an iterable of what `predict` takes as an
                image, such as `Path("photos").glob("*.jpg")`; the path of one image is an iterable of one.
            confidence: as for `predict`.
            color: as for `predict`.
            allow_url: as for `predict`.

        Returns:
            An iterator of detections as `predict` gives them. `metadata["image"]` is the path of each image that has
            one; frames have `metadata["frame"]`, from 0, and `metadata["seconds"]`, since the first frame.

        Raises:
            UsageError: the source is one array or PIL image, or `color` or `confidence` is wrong.
            MissingInputError: there is no such source, or no image in the folder.
            DataError: the video cannot be read; an image cannot, when the iterator comes to it.
            DependencyError: PyAV, for a video, is not installed.
        """
        self._check_prediction(confidence, color)
        return self._predict_each(read_images(source, color, allow_url), confidence)

    def _predict_each(
        self, images: Generator[ImageWithMetadata, None, None], confidence: float
    ) -> Iterator[sv.Detections]:
        with closing(images):
            for pixels, metadata in images:
                (found,) = self.predict_batch([pixels], confidence)
                found.metadata |= metadata
                yield found

    @staticmethod
    def _check_prediction(confidence: float, color: str) -> None:
        if color not in ("bgr", "rgb"):
            raise UnknownNameError("color", str(color), ("bgr", "rgb"))
        check_confidence(confidence)
