"""Reads what `predict` and `predict_many` are given: paths, addresses, arrays and PIL images; folders and videos."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterable
from contextlib import closing
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt

from ...core.errors import DataError, MissingInputError, UsageError
from ...images.frame_files import VIDEO_SUFFIXES
from ...images.image_decoding import decode, rgb_of
from ...images.image_discovery import discover
from ...images.image_opening import open_rgb
from ...images.rgb_image import RgbImage
from ...images.video_frames import Frame, frames
from ...system.downloads import fetch, is_url

if TYPE_CHECKING:
    from PIL import Image

ImageInput: TypeAlias = "str | os.PathLike[str] | npt.NDArray[np.uint8] | Image.Image"
# An image, and what is known of it: `image` (a path), or `frame` and `seconds`; nothing of an array.
ImageWithMetadata: TypeAlias = "tuple[RgbImage, dict[str, Any]]"


def is_folder_or_video(source: object) -> bool:
    """Whether it is the path of a folder or a video that exists."""
    return isinstance(source, str | os.PathLike) and (Path(source).is_dir() or _is_video(Path(source)))


def read_images(
    source: str | os.PathLike[str] | Iterable[ImageInput], color: str, allow_url: bool
) -> Generator[ImageWithMetadata, None, None]:
    """The images of a folder (with its subfolders, by name), the frames of a video, or each image of an iterable; of
    the path or URL of one image that image. Each is read when the iterator comes to it.

    Raises:
        UsageError: it is one array or PIL image, or not iterable; an item is no image, when the iterator comes to it.
        MissingInputError: there is no such path, or no image in the folder.
        DataError: the video cannot be read; an image cannot, when the iterator comes to it.
        DependencyError: PyAV, for a video, is not installed.
    """
    from PIL import Image

    if isinstance(source, np.ndarray | Image.Image) or not isinstance(source, str | os.PathLike | Iterable):
        raise UsageError(
            f"The source must be a folder, a video or several images, not {type(source).__name__}.",
            "Give one image to predict().",
        )
    if not isinstance(source, str | os.PathLike):
        return _each(source, color, allow_url)
    path = Path(source)
    if path.is_dir():
        return _each(discover(path), color, allow_url)
    if _is_video(path):
        video = frames(path, progress=False)
        # Read now, so that the caller learns of a video that cannot be read from the call, not from the loop.
        first = next(video, None)
        if first is None:
            raise DataError(f"There is no whole frame in the video {path}.")
        return _frames(first, video)
    if not path.is_file() and not (isinstance(source, str) and is_url(source)):
        raise MissingInputError(f"There is no folder, video or image {path}.")
    return _each([source], color, allow_url)


def _each(images: Iterable[ImageInput], color: str, allow_url: bool) -> Generator[ImageWithMetadata, None, None]:
    for image in images:
        pixels = read_image(image, color, allow_url)
        yield pixels, {"image": str(image)} if isinstance(image, str | os.PathLike) else {}


def _frames(first: Frame, others: Any) -> Generator[ImageWithMetadata, None, None]:
    with closing(others):
        for frame in chain([first], others):
            yield frame.pixels, {"frame": frame.number, "seconds": float(frame.seconds)}


def _is_video(path: Path) -> bool:
    return path.suffix.lower() in VIDEO_SUFFIXES and path.is_file()


def read_image(source: ImageInput, color: str, allow_url: bool) -> RgbImage:
    """One image as RGB HWC uint8; `color` is the channel order of an array, "bgr" or "rgb".

    Raises:
        UsageError: it is not an image, or a URL where none is allowed.
        MissingInputError: there is no such file.
        DataError: it cannot be read, or is too large.
    """
    from PIL import Image

    if isinstance(source, np.ndarray):
        if source.dtype != np.uint8 or source.ndim != 3 or source.shape[2] != 3 or 0 in source.shape:
            raise UsageError(f"An image must be (height, width, 3) uint8, not {source.shape} {source.dtype}.")
        return np.ascontiguousarray(source[..., ::-1] if color == "bgr" else source)
    if isinstance(source, Image.Image):
        return rgb_of(source)
    if not isinstance(source, str | os.PathLike):
        raise UsageError(f"An image must be a path, an array or a PIL image, not {type(source).__name__}.")
    if isinstance(source, str) and is_url(source):
        if not allow_url:
            raise UsageError(f"{source} is a URL.", "Pass allow_url=True, or download it and give the file's path.")
        return np.array(decode(fetch(source), source).pixels)
    path = Path(source)
    if path.is_dir():
        hint = "Give it to predict_many(folder), or to predict_images(model, folder)."
        raise UsageError(f"{path} is a folder, not one image.", hint)
    if _is_video(path):
        hint = "Give it to predict_many(video), or to predict_video(model, video, output)."
        raise UsageError(f"{path} is a video, not one image.", hint)
    if not path.is_file():
        raise MissingInputError(f"There is no image {path}.")
    return open_rgb(path)
