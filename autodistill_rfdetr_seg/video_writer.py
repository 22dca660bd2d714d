"""A video written frame by frame, so that it plays as far as it came whatever ends the writing."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from .errors import DependencyError
from .images import RgbImage

# H.264 plays everywhere; MPEG-4 is what a build of FFmpeg without it has.
_CODECS = ("libx264", "mpeg4")


class VideoWriter:
    """Writes `path` (MP4) at `fps` frames a second; a context manager.

    Raises:
        DependencyError: PyAV is not installed, or has no encoder for MP4.
    """

    def __init__(self, path: Path, fps: Fraction) -> None:
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
        # A file in pieces can be played up to its last whole piece, also when the process was killed.
        pieces = {"movflags": "frag_keyframe+empty_moov+default_base_moof"}
        self._container: Any = av.open(str(path), "w", format="mp4", options=pieces)
        stream: Any = self._container.add_stream(codec, rate=fps)
        stream.pix_fmt = "yuv420p"
        if codec == "libx264":
            stream.options = {"crf": "20", "preset": "veryfast", "g": "60"}
        self._stream = stream
        self._begun = False

    def write(self, pixels: RgbImage) -> None:
        """Adds a frame, HWC uint8 RGB; all have the size of the first. An odd side loses its last row or column."""
        import av

        height, width = (side // 2 * 2 for side in pixels.shape[:2])
        if not self._begun:
            self._stream.width, self._stream.height = width, height
            self._begun = True
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels[:height, :width]), format="rgb24")
        self._container.mux(self._stream.encode(frame))

    def __enter__(self) -> VideoWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        try:
            if self._begun:
                self._container.mux(self._stream.encode())
        finally:
            self._container.close()
