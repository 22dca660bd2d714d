"""Frames of a camera or a network stream: the newest one counts, and those that nobody was ready for are counted."""

from __future__ import annotations

import errno
import logging
import threading
import time
from collections.abc import Iterator
from fractions import Fraction
from typing import Any, NamedTuple, Protocol
from urllib.parse import urlsplit, urlunsplit

import numpy as np

from ..core.errors import DataError, DependencyError
from .image_formats import check_sides
from .rgb_image import RgbImage
from .video_frames import upright

# Nothing else may be opened on the word of a stream, such as a file that a playlist names.
_PROTOCOLS = "rtp,rtsp,rtsps,udp,tcp,tls,http,https,httpproxy,crypto,hls"
_STREAM_SUFFIXES = (".m3u8", ".mjpg", ".mjpeg", ".ts", ".flv")
_SHORT_PROBE = {"analyzeduration": "500000", "fpsprobesize": "0"}
_log = logging.getLogger(__name__)


class LiveFrame(NamedTuple):
    """A frame: its number from 0 among all that arrived, seconds since the first one arrived, pixels (HWC uint8 RGB,
    turned upright), and how many frames were dropped just before it."""

    number: int
    seconds: Fraction
    pixels: RgbImage
    dropped: int


def is_camera(source: str) -> bool:
    """Whether it is the number of a camera, such as `0`."""
    return source.isdecimal()


def is_stream_url(source: str) -> bool:
    """Whether it is the URL of a stream: rtsp, or http with the suffix of a stream."""
    parts = urlsplit(source)
    if parts.scheme.lower() in ("rtsp", "rtsps"):
        return True
    return parts.scheme.lower() in ("http", "https") and parts.path.lower().endswith(_STREAM_SUFFIXES)


def public_name(source: str) -> str:
    """A source as it may be shown: a URL without its user, password and query."""
    if is_camera(source):
        return f"camera {source}"
    parts = urlsplit(source)
    host = parts.hostname or ""
    host = f"[{host}]" if ":" in host else host
    return urlunsplit((parts.scheme, f"{host}:{parts.port}" if parts.port else host, parts.path, "", ""))


class LiveFrames:
    """Reads a stream in a thread of its own; iterating gives the newest frame each time, and ends with the stream.

    A context manager. `received` counts the frames that arrived, `dropped` those among them that were not given.

    Args:
        source: the number of a camera, or the URL of a stream.
        timeout: seconds without a frame after which the stream counts as frozen; opening may take as long.

    Raises:
        DataError: the stream cannot be opened; while iterating, it froze or broke off.
        DependencyError: PyAV is not installed.
    """

    def __init__(self, source: str, timeout: float = 10.0) -> None:
        self.name = public_name(source)
        self.received = self._given = 0
        self._timeout = timeout
        self._changed = threading.Condition()
        self._newest: tuple[int, float, Any] | None = None
        self._ended = self._stopped = False
        self._error: DataError | None = None
        self._reader: _Reader = (
            _Camera(source, self.name) if is_camera(source) else _NetworkStream(source, self.name, timeout)
        )
        self._thread = threading.Thread(target=self._read, name="stream", daemon=True)

    @property
    def dropped(self) -> int:
        """How many of the frames that arrived were not given."""
        return self.received - self._given

    def __enter__(self) -> LiveFrames:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped = True
        # A read that hangs ends by its own time limit; the thread does not keep the process.
        self._thread.join(1.0)

    def __iter__(self) -> Iterator[LiveFrame]:
        first: float | None = None
        before, last = -1, Fraction(-1, 1000)
        while True:
            with self._changed:
                arrived = self._changed.wait_for(lambda: self._newest is not None or self._ended, self._timeout)
                newest, self._newest = self._newest, None
            if newest is None:
                if self._error is not None:
                    raise self._error
                if arrived:
                    return
                raise DataError(f"{self.name} froze: no frame arrived for {self._timeout:g} seconds.")
            number, moment, frame = newest
            first = moment if first is None else first
            self._given += 1
            # Times grow, also where two frames arrive in one millisecond: tracks are by time.
            seconds = last = max(Fraction(round((moment - first) * 1000), 1000), last + Fraction(1, 1000))
            yield LiveFrame(number, seconds, self._reader.pixels(frame), number - before - 1)
            before = number

    def _read(self) -> None:
        try:
            for frame in self._reader.frames():
                if self._stopped:
                    break
                with self._changed:
                    self._newest = (self.received, time.monotonic(), frame)
                    self.received += 1
                    self._changed.notify()
        except DataError as error:
            self._error = error
        finally:
            self._reader.close()
            with self._changed:
                self._ended = True
                self._changed.notify()


