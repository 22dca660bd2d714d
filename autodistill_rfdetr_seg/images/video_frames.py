"""Reads a video from start to end: each whole frame with the time at which it is shown, turned upright."""

from __future__ import annotations

import contextlib
import logging
import re
from collections.abc import Generator, Iterator
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ..core.errors import DataError, DependencyError, MissingInputError
from .image_formats import check_sides
from .rgb_image import RgbImage
from .video_times import Clock, usual_step

if TYPE_CHECKING:
    from av import VideoFrame

_log = logging.getLogger(__name__)
_USUAL_RATE = 25
_SCANNED_PACKETS = 500
# An edit list may hide some frames that the header counts; a file counts as cut off only if many are missing.
_LEAST_SHARE = 0.9
_DURATION = re.compile(r"(\d+):(\d+):(\d+(?:\.\d+)?)")


class Frame(NamedTuple):
    """One frame of a video: its number from 0, seconds since the first frame, pixels (HWC uint8 RGB, turned upright),
    and for how many seconds it is shown."""

    number: int
    seconds: Fraction
    pixels: RgbImage
    duration: Fraction


class Timing(NamedTuple):
    """Of a video, in seconds: the unit of its timestamps, and the usual (median) time from a frame to the next."""

    tick: Fraction
    step: Fraction


class Shown(NamedTuple):
    """A decoded frame, not yet turned upright; times are in seconds since the first frame.

    `nearest_until` is the last time to which no other frame is nearer.
    """

    number: int
    seconds: Fraction
    duration: Fraction
    nearest_until: Fraction
    frame: VideoFrame


def frames(video: Path, what: str = "Reading", progress: bool = True) -> Iterator[Frame]:
    """Every whole frame of a video, in order of time; `what` is the label of the progress bar.

    Raises:
        MissingInputError: there is no such file.
        DataError: it cannot be read; or it is cut off, raised after the frames before that place.
        DependencyError: PyAV is not installed.
    """
    with contextlib.closing(shown_frames(video, progress, what)) as shown:
        for number, seconds, duration, _, frame in shown:
            yield Frame(number, seconds, upright(frame), duration)


def timing_of(video: Path) -> Timing:
    """The unit of a video's timestamps, and its usual step, measured on its first packets: the rate that a file states
    is often that of its clock ("1000 frames a second"). Without timestamps the stated rate is used, else 25 frames a
    second.

    Raises as `frames`.
    """
    if not video.is_file():
        raise MissingInputError(f"There is no video {video}.")
    with _opened(video) as (container, stream):
        import av

        tick = Fraction(stream.time_base or Fraction(1, 90_000))
        packets: list[Any] = []
        # Damage is reported when the frames are decoded.
        with contextlib.suppress(av.error.FFmpegError):
            packets.extend(islice(container.demux(stream), _SCANNED_PACKETS))
        stored = [packet.dts for packet in packets if packet.dts is not None]
        shown = sorted(packet.pts for packet in packets if packet.pts is not None)
        # Recordings that were joined may overlap in time, so the order of storage is used first.
        step = usual_step(stored if 2 * len(stored) >= len(shown) else shown)
        return Timing(tick, step * tick if step else 1 / Fraction(stream.average_rate or _USUAL_RATE))


def shown_frames(video: Path, progress: bool, what: str) -> Generator[Shown, None, None]:
    """Every whole frame with its times. Two frames are in memory, as a frame is shown until the next one starts.

    The last frame has the duration that the file states, or a usual step. Damaged frames are left out, and their
    number is logged. Raises as `frames`.
    """
    timing = timing_of(video)
    held: tuple[int, Fraction, VideoFrame] | None = None
    end, damaged, broken = Fraction(0), 0, None
    with contextlib.closing(_decoded(video, timing, progress, what)) as decoded:
        try:
            for number, seconds, duration, frame in decoded:
                end = seconds + duration
                if frame.is_corrupt:
                    damaged += 1
                    continue
                if held is not None:
                    before, since, last = held
                    yield Shown(before, since, seconds - since, (since + seconds) / 2, last)
                held = number, seconds, frame
        except DataError as error:
            broken = error
    if held is not None:
        number, seconds, frame = held
        # A time less than half a step before the end would be nearest to a frame after the end; such a time is also
        # what rounding makes of the end itself.
        until = max(seconds + timing.step / 2, end - timing.step / 2)
        yield Shown(number, seconds, end - seconds, until, frame)
    if damaged:
        _log.warning("%d damaged frames of the video %s are left out.", damaged, video)
    if broken is not None:
        raise broken


