"""Predicts a video: decodes, predicts and draws at the same time; writes an annotated video and a line per frame."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..core.config import DISPLAY_CONFIDENCE
from ..core.errors import DataError, OutputExistsError
from ..core.plain_text import counted
from ..core.types import Classes
from ..images.video_frames import Frame, frames, timing_of
from ..runtime.prediction_rules import PredictionRules
from ..system.file_hash import file_sha256
from ..system.files import check_apart, check_output, fingerprint, read_json, write_json
from ..system.read_ahead import iterate_ahead
from ..targets.inference.class_confidence import Confidence
from ..targets.inference.ruled_prediction import predict_with_rules, prediction_rules, warn_of_large_tiles
from .frame_output import FrameCounts, FrameWriter, frame_line
from .prediction_journal import model_identity
from .tracking import Tracker

if TYPE_CHECKING:
    import supervision as sv

_AHEAD = 8
_RECORD = ".video.json"
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class PredictedVideo:
    """The result of a video's prediction: number of frames, instances by class over all frames, and tracks by class
    (None without tracking); `video` and `lines` are the files written."""

    frames: int
    counts: dict[str, int]
    tracks: dict[str, int] | None
    video: Path
    lines: Path


def predict_video(
    model: str | Path | Any,
    source: str | Path,
    output: str | Path,
    *,
    confidence: Confidence = DISPLAY_CONFIDENCE,
    thresholds: str | Path | None = None,
    track: bool = False,
    batch_size: int = 1,
    device: str = "auto",
    resume: bool = False,
    overwrite: bool = False,
    progress: bool = True,
    **options: Any,
) -> PredictedVideo:
    """Finds instances in every frame of a video.

    `model` is the path of a run, checkpoint or export, or anything with `class_names` and `predict_batch`.
    `confidence`, `thresholds` and `options` are as for `predict_images`.

    Writes `output/NAME.mp4` with the instances drawn, and `output/NAME.jsonl`, a line for each frame: `frame` (index
    from 0), `seconds` (the frame's own time, since the first frame), `instances` (`class`, `class_id`, `score`,
    `bbox_xywh`, `segmentation` as COCO RLE, and, with `track`, `track_id`, null until ByteTrack is sure of it). Frames
    keep their times, so the video is as long as `source`; they are turned upright, and an odd side becomes one pixel
    longer. Both files grow frame by frame, so after an interruption they can be used up to there.
    `output/NAME.video.json` records which video and model they come from. With `resume` several videos may share a
    folder: a video that the same model has finished is not predicted again; an unfinished one is started over.

    Raises:
        MissingInputError: there is no such video or model.
        OutputExistsError: `output` is not empty, or is the video's own folder, or has another video of that name.
        UsageError, UnknownNameError: a confidence or an option is wrong, as for `predict_images`.
        DataError: the video cannot be read, or breaks off; the frames before that are written.
        DependencyError: PyAV, or for `track` the package `trackers` (2.6 or later), is not installed.
    """
    from ..targets import load_artifact

    source, output = Path(source), Path(output)
    timing = timing_of(source)
    check_apart(output, source)
    check_output(output, resume=resume, overwrite=overwrite)
    if isinstance(model, str | Path):
        model = load_artifact(model, device)
    classes = Classes(tuple(model.class_names))
    rules = prediction_rules(model, confidence, options, thresholds)
    tracker = Tracker(rules.lowest_confidence(), timing.step) if track else None
    video_output = _VideoOutput(output, source, fingerprint(model_identity(model, classes, rules), track))
    removed: Counter[str] = Counter()
    if (finished := video_output.claim(resume)) is not None:
        _log.info("%s is already predicted", source)
        return finished
    counts = FrameCounts(classes, tracker)
    files = (video_output.video, video_output.lines)
    with ExitStack() as stack:
        decoded = stack.enter_context(closing(iterate_ahead(frames(source, "Predicting", progress), _AHEAD)))
        writer = stack.enter_context(FrameWriter(*files, classes, track, 1 / timing.step, timing.tick))
        for batch in _batches(decoded, batch_size):
            if batch[0].number == 0:
                warn_of_large_tiles(rules, batch[0].pixels.shape, str(source))
            for frame, found in zip(batch, _predict_batch(model, batch, rules, removed), strict=True):
                instances = counts.add(found, frame.pixels.shape, frame.seconds)
                about = {"frame": frame.number, "seconds": round(float(frame.seconds), 6)}
                line = frame_line(about, instances, classes, track)
                writer.write(frame.pixels, frame.seconds, frame.duration, line, instances)
    if removed["duplicate"]:
        _log.info("%s removed", counted(removed["duplicate"], "duplicate instance"))
    return video_output.finish(counts.frames, counts.counts, counts.tracks)


def _batches(frames: Iterator[Frame], size: int) -> Iterator[list[Frame]]:
    """The frames in batches of `size`; where the video breaks off, after the frames before that."""
    ended, broken = False, None
    while not ended:
        batch: list[Frame] = []
        try:
            while len(batch) < size:
                batch.append(next(frames))
        except StopIteration:
            ended = True
        except DataError as error:
            ended, broken = True, error
        if batch:
            yield batch
    if broken is not None:
        raise broken


def _predict_batch(
    model: Any, batch: Sequence[Frame], rules: PredictionRules, removed: Counter[str]
) -> list[sv.Detections]:
    # torch warns of arrays that cannot be written to.
    return predict_with_rules(model, [np.array(frame.pixels) for frame in batch], rules, removed)


class _VideoOutput:
    """The files written for one video, and `NAME.video.json`, the record of which video and model they come from."""

    def __init__(self, output: Path, source: Path, made_by: str) -> None:
        self.video, self.lines, self._file = (output / f"{source.stem}{end}" for end in (".mp4", ".jsonl", _RECORD))
        self._origin = {"source": source.name, "source_sha256": file_sha256(source), "made_by": made_by}

    def claim(self, resume: bool) -> PredictedVideo | None:
        """Removes earlier files; with `resume`, returns the result instead where the video is already finished.

        Raises:
            OutputExistsError: an existing file has no record, or, with `resume`, is of another video.
        """
        existing = [path for path in (self.video, self.lines) if path.exists()]
        record = self._record()
        if existing and record is None:
            raise OutputExistsError(
                f"{existing[0]} was not written by a prediction, so it is not replaced.", "Give another --output."
            )
        if resume and record is not None:
            if record.get("source_sha256") != self._origin["source_sha256"]:
                raise OutputExistsError(f"{self.video} is of another video of that name.", "Give another --output.")
            if len(existing) == 2 and record.items() >= self._origin.items() and record.get("frames") is not None:
                return PredictedVideo(record["frames"], record["counts"], record["tracks"], self.video, self.lines)
            _log.info("%s is predicted from the start", self._origin["source"])
        for path in existing:
            path.unlink()  # not truncated: it may be a link to another file
        write_json(self._file, self._origin)
        return None

    def finish(self, frames: int, counts: dict[str, int], tracks: dict[str, int] | None) -> PredictedVideo:
        """Records the result, and returns it."""
        write_json(self._file, {**self._origin, "frames": frames, "counts": counts, "tracks": tracks})
        return PredictedVideo(frames, counts, tracks, self.video, self.lines)

    def _record(self) -> dict[str, Any] | None:
        """The record; None where there is none, or this package did not write it."""
        try:
            record = read_json(self._file) if self._file.is_file() else None
        except DataError:
            return None
        return record if isinstance(record, dict) and "made_by" in record else None