class _Reader(Protocol):
    def frames(self) -> Iterator[Any]: ...

    def pixels(self, frame: Any) -> RgbImage: ...

    def close(self) -> None: ...


class _NetworkStream:
    """The frames of a URL, by FFmpeg."""

    def __init__(self, source: str, name: str, timeout: float) -> None:
        try:
            import av
        except ImportError as error:
            raise DependencyError(
                "Reading a stream needs PyAV.", "pip install 'autodistill-rfdetr-seg[video]'"
            ) from error
        self._name, self._errors = name, av.error
        # Little is read to find out what the stream is: all of that is late by the time that it takes.
        options = {"rtsp_transport": "tcp", "protocol_whitelist": _PROTOCOLS, **_SHORT_PROBE}
        hint = "Is the camera on, and the URL right?"
        try:
            self._container: Any = av.open(source, options=options, timeout=timeout)
        except av.error.ExitError as error:
            raise DataError(f"{name} did not answer within {timeout:g} seconds.", hint) from error
        except (av.error.FFmpegError, OSError) as error:
            # Not the error's text: it has the URL, and so the password.
            raise DataError(f"{name} cannot be opened: {error.strerror or type(error).__name__}.", hint) from None
        if not self._container.streams.video:
            self._container.close()
            raise DataError(f"{name} has no video, only sound or data.")
        self._stream = self._container.streams.video[0]
        self._stream.thread_type = "AUTO"
        check_sides(self._stream.width, self._stream.height, f"The stream {name}")

    def frames(self) -> Iterator[Any]:
        damaged = 0
        try:
            for packet in self._container.demux(self._stream):
                try:
                    yield from packet.decode()
                except self._errors.InvalidDataError:
                    damaged += 1
        except self._errors.EOFError:
            return
        except self._errors.ExitError:
            raise DataError(f"{self._name} froze: it sends nothing any more.") from None
        except (self._errors.FFmpegError, OSError) as error:
            # Over HTTP a stream without a stated length ends where the connection does, which FFmpeg calls an error.
            if error.errno == errno.EIO and self._name.startswith("http"):
                _log.warning("%s ended: the server closed the connection.", self._name)
                return
            raise DataError(f"{self._name} broke off: {error.strerror or type(error).__name__}.") from None
        finally:
            if damaged:
                _log.warning("%d damaged packets of %s are left out.", damaged, self._name)

    def pixels(self, frame: Any) -> RgbImage:
        return upright(frame)

    def close(self) -> None:
        self._container.close()


class _Camera:
    """The frames of a camera of this machine, by OpenCV."""

    def __init__(self, source: str, name: str) -> None:
        import cv2

        self._name, self._capture = name, cv2.VideoCapture(int(source))
        if not self._capture.isOpened():
            raise DataError(f"{name} cannot be opened.", "The first camera of a machine is number 0.")

    def frames(self) -> Iterator[Any]:
        while True:
            whole, frame = self._capture.read()
            if not whole:
                raise DataError(f"{self._name} gives no more frames.")
            yield frame

    def pixels(self, frame: Any) -> RgbImage:
        pixels: RgbImage = np.ascontiguousarray(frame[..., ::-1])
        return pixels

    def close(self) -> None:
        self._capture.release()