@contextlib.contextmanager
def _opened(video: Path) -> Iterator[tuple[Any, Any]]:
    """The container and its video stream.

    Raises:
        DataError: it cannot be read, has no video stream, or has a side of more than `MAX_SIDE`.
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
            raise DataError(f"{video} has no video stream, only sound or data.")
        stream = container.streams.video[0]
        check_sides(stream.width, stream.height, f"The video {video}")
        yield container, stream


def _decoded(
    video: Path, timing: Timing, progress: bool, what: str
) -> Generator[tuple[int, Fraction, Fraction, VideoFrame], None, None]:
    """Each frame as (number, seconds since the first, stated duration in seconds, frame).

    Raises:
        DataError: the video is cut off, raised after the frames before that place.
        DependencyError: PyAV is not installed.
    """
    from tqdm import tqdm

    count, end = 0, Fraction(0)
    with _opened(video) as (container, stream):
        import av

        try:
            stream.thread_type = "AUTO"
            clock = Clock(*timing)
            # AVI has no times of presentation: where frames are reordered, its timestamps are those of storage.
            stored = container.format.name == "avi" and stream.codec_context.has_b_frames
            with tqdm(total=stream.frames or None, desc=what, unit="frame", disable=not progress) as bar:
                for frame in container.decode(stream):
                    seconds = clock.seconds(frame.dts if stored else frame.pts)
                    duration = _stated_duration(stream, frame, timing)
                    yield count, seconds, duration, frame
                    count += 1
                    end = max(end, (frame.pts or 0) * timing.tick + duration)
                    bar.update()
            expected, stated_end = stream.frames, _stated_end(container, stream)
        except av.error.FFmpegError as error:
            where = f"is cut off after {count} frames" if count else "cannot be read"
            raise DataError(f"The video {video} {where}: {error.strerror}.") from error
    if count < _LEAST_SHARE * expected:
        raise DataError(f"The video {video} is cut off after {count} of {expected} frames.")
    if stated_end is not None and count and end < _LEAST_SHARE * stated_end:
        reached = f"{float(end):.1f} of {float(stated_end):.1f} seconds"
        raise DataError(f"The video {video} is cut off after {count} frames, at {reached}.")


def _stated_end(container: Any, stream: Any) -> Fraction | None:
    """The time in seconds at which the video stream of a Matroska file ends, if the file states it: it has no number of
    frames.

    The end of the file may be that of its sound, and the tag of the stream may come from a longer file that this one
    was cut from; so the earlier one is used.
    """
    parts = _DURATION.fullmatch(stream.metadata.get("DURATION", ""))
    if parts is None or not container.format.name.startswith("matroska") or container.duration is None:
        return None
    hours, minutes, seconds = map(Fraction, parts.groups())
    return min(3600 * hours + 60 * minutes + seconds, Fraction(container.duration, 1_000_000))


def _stated_duration(stream: Any, frame: VideoFrame, timing: Timing) -> Fraction:
    """The duration of a frame in seconds as its container states it, or a usual step; not beyond the end of the
    stream.
    """
    # Older releases of PyAV do not give a frame's duration.
    stated: Fraction = (getattr(frame, "duration", None) or 0) * timing.tick
    if stream.duration is not None and frame.pts is not None:
        # If frames are reordered, a container states the difference of the decoding times instead.
        left: Fraction = ((stream.start_time or 0) + stream.duration - frame.pts) * timing.tick
        if 0 < left < (stated or 2 * timing.step):
            return left
    return stated if stated > 0 else timing.step


def upright(frame: VideoFrame) -> RgbImage:
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
