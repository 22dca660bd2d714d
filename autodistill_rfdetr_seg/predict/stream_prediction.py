"""Predicts a camera or a network stream: the newest frame, as soon as the model is ready for one."""

from __future__ import annotations

import logging
import re
import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from ..core.config import DISPLAY_CONFIDENCE
from ..core.errors import DataError, UsageError
from ..core.plain_text import counted
from ..core.types import Classes
from ..images.live_frames import LiveFrames, is_camera, public_name
from ..system.downloads import is_url
from ..system.files import check_output, claim_output, write_json
from ..targets.inference.class_confidence import Confidence
from ..targets.inference.ruled_prediction import predict_with_rules, prediction_rules, warn_of_large_tiles
from .frame_output import FrameCounts, FrameWriter, frame_line
from .tracking import Tracker

# Of the annotated video: a frame is shown until the next one, so the rate is only that of its clock.
_RATE, _TICK = Fraction(25), Fraction(1, 1000)
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class PredictedStream:
    """The result of a stream's prediction: `frames` were predicted and `dropped` were not, of `received`, in `seconds`.

    `counts` has the instances by class over all frames, `tracks` the tracks by class (None without tracking); `video`
    and `lines` are the files written, if any.
    """

    source: str
    frames: int
    received: int
    dropped: int
    seconds: float
    counts: dict[str, int]
    tracks: dict[str, int] | None
    video: Path | None
    lines: Path | None


def predict_stream(
    model: str | Path | Any,
    source: str,
    output: str | Path | None = None,
    *,
    allow_url: bool = False,
    confidence: Confidence = DISPLAY_CONFIDENCE,
    thresholds: str | Path | None = None,
    track: bool = False,
    timeout: float = 10.0,
    duration: float | None = None,
    device: str = "auto",
    overwrite: bool = False,
    progress: bool = True,
    on_frame: Callable[[Mapping[str, Any]], object] | None = None,
    **options: Any,
) -> PredictedStream:
    """Finds instances in the frames of a camera (`source` is its number) or a stream (its URL; needs `allow_url`).

    A frame is predicted when the model is ready; where frames arrive faster, the newest one counts, and the others are
    dropped and counted. It ends with the stream, after `duration` seconds, or with Ctrl-C; no frame for `timeout`
    seconds is an error. `confidence`, `thresholds` and `options` are as for `predict_images`.

    With `output` it writes `NAME.mp4` with the instances drawn and `NAME.jsonl`, a line for each predicted frame as
    `predict_video` writes it, with `dropped`, the number of frames dropped before it; both can be used up to the last
    frame at any time. At the end `NAME.json` has the result. `on_frame` is called with each line.

    Raises:
        UsageError: the URL is not allowed, a number or an option is wrong.
        DataError: the stream cannot be opened, froze, or broke off; what was predicted before is written.
        OutputExistsError: `output` is not empty.
        DependencyError: PyAV, or for `track` the package `trackers`, is not installed.
    """
    from tqdm import tqdm

    from ..targets import load_artifact

    if not is_camera(source) and not is_url(source):
        raise UsageError(f"{source} is neither the number of a camera nor a URL.", "Leave --stream out for files.")
    if not is_camera(source) and not allow_url:
        raise UsageError(f"{public_name(source)} is a URL.", "Add --allow-url to have it opened.")
    for name, value in (("timeout", timeout), ("duration", duration)):
        if value is not None and not value > 0:
            raise UsageError(f"The {name} is {value:g} seconds; it must be above 0.")
    output = None if output is None else Path(output)
    if output is not None:
        check_output(output, resume=False, overwrite=overwrite)
    if isinstance(model, str | Path):
        model = load_artifact(model, device)
    classes = Classes(tuple(model.class_names))
    rules = prediction_rules(model, confidence, options, thresholds)
    counts = FrameCounts(classes, Tracker(rules.lowest_confidence(), 1 / _RATE) if track else None)
    removed: Counter[str] = Counter()
    # Opened before anything is written: it may not be there.
    live = LiveFrames(source, timeout)
    video, lines, record = None, None, None
    with ExitStack() as stack:
        writer = None
        if output is not None:
            claim_output(output, resume=False, overwrite=overwrite)
            video, lines, record = (output / f"{_file_name(live.name)}{end}" for end in (".mp4", ".jsonl", ".json"))
            record.unlink(missing_ok=True)
            writer = stack.enter_context(FrameWriter(video, lines, classes, track, _RATE, _TICK))
        frames = stack.enter_context(live)
        bar = stack.enter_context(tqdm(desc="Predicting", unit="frame", disable=not progress))
        seconds, shape = Fraction(0), None
        began = time.monotonic()

        def result() -> PredictedStream:
            return PredictedStream(
                live.name,
                counts.frames,
                live.received,
                live.dropped,
                float(seconds),
                counts.counts,
                counts.tracks,
                video,
                lines,
            )

        try:
            for frame in frames:
                seconds = frame.seconds
                if shape not in (None, frame.pixels.shape):
                    raise DataError(f"{live.name} changed the size of its frames.", "Start again to go on.")
                if shape is None:
                    warn_of_large_tiles(rules, frame.pixels.shape, live.name)
                shape = frame.pixels.shape
                (found,) = predict_with_rules(model, [frame.pixels], rules, removed)
                instances = counts.add(found, shape, seconds)
                about = {"frame": frame.number, "seconds": round(float(seconds), 3), "dropped": frame.dropped}
                line = frame_line(about, instances, classes, track)
                if writer is not None:
                    writer.write(frame.pixels, seconds, None, line, instances)
                if on_frame is not None:
                    on_frame(line)
                bar.update()
                bar.set_postfix(dropped=live.dropped, refresh=False)
                if duration is not None and time.monotonic() - began >= duration:
                    break
        finally:
            if record is not None:
                write_json(record, {**asdict(result()), "video": video and video.name, "lines": lines and lines.name})
    if removed["duplicate"]:
        _log.info("%s removed", counted(removed["duplicate"], "duplicate instance"))
    return result()


def _file_name(name: str) -> str:
    """A source's name as the name of a file."""
    return re.sub(r"[^\w.-]+", "-", name.partition("://")[2] or name).strip("-.")[-100:] or "stream"
