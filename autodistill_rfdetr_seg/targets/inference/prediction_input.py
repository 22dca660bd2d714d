"""What `predict` is given, as images: a path, an address, an array or a PIL image; a folder or a video, one by one."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import closing
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt

from ...core.errors import DataError, MissingInputError, UsageError
from ...images.frame_files import SUFFIXES as VIDEO_SUFFIXES
from ...images.image_reader import RgbImage, decode, discover, open_rgb, rgb_of
from ...images.video_frames import frames
from ...system.downloads import fetch, is_url

if TYPE_CHECKING:
    import supervision as sv
    from PIL import Image

ImageInput: TypeAlias = "str | os.PathLike[str] | npt.NDArray[np.uint8] | Image.Image"


def one_by_one(source: Any, ask: Callable[[RgbImage], sv.Detections]) -> Iterator[sv.Detections] | None:
    """What `ask` says of each image of a folder, or frame of a video, when it is its turn; None for anything else.

    `metadata` of each has `image`, the path, or `frame` and `seconds`.

    Raises:
        MissingInputError: the folder holds no image.
        DataError: the video cannot be read; an image cannot, when it is its turn.
        DependencyError: PyAV, for a video, is not installed.
    """
    if not isinstance(source, str | os.PathLike):
        return None
    path = Path(source)
    if path.is_dir():
        return _of_folder(discover(path), ask)
    if not _is_video(path):
        return None
    seen = frames(path, progress=False)
    # Now, so that a video that cannot be read is told to the caller of `predict`.
    first = next(seen, None)
    if first is None:
        raise DataError(f"There is no whole frame in the video {path}.")
    return _of_video(chain([first], seen), seen, ask)


def _of_folder(paths: list[Path], ask: Callable[[RgbImage], sv.Detections]) -> Iterator[sv.Detections]:
    for path in paths:
        found = ask(open_rgb(path))
        found.metadata["image"] = str(path)
        yield found


def _of_video(all_frames: Any, source: Any, ask: Callable[[RgbImage], sv.Detections]) -> Iterator[sv.Detections]:
    with closing(source):
        for frame in all_frames:
            found = ask(frame.pixels)
            found.metadata |= {"frame": frame.number, "seconds": float(frame.seconds)}
            yield found


def _is_video(path: Path) -> bool:
    return path.suffix.lower() in VIDEO_SUFFIXES and path.is_file()


def open_given(source: ImageInput, color: str, allow_url: bool) -> RgbImage:
    """One image as RGB HWC uint8.

    Raises:
        UsageError: it is none, or a URL where none is allowed.
        MissingInputError: there is no such file.
        DataError: it cannot be read, or is too large to be one.
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
        raise UsageError(f"{path} is a folder, not one image.", "Give it alone, or to predict_images(model, folder).")
    if _is_video(path):
        raise UsageError(
            f"{path} is a video, not one image.", "Give it alone, or to predict_video(model, video, output)."
        )
    if not path.is_file():
        raise MissingInputError(f"There is no image {path}.")
    return open_rgb(path)
