"""Predicting a video: decoding, the target, and drawing at the same time; an annotated video and a line a frame."""

from __future__ import annotations

import json
import queue
import threading
from collections import Counter
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import numpy as np

from . import masks
from .bases.adapter import usable
from .errors import DependencyError
from .records import Classes, Instance
from .report import draw_instances
from .video import Frame, frame_rate, frames
from .video_writer import VideoWriter

if TYPE_CHECKING:
    import supervision as sv

_AHEAD = 8
_Judged = list[tuple[Instance, int | None]]


@dataclass(frozen=True)
class PredictedVideo:
    """What predicting a video found: its frames, instances by class over all frames, and tracks by class (None where
    nothing was tracked); `video` and `lines` are the files written."""

    frames: int
    counts: dict[str, int]
    tracks: dict[str, int] | None
    video: Path
    lines: Path


def predict_video(
    model: Any,
    source: Path,
    output: Path,
    *,
    confidence: float = 0.5,
    track: bool = False,
    batch_size: int = 1,
    progress: bool = True,
) -> PredictedVideo:
    """Finds instances in every frame of a video; `model` is anything with `class_names` and `predict_batch`.

    Writes `output/NAME.mp4` with the instances drawn, and `output/NAME.jsonl`, a line a frame: `frame` (index from 0),
    `seconds`, `instances` (`class`, `class_id`, `score`, `bbox_xywh`, `segmentation` as COCO RLE, and, with `track`,
    `track_id`, null until ByteTrack is sure of it). Both grow as it goes: what ends it, what was done can be used.

    Raises:
        DataError: the video cannot be read, or breaks off; the frames before that are written.
        DependencyError: PyAV, or for `track` the package `trackers`, is not installed.
    """
    classes = Classes(tuple(model.class_names))
    rate = frame_rate(source)
    tracker = _Tracker(confidence, float(rate)) if track else None
    video, lines = output / f"{source.stem}.mp4", output / f"{source.stem}.jsonl"
    output.mkdir(parents=True, exist_ok=True)
    counts: Counter[int] = Counter()
    tracks: dict[int, set[int]] = {}
    done = 0
    with ExitStack() as stack:
        decoded = stack.enter_context(closing(_ahead(frames(source, "Predicting", progress))))
        file = stack.enter_context(lines.open("w", encoding="utf-8"))
        writer = stack.enter_context(VideoWriter(video, rate))
        # One thread draws and encodes, in order, while the model is at the next frames.
        drawer = stack.enter_context(ThreadPoolExecutor(1, thread_name_prefix="draw"))
        drawn: list[Any] = []
        while batch := list(islice(decoded, batch_size)):
            for frame, found in zip(batch, _asked(model, batch, confidence), strict=True):
                judged = _judged(found, frame, len(classes.names), tracker)
                counts.update(instance.class_index for instance, _ in judged)
                for instance, number in judged:
                    if number is not None:
                        tracks.setdefault(instance.class_index, set()).add(number)
                drawn.append(drawer.submit(_write, writer, file, frame, judged, classes, track))
                done += 1
            while len(drawn) > _AHEAD:
                drawn.pop(0).result()
        for one in drawn:
            one.result()
    return PredictedVideo(
        done,
        {name: counts[index] for index, name in enumerate(classes.names)},
        {name: len(tracks.get(index, ())) for index, name in enumerate(classes.names)} if track else None,
        video,
        lines,
    )


def _asked(model: Any, batch: Sequence[Frame], confidence: float) -> list[sv.Detections]:
    # torch warns of arrays that cannot be written to.
    found: list[sv.Detections] = model.predict_batch([np.array(frame.pixels) for frame in batch], confidence)
    return found


def _judged(found: sv.Detections, frame: Frame, classes: int, tracker: _Tracker | None) -> _Judged:
    kept = usable(found, frame.pixels.shape[:2], classes, Counter())
    numbers = tracker.numbers(found) if tracker is not None else [None] * len(found)
    return [(instance, numbers[at]) for at, instance in kept]


def _write(writer: VideoWriter, file: TextIO, frame: Frame, judged: _Judged, classes: Classes, tracked: bool) -> None:
    rows = []
    for instance, number in judged:
        rle = instance.rle
        row: dict[str, Any] = {"class": classes.names[instance.class_index], "class_id": instance.class_index}
        row |= {"score": round(instance.score, 4), "bbox_xywh": masks.bbox_xywh(rle)}
        row |= {"track_id": number} if tracked else {}
        rows.append({**row, "segmentation": {"size": [rle.height, rle.width], "counts": rle.counts.decode("ascii")}})
    line = {"frame": frame.number, "seconds": round(float(frame.seconds), 4), "instances": rows}
    file.write(json.dumps(line, ensure_ascii=False) + "\n")
    instances = [instance for instance, _ in judged]
    names = [f"{classes.names[i.class_index]} {'?' if n is None else n}" for i, n in judged] if tracked else None
    writer.write(draw_instances(frame.pixels, instances, classes, labels=names))


class _Tracker:
    """ByteTrack over the detections of consecutive frames (Zhang et al., 2022), by the package `trackers`."""

    def __init__(self, confidence: float, rate: float) -> None:
        try:
            from trackers import ByteTrackTracker
        except ImportError as error:
            hint = "pip install 'autodistill-rfdetr-seg[video]'"
            raise DependencyError("Tracking needs the package trackers.", hint) from error
        # What is shown is sure enough to be followed.
        self._tracker = ByteTrackTracker(
            frame_rate=rate, track_activation_threshold=confidence, high_conf_det_threshold=confidence
        )

    def numbers(self, found: sv.Detections) -> list[int | None]:
        """The track of each detection, from 0; None where there is none yet."""
        import supervision as sv

        # Masks are not looked at, and copying them costs; the order may change on the way.
        data: dict[str, Any] = {"place": np.arange(len(found))}
        bare = sv.Detections(found.xyxy, confidence=found.confidence, class_id=found.class_id, data=data)
        seen = self._tracker.update(bare)
        numbers: list[int | None] = [None] * len(found)
        if len(seen) and seen.tracker_id is not None:
            for place, number in zip(seen.data["place"].tolist(), seen.tracker_id.tolist(), strict=True):
                numbers[place] = int(number) if number >= 0 else None
        return numbers


def _ahead(items: Iterator[Frame]) -> Generator[Frame, None, None]:
    """The items, made a few ahead in a thread of their own; what ends them there ends them here."""
    waiting: queue.Queue[Frame | BaseException | None] = queue.Queue(_AHEAD)
    ended = threading.Event()

    def put(item: Frame | BaseException | None) -> bool:
        while not ended.is_set():
            try:
                waiting.put(item, timeout=0.1)
                return True
            except queue.Full:
                continue
        return False

    def work() -> None:
        last: BaseException | None = None
        try:
            for item in items:
                if not put(item):
                    return
        except BaseException as error:  # noqa: BLE001 - it is raised where the frames are used
            last = error
        put(last)

    thread = threading.Thread(target=work, name="decode", daemon=True)
    thread.start()
    try:
        while isinstance(item := waiting.get(), Frame):
            yield item
        if item is not None:
            raise item
    finally:
        ended.set()
        thread.join()
