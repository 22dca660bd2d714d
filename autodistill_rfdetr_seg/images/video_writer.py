"""Writes a video frame by frame, each at its own time. A file that was not finished plays up to its last part."""

from __future__ import annotations

import logging
import math
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from ..core.errors import DependencyError
from .rgb_image import RgbImage

_log = logging.getLogger(__name__)

# H.264 plays everywhere; builds of FFmpeg without it have MPEG-4. The numbers are the most ticks a second that are
# used: RTP's clock, which common frame rates divide, and the most that MPEG-4's 16 bits hold.
_CODECS = {"libx264": 90_000, "mpeg4": 60_000}
# FFmpeg's muxer doubles a smaller clock of a picture track until it is above this.
_LEAST_TICKS = 10_000
# MP4 keeps a frame's duration in ticks in 31 bits, and FFmpeg loses the times of all frames after a longer one.
_LONGEST = 2**31 - 2


class VideoWriter:
    """Writes `path` (MP4); a context manager.

    `fps` is the usual rate in frames a second, and that of frames written without a time. `tick` is the unit of the
    times in seconds, by default that of `fps`: multiples of it are kept exactly, others, and those of a unit
    below 1/90000 s (MPEG-4: 1/60000 s), are rounded.

    Raises:
        DependencyError: PyAV is not installed, or has no encoder for MP4.
    """

    def __init__(self, path: Path, fps: Fraction, tick: Fraction | None = None) -> None:
        try:
            import av
        except ImportError as error:
            raise DependencyError(
                "Writing a video needs PyAV.", "pip install 'autodistill-rfdetr-seg[video]'"
            ) from error
        codec = next((name for name in _CODECS if name in av.codecs_available), None)
        if codec is None:
            raise DependencyError("PyAV has no encoder for MP4 here.", "Install its own build: pip install av")
        path.parent.mkdir(parents=True, exist_ok=True)
        # A file in pieces can be played up to its last complete piece, even if the process was killed.
        pieces = {"movflags": "frag_keyframe+empty_moov+default_base_moof", "flush_packets": "1"}
        self._container: Any = av.open(str(path), "w", format="mp4", options=pieces)
        stream: Any = self._container.add_stream(codec, rate=fps)
        stream.pix_fmt = "yuv420p"
        if codec == "libx264":
            # Without B-frames the times of decoding are those of presentation, so no time changes.
            stream.options = {"crf": "20", "preset": "veryfast", "g": "60", "bf": "0"}
        self._path, self._stream, self._step = path, stream, 1 / fps
        self._scale = _scale(1 / fps if tick is None else tick, _CODECS[codec])
        stream.time_base = stream.codec_context.time_base = Fraction(1, self._scale)
        self._has_frames = False
        self._next = Fraction(0)
        self._last_pts, self._shift = -1, 0
        self._durations: dict[int, int] = {}

    def write(self, pixels: RgbImage, seconds: Fraction | None = None, duration: Fraction | None = None) -> None:
        """Adds a frame, HWC uint8 RGB; all have the size of the first. If a side is odd, its last row or column is
        repeated.

        `seconds` is when it is shown (not before the previous frame), `duration` for how many seconds, which is used
        for the last frame only: the others are shown until the next. By default, frames follow each other at `fps`.
        """
        import av

        seconds = self._next if seconds is None else seconds
        duration = self._step if duration is None else duration
        self._next = seconds + duration
        height, width = pixels.shape[:2]
        if height % 2 or width % 2:
            pixels = np.pad(pixels, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
        if not self._has_frames:
            self._stream.height, self._stream.width = pixels.shape[:2]
            self._has_frames = True
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")
        frame.time_base = Fraction(1, self._scale)
        frame.pts = self._last_pts = self._pts(seconds)
        self._durations[frame.pts] = min(_LONGEST, max(1, round(duration * self._scale)))
        self._mux(frame)

    def _pts(self, seconds: Fraction) -> int:
        pts = max(round(seconds * self._scale) - self._shift, self._last_pts + 1)
        if pts - self._last_pts > _LONGEST:
            _log.warning("%s: a pause of %.0f hours is longer than MP4 can hold.", self._path, pts / self._scale / 3600)
            self._shift += pts - self._last_pts - _LONGEST
            pts = self._last_pts + _LONGEST
        return pts

    def _mux(self, frame: Any) -> None:
        for packet in self._stream.encode(frame):
            packet.duration = self._durations.pop(packet.pts)
            self._container.mux(packet)

    def __enter__(self) -> VideoWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        try:
            if self._has_frames:
                self._mux(None)
        finally:
            self._container.close()


def _scale(tick: Fraction, most: int) -> int:
    """Ticks a second of the file: whole ticks for each `tick`, as far as `most` allows."""
    scale = tick.denominator * math.ceil(_LEAST_TICKS / tick.denominator)
    return scale if scale <= most else most
