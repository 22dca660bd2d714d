"""What a prediction of frames writes: an annotated video, and a JSON line for each frame."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import coco
from ..bases.detection_instances import indexed_instances
from ..core.types import Classes, Instance
from ..drawing.overlays import draw_instances
from ..images.rgb_image import RgbImage
from ..images.video_writer import VideoWriter
from .tracking import Tracker

if TYPE_CHECKING:
    import supervision as sv

_AHEAD = 8
TrackedInstances = list[tuple[Instance, int | None]]


class FrameCounts:
    """Instances and tracks by class over the frames so far."""

    def __init__(self, classes: Classes, tracker: Tracker | None) -> None:
        self._classes, self._tracker = classes, tracker
        self._counts: Counter[int] = Counter()
        self._tracks: dict[int, set[int]] = {}
        self.frames = 0

    def add(self, found: sv.Detections, shape: tuple[int, ...], seconds: Fraction) -> TrackedInstances:
        """The usable instances of the next frame, each with its track's number, which are counted."""
        kept = indexed_instances(found, shape[:2], len(self._classes.names), Counter())
        numbers = [None] * len(found) if self._tracker is None else self._tracker.track_numbers(found, seconds)
        instances = [(instance, numbers[at]) for at, instance in kept]
        self._counts.update(instance.class_index for instance, _ in instances)
        for instance, number in instances:
            if number is not None:
                self._tracks.setdefault(instance.class_index, set()).add(number)
        self.frames += 1
        return instances

    @property
    def counts(self) -> dict[str, int]:
        """Instances by class name."""
        return {name: self._counts[index] for index, name in enumerate(self._classes.names)}

    @property
    def tracks(self) -> dict[str, int] | None:
        """Tracks by class name; None without tracking."""
        if self._tracker is None:
            return None
        return {name: len(self._tracks.get(index, ())) for index, name in enumerate(self._classes.names)}


def frame_line(about: Mapping[str, Any], found: TrackedInstances, classes: Classes, tracked: bool) -> dict[str, Any]:
    """A frame as one JSON line: what is known of it, and its instances."""
    rows = [coco.instance_row(one, classes, **({"track_id": n} if tracked else {})) for one, n in found]
    return {**about, "instances": rows}


class FrameWriter:
    """Writes an annotated `video` and `lines`, one for each frame; a context manager.

    One thread draws and encodes, in order, while the model is at the next frames. Both files grow frame by frame.
    """

    def __init__(
        self, video: Path, lines: Path, classes: Classes, tracked: bool, rate: Fraction, tick: Fraction
    ) -> None:
        self._video, self._lines, self._classes, self._tracked = video, lines, classes, tracked
        self._rate, self._tick = rate, tick
        self._stack = ExitStack()
        self._behind: list[Future[None]] = []

    def __enter__(self) -> FrameWriter:
        with ExitStack() as stack:
            self._file = stack.enter_context(self._lines.open("w", encoding="utf-8"))
            self._writer = stack.enter_context(VideoWriter(self._video, self._rate, self._tick))
            self._drawer = stack.enter_context(ThreadPoolExecutor(1, thread_name_prefix="draw"))
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *error: Any) -> None:
        try:
            if error[0] is None:
                self._wait(0)
        finally:
            self._stack.__exit__(*error)

    def write(
        self,
        pixels: RgbImage,
        seconds: Fraction,
        duration: Fraction | None,
        line: Mapping[str, Any],
        found: TrackedInstances,
    ) -> None:
        """Adds a frame: its pixels, when it is shown, its line (`frame_line`), and the instances to draw."""

        def draw() -> None:
            self._file.write(json.dumps(line, ensure_ascii=False) + "\n")
            names = None
            if self._tracked:
                names = [f"{self._classes.names[i.class_index]} {'?' if n is None else n}" for i, n in found]
            drawn = draw_instances(pixels, [instance for instance, _ in found], self._classes, labels=names)
            self._writer.write(drawn, seconds, duration)

        self._behind.append(self._drawer.submit(draw))
        self._wait(_AHEAD)

    def _wait(self, left: int) -> None:
        while len(self._behind) > left:
            self._behind.pop(0).result()
