"""Predicts the images of a folder that is being filled, each once it is whole."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from ..core.config import DISPLAY_CONFIDENCE, MAX_MEGAPIXELS, check_megapixels
from ..core.errors import MissingInputError, UsageError
from ..images.image_discovery import discover, relative_paths
from ..system.files import check_apart, check_output
from ..targets.inference.class_confidence import Confidence
from .image_prediction import FolderPrediction, PredictedImages
from .prediction_journal import PICTURES

# Seconds between two looks at the folder. A file that has not changed in between is whole.
_PAUSE = 0.5


def watch_folder(
    model: str | Path | Any,
    source: str | Path,
    output: str | Path,
    *,
    confidence: Confidence = DISPLAY_CONFIDENCE,
    thresholds: str | Path | None = None,
    duration: float | None = None,
    device: str = "auto",
    resume: bool = False,
    overwrite: bool = False,
    max_megapixels: float = MAX_MEGAPIXELS,
    progress: bool = True,
    **options: Any,
) -> PredictedImages:
    """Predicts the images of a folder, and those that come into it, until `duration` seconds are over or Ctrl-C.

    Every image is predicted once, when its file has stopped growing, and again if its file changes. It writes what
    `predict_images` writes, whose arguments it has; `predictions.json` comes at the end, also after Ctrl-C.

    Raises:
        As `predict_images`; MissingInputError: there is no such folder. It may be empty.
        UsageError: `duration` is not above 0.
    """
    from tqdm import tqdm

    check_megapixels(max_megapixels)
    if duration is not None and not duration > 0:
        raise UsageError(f"The duration is {duration:g} seconds; it must be above 0.")
    source, output = Path(source), Path(output)
    if not source.is_dir():
        raise MissingInputError(f"There is no folder {source}.", "Give the folder that images come into.")
    check_apart(output, source, PICTURES)
    check_output(output, resume=resume, overwrite=overwrite)
    began = time.monotonic()
    with FolderPrediction(
        model, output, confidence, thresholds, device, options, max_megapixels, resume, overwrite
    ) as prediction:
        seen: dict[str, tuple[int, int]] = {}
        done: dict[str, tuple[int, int]] = {}
        try:
            with tqdm(desc="Watching", unit="image", disable=not progress) as bar:
                while duration is None or time.monotonic() - began < duration:
                    states = _states(source)
                    whole = [name for name, state in states.items() if seen.get(name) == state != done.get(name)]
                    seen = states
                    paths = [(source / name, name) for name in whole]
                    todo = prediction.not_yet_done(paths)
                    done |= {name: states[name] for name in whole}
                    for _ in prediction.predict(todo):
                        bar.update()
                    if not todo:
                        time.sleep(_PAUSE)
        finally:
            result = prediction.finish_all()
    return result


def _states(folder: Path) -> dict[str, tuple[int, int]]:
    """Size and time of every image file in the folder, by name."""
    try:
        found = relative_paths(discover(folder), folder)
    except MissingInputError:
        return {}
    states = {}
    for path, name in found:
        try:
            stat = path.stat()
        except OSError:
            continue
        states[name] = (stat.st_size, stat.st_mtime_ns)
    return states
