"""Calibrates the confidence thresholds of a run for a target precision, and saves them for the next build."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ..core.config import TARGET_PRECISION, PipelineConfig
from ..evaluation.label_calibration import Calibration, calibrate_labels
from ..labels.base_source import source_of
from ..labels.label_store import LabelStore
from ..system.config_files import read_run_config, save_run_config
from ..system.files import write_json
from ..system.run_folder import RunFolder
from .gold_labels import read_gold_labels

CALIBRATION_FILE = "calibration.json"


@dataclass(frozen=True)
class RunCalibration:
    """The calibration of a run, and for each class that is to be dropped the number of labels with score 1, which no
    threshold drops."""

    calibration: Calibration
    not_droppable: dict[str, int]


def calibrate(
    run: str | Path,
    gold: Sequence[str | Path] = (),
    *,
    target_precision: float = TARGET_PRECISION,
    drop_failing: bool = False,
    crowds: Literal["ignore", "objects"] | None = None,
    save: bool = True,
    progress: bool = True,
) -> RunCalibration:
    """Chooses each class's confidence threshold so that its labels in the run's other images are right in at least
    `target_precision` of the cases, which holds with probability 95% for each class by itself.

    The gold images must be drawn like the run's images, and have every object annotated. With `save` the thresholds are
    written to `pipeline.yaml`, where the next `build` reads them, and all numbers to `evaluation/calibration.json`. A
    class that cannot keep the promise has its old threshold, or 1 with `drop_failing`; the result names it. Without
    `gold` the gold sets of the run's configuration are taken. `crowds` replaces `evaluation.crowds`.

    Raises:
        UsageError: the target is not above 0 and below 1, or no gold set is given.
        MissingInputError, DataError: the run or a gold set is missing or wrong.
    """
    folder = RunFolder(Path(run))
    config = read_run_config(folder, {} if crowds is None else {"evaluation.crowds": crowds})
    found = read_gold_labels(config, folder, gold, progress=progress)
    result = calibrate_labels(
        found.truth,
        found.labels,
        config.refine,
        target_precision,
        future_images=found.other_images or None,
        drop_failing=drop_failing,
        not_annotated=found.not_annotated,
    )
    if save:
        write_json(folder.evaluation / CALIBRATION_FILE, result.as_json())
        saved = read_run_config(folder)
        refine = saved.refine.model_copy(update={"confidence": result.confidence})
        save_run_config(folder, saved.model_copy(update={"refine": refine}))
    return RunCalibration(result, _certain_labels(config, folder, result) if drop_failing else {})


def _certain_labels(config: PipelineConfig, run: RunFolder, result: Calibration) -> dict[str, int]:
    source = source_of(config)
    store = LabelStore(run.labels)
    counts: dict[str, int] = {}
    for row in store.read_all(store.keys(source.provenance.fingerprint)):
        for one in row.with_classes(source.classes).instances:
            name = source.classes.names[one.class_index]
            if name in result.failing and one.score >= 1:
                counts[name] = counts.get(name, 0) + 1
    return counts
