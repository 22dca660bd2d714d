"""Writes a video's frames as PNG files: decoded once from start to end, two frames in memory, resumable."""

from __future__ import annotations

import contextlib
import logging
import math
from collections.abc import Iterator
from fractions import Fraction
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ..core.errors import DataError, MissingInputError, UsageError
from ..system.files import read_json, replacing, write_json
from ..system.locks import in_turn
from .rgb_image import write_png
from .video_frames import shown_frames, upright

if TYPE_CHECKING:
    from av import VideoFrame

_log = logging.getLogger(__name__)

VIDEO_SUFFIXES = frozenset(
    f".{name}"
    for name in (
        "3gp",
        "avi",
        "flv",
        "m2ts",
        "m4v",
        "mkv",
        "mov",
        "mp4",
        "mpeg",
        "mpg",
        "mts",
        "ogv",
        "ts",
        "webm",
        "wmv",
    )
)
RECORD = "extraction.json"
DEFAULT_FPS = 1.0
_THUMBNAIL = 16
# Root mean square of gray levels (0…255) over the thumbnail's cells: noise and compression stay below it, an object
# that fills one cell of the 256 and differs by 32 levels reaches it.
_LEAST_CHANGE = 2.0

_Window = tuple[int, int, "VideoFrame"]


def extract_frames(
    video: Path, folder: Path, *, every: int | None, fps: float | None, scene_changes: bool, progress: bool = True
) -> list[Path]:
    """Writes frames of `video` as `folder/<stem>/frame_000123.png` (the number is the frame's index from 0).

    `every` takes each n-th frame. `fps` takes for each due time (0, 1/fps, 2/fps ... seconds, up to half a usual frame
    before the end) the frame whose own timestamp is nearest, the earlier one of two that are as near. A frame nearest
    to several due times is taken once, so a video of fewer frames a second gives each of them. Neither option means one
    frame a second. With `scene_changes`, each frame that would be taken starts a window, which lasts until the next
    one: it gives its most changed frame against the last one taken, or none where nearly nothing has changed. The
    rotation that phones write beside the picture is applied.

    A finished extraction of the same file with the same options is reused, an interrupted one is completed, and other
    options start over. If the video is cut off, the frames before that place are kept, and `extraction_note` says
    so. If two processes need the same frames, the second waits for the first.

    Returns:
        The frames' files in the order of time.

    Raises:
        MissingInputError: there is no such file.
        UsageError: both `every` and `fps` are given, or one is not above 0.
        DataError: no frame can be decoded.
        DependencyError: PyAV is not installed.
    """
    if every is not None and fps is not None:
        raise UsageError("A video is sampled either by `every` or by `fps`, not by both.", "Leave one of them out.")
    if (every is not None and every < 1) or (fps is not None and not 0 < fps < math.inf):
        raise UsageError(f"Frames of a video cannot be taken with every={every} and fps={fps}.", "Use a value above 0.")
    if not video.is_file():
        raise MissingInputError(f"There is no video {video}.")
    if every is None and fps is None:
        fps = DEFAULT_FPS
    target = folder / video.stem
    stat = video.stat()
    wanted = {
        "video": {"name": video.name, "bytes": stat.st_size, "mtime_ns": stat.st_mtime_ns},
        "options": {"every": every, "fps": fps, "scene_changes": scene_changes},
    }
    # Slices of one run need the same frames.
    with in_turn(target):
        record = _record(target)
        if {key: record.get(key) for key in wanted} == wanted:
            paths = [_path(target, index) for index in record.get("frames") or ()]
            if paths and all(path.is_file() for path in paths):
                return paths
        else:
            (target / RECORD).unlink(missing_ok=True)
            for path in target.glob("frame_*.png"):
                path.unlink()
            write_json(target / RECORD, wanted)
        for path in target.glob(".frame_*.partial"):
            path.unlink()
        indices, note = _extract(video, target, every, fps, scene_changes, progress)
        write_json(target / RECORD, {**wanted, "note": note, "frames": indices})
    return [_path(target, index) for index in indices]


def extraction_note(video: Path, folder: Path) -> str | None:
    """Where the extraction of `video` into `folder` stopped early and why; None if it is complete."""
    note = _record(folder / video.stem).get("note")
    return note if isinstance(note, str) else None


def _record(target: Path) -> dict[str, Any]:
    try:
        record = read_json(target / RECORD)
    except DataError:
        return {}
    return record if isinstance(record, dict) else {}


def _path(target: Path, index: int) -> Path:
    return target / f"frame_{index:06d}.png"


def _extract(
    video: Path, target: Path, every: int | None, fps: float | None, scene_changes: bool, progress: bool
) -> tuple[list[int], str | None]:
    """Writes the chosen frames that do not exist yet; returns their indices, and where the video is cut off."""
    windows = _windows(video, every, fps, progress)
    indices: list[int] = []
    note = None
    try:
        for index, frame in _most_changed(windows) if scene_changes else _first_of_each(windows):
            path = _path(target, index)
            if not path.is_file():
                with replacing(path) as temporary:
                    write_png(temporary, upright(frame))
            indices.append(index)
    except DataError as error:
        if not indices:
            raise
        note = error.message
        _log.warning("%s The frames before that are kept.", note)
    if not indices:
        raise DataError(f"There is no whole frame in the video {video}.")
    return indices, note


def _first_of_each(windows: Iterator[_Window]) -> Iterator[tuple[int, VideoFrame]]:
    for _, window in groupby(windows, key=lambda one: one[0]):
        _, index, frame = next(window)
        yield index, frame


def _most_changed(windows: Iterator[_Window]) -> Iterator[tuple[int, VideoFrame]]:
    last: npt.NDArray[np.float32] | None = None
    for _, window in groupby(windows, key=lambda one: one[0]):
        _, index, frame = next(window)
        thumbnail = _thumbnail(frame)
        if last is not None:
            change = _change(thumbnail, last)
            for _, other_index, other_frame in window:
                other = _thumbnail(other_frame)
                if _change(other, last) > change:
                    index, frame, thumbnail, change = other_index, other_frame, other, _change(other, last)
            if change < _LEAST_CHANGE:
                continue
        last = thumbnail
        yield index, frame


def _thumbnail(frame: VideoFrame) -> npt.NDArray[np.float32]:
    small = frame.reformat(width=_THUMBNAIL, height=_THUMBNAIL, format="gray", interpolation="AREA")
    return small.to_ndarray().astype(np.float32)


def _change(first: npt.NDArray[np.float32], second: npt.NDArray[np.float32]) -> float:
    return math.sqrt(float(np.mean((first - second) ** 2)))


def _windows(video: Path, every: int | None, fps: float | None, progress: bool) -> Iterator[_Window]:
    """Each frame as (window, number, frame): windows of `every` frames, or from the frame nearest to a due time on."""
    rate = Fraction(str(fps or DEFAULT_FPS))
    window, due = -1, -1
    with contextlib.closing(shown_frames(video, progress, "Extracting")) as shown:
        for one in shown:
            if every is not None:
                window = one.number // every
            elif (reached := math.floor(one.nearest_until * rate)) > due:
                window, due = window + 1, reached
            yield window, one.number, one.frame
