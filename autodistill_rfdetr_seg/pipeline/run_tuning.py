"""Tunes the rules of a run's build on a gold set, and saves them for the next build."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from ..core.types import Classes
from ..evaluation.label_tuning import LabelTuning, tune_labels
from ..system.config_files import read_run_config, save_run_config
from ..system.files import write_json
from ..system.run_folder import RunFolder
from .gold_labels import read_gold_labels

TUNING_FILE = "tuning.json"


def tune(
    run: str | Path,
    gold: Sequence[str | Path] = (),
    *,
    crowds: Literal["ignore", "objects"] | None = None,
    save: bool = True,
    progress: bool = True,
) -> LabelTuning:
    """Chooses confidence, NMS, area, mask cleaning and stability rules by the F1 of the labels on a gold set.

    A change is taken only if its gain in images that it was not chosen on is above chance. With `save` the rules are
    written to `pipeline.yaml`, where the next `build` reads them, and all numbers to `evaluation/tuning.json`. The base
    is asked only for gold images that are not in the run. Without `gold` the gold sets of the run's configuration are
    taken. `crowds` replaces `evaluation.crowds`.

    Raises:
        UsageError: no gold set is given.
        MissingInputError, DataError: the run or a gold set is missing or wrong.
    """
    from tqdm import tqdm

    folder = RunFolder(Path(run))
    config = read_run_config(folder, {} if crowds is None else {"evaluation.crowds": crowds})
    found = read_gold_labels(config, folder, gold, progress=progress)
    with tqdm(desc="Trying rules", unit="try", disable=not progress) as bar:
        result = tune_labels(
            found.truth,
            found.labels,
            config.refine,
            prompts=Classes.from_ontology(config.ontology).prompts,
            not_annotated=found.not_annotated,
            on_count=bar.update,
        )
    if save:
        write_json(folder.evaluation / TUNING_FILE, result.as_json())
        if result.changed:
            save_run_config(folder, read_run_config(folder).model_copy(update={"refine": result.rules}))
    return result
