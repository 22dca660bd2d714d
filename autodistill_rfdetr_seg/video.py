"""A video's frames as PNG files: decoded once from front to back, one frame in memory, resumable."""

from __future__ import annotations

import contextlib
import logging
import math
from collections.abc import Generator, Iterator
from fractions import Fraction
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from .errors import DataError, DependencyError, MissingInputError, UsageError
from .files import read_json, replacing, write_json
from .images import RgbImage, check_sides, write_png

if TYPE_CHECKING:
    from av import VideoFrame

_log = logging.getLogger(__name__)

SUFFIXES = frozenset(
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
_USUAL_RATE = 25
_THUMBNAIL = 16
# Root mean square of grey levels (0…255) over the thumbnail's cells: noise and compression stay below it, an object
# that fills one cell of the 256 and differs by 32 levels reaches it.
_LEAST_CHANGE = 2.0
# An edit list may hide some frames that the header counts; only a marked lack tells of a file that was cut off.
_LEAST_SHARE = 0.9

_Window = tuple[int, int, "VideoFrame"]


def extract_frames(
    video: Path, folder: Path, *, every: int | None, fps: float | None, scene_changes: bool, progress: bool = True
) -> list[Path]:
    """Writes frames of `video` as `folder/<stem>/frame_000123.png` (the number is the frame's index from 0).

    `every` takes each n-th frame, `fps` the frame nearest to each due time, n a second; neither means one a second.
    With `scene_changes` the same windows of frames give their most changed frame against the last one taken, or none
    where nearly nothing has changed. The rotation that phones write beside the picture is applied.

    A finished extraction of the same file with the same options is not done again, a killed one is completed, and other
    options begin anew. Where the video breaks, the frames before the break stay: `note_of` tells. Where two processes
    ask for the same frames, the second waits for the first.

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
    with _alone(target):
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


class Frame(NamedTuple):
    """One frame of a video: its number from 0, seconds since the first, and pixels, HWC uint8 RGB, turned upright."""

    number: int
    seconds: Fraction
    pixels: RgbImage


def frames(video: Path, what: str = "Reading", progress: bool = True) -> Iterator[Frame]:
    """Every whole frame of a video, in the order of time; `what` names the progress bar.

    Raises:
        MissingInputError: there is no such file.
        DataError: it cannot be read, or breaks off: at that place, after the frames before it.
        DependencyError: PyAV is not installed.
    """
    if not video.is_file():
        raise MissingInputError(f"There is no video {video}.")
    with contextlib.closing(_decoded(video, progress, what)) as decoded:
        for index, seconds, _, frame in decoded:
            if not frame.is_corrupt:
                yield Frame(index, seconds, _upright(frame))


def frame_rate(video: Path) -> Fraction:
    """Frames a second, on average; 25 where the file does not say. Raises as `frames`."""
    if not video.is_file():
        raise MissingInputError(f"There is no video {video}.")
    with _opened(video) as (_, stream):
        return Fraction(stream.average_rate or _USUAL_RATE)


def note_of(video: Path, folder: Path) -> str | None:
    """What is to be said about the extraction of `video` in `folder`: where it broke off; None where it did not."""
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


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Waits until no other process extracts into `folder`: shards of one labelling ask for the same frames."""
    folder.mkdir(parents=True, exist_ok=True)
    try:
        import fcntl
    except ImportError:
        yield
        return
    with (folder / ".lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _extract(
    video: Path, target: Path, every: int | None, fps: float | None, scene_changes: bool, progress: bool
) -> tuple[list[int], str | None]:
    """Writes the chosen frames that are not there yet; their indices, and where the video broke off."""
    windows = _windows(video, every, fps, progress)
    indices: list[int] = []
    note = None
    try:
        for index, frame in _most_changed(windows) if scene_changes else _first_of_each(windows):
            path = _path(target, index)
            if not path.is_file():
                with replacing(path) as temporary:
                    write_png(temporary, _upright(frame))
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
    """Each frame as (window, index, frame): windows are of `every` frames, or of the frames nearest to a due time."""
    rate = Fraction(str(fps or DEFAULT_FPS))
    with contextlib.closing(_decoded(video, progress)) as frames:
        for index, seconds, half, frame in frames:
            window = index // every if every is not None else math.floor((seconds + half) * rate)
            if not frame.is_corrupt:
                yield window, index, frame


@contextlib.contextmanager
def _opened(video: Path) -> Iterator[tuple[Any, Any]]:
    """The container and its stream of pictures.

    Raises:
        DataError: it cannot be read, holds no pictures, or has a side of more than `MAX_SIDE`.
        DependencyError: PyAV is not installed.
    """
    try:
        import av
    except ImportError as error:
        hint = "pip install 'autodistill-rfdetr-seg[video]'"
        raise DependencyError("Reading a video needs PyAV.", hint) from error
    try:
        container = av.open(str(video))
    except av.error.FFmpegError as error:
        raise DataError(f"The video {video} cannot be read: {error.strerror}.") from error
    with container:
        if not container.streams.video:
            raise DataError(f"There are no pictures in {video}, only sound or data.")
        stream = container.streams.video[0]
        check_sides(stream.width, stream.height, f"The video {video}")
        yield container, stream


def _decoded(
    video: Path, progress: bool, what: str = "Extracting"
) -> Generator[tuple[int, Fraction, Fraction, VideoFrame], None, None]:
    """Each frame as (index, seconds since the first, half of a frame's usual duration in seconds, frame).

    Raises:
        DataError: at the place where the video breaks off, after the frames before it.
        DependencyError: PyAV is not installed.
    """
    from tqdm import tqdm

    count = 0
    with _opened(video) as (container, stream):
        import av

        try:
            stream.thread_type = "AUTO"
            usual = 1 / Fraction(stream.average_rate or _USUAL_RATE)
            seconds, before = Fraction(0), None
            with tqdm(total=stream.frames or None, desc=what, unit="frame", disable=not progress) as bar:
                for frame in container.decode(stream):
                    time = None if frame.pts is None or not frame.time_base else frame.pts * Fraction(frame.time_base)
                    if count:
                        # Joined recordings may jump back in time, and some frames have none.
                        known = time is not None and before is not None and time > before
                        seconds += time - before if known else usual  # type: ignore[operator]
                    before = time
                    yield count, seconds, usual / 2, frame
                    count += 1
                    bar.update()
            expected = stream.frames
        except av.error.FFmpegError as error:
            where = f"breaks off after {count} frames" if count else "cannot be read"
            raise DataError(f"The video {video} {where}: {error.strerror}.") from error
    if count < _LEAST_SHARE * expected:
        raise DataError(f"The video {video} breaks off after {count} of {expected} frames.")


def _upright(frame: VideoFrame) -> RgbImage:
    """The frame as HWC uint8 RGB, turned and mirrored as its display matrix says (by quarter turns)."""
    pixels: RgbImage = frame.to_ndarray(format="rgb24").astype(np.uint8, copy=False)
    side_data: Any = frame.side_data.get("DISPLAYMATRIX")
    if side_data is None:
        return pixels
    # Rows (a b u), (c d v), (x y w): x' = a x + c y, y' = b x + d y; 16.16 fixed point, native byte order.
    (a, b), (c, d) = np.frombuffer(bytes(side_data), np.int32).reshape(3, 3)[:2, :2].tolist()
    if abs(b) > abs(a):
        pixels, a, d = pixels.transpose(1, 0, 2), c, b
    return np.ascontiguousarray(pixels[:: -1 if d < 0 else 1, :: -1 if a < 0 else 1])
