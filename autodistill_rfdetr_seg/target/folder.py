"""A training folder: what a run leaves in it, and when it may be written to."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..config import TargetConfig
from ..errors import DataError, MissingInputError, OutputExistsError
from ..files import claim_output, read_json, write_json
from ..images import file_sha256
from ..records import Run
from ..versions import versions
from . import provenance, vendor

RUN_FILE = "run.json"
# What rfdetr and Lightning write into an output folder, and what of it is a second copy of the weights.
_WRITTEN = ("*.ckpt", "*.pth", "metrics.csv", "hparams.yaml", "training_config.json", "events.out.tfevents.*")
_COPIES = ("checkpoint_best_ema.pth", "checkpoint_best_regular.pth", "last_ema.pth", vendor.LAST)


def checkpoint_of(model: str | os.PathLike[str]) -> Path:
    """The checkpoint of a run's folder (or of its `training`), or the file itself.

    Raises:
        MissingInputError: there is none.
    """
    model = Path(model)
    if model.is_file():
        return model
    for folder in (model / "training", model):
        if (folder / vendor.CHECKPOINT).is_file():
            return folder / vendor.CHECKPOINT
    raise MissingInputError(f"There is no checkpoint in {model}.", "Train first, or give the checkpoint's file.")


def read_run(folder: str | os.PathLike[str]) -> Run:
    """The finished run in a training folder.

    Raises:
        MissingInputError: there is none.
        DataError: its `run.json` is damaged.
    """
    folder = Path(folder)
    file = folder / RUN_FILE
    if not file.is_file():
        raise MissingInputError(f"There is no finished training run in {folder}.")
    data = read_json(file)
    try:
        return Run(
            root=folder,
            config=data["config"],
            dataset_fingerprint=data["dataset_fingerprint"],
            versions=data["versions"],
            checkpoint=folder / data["checkpoint"],
            checkpoint_sha256=data["checkpoint_sha256"],
        )
    except (KeyError, TypeError) as error:
        raise DataError(f"{file} is not the record of a training run ({error!r}).") from error


def read_class_names(checkpoint: Path) -> tuple[str, ...] | None:
    """The class names that the record beside a checkpoint holds; None where there is none, or it is of another file."""
    if not (checkpoint.parent / RUN_FILE).is_file():
        return None
    run = read_run(checkpoint.parent)
    if run.checkpoint != checkpoint or run.checkpoint_sha256 != file_sha256(checkpoint):
        return None
    return tuple(read_json(checkpoint.parent / RUN_FILE)["class_names"])


def record(folder: Path, config: TargetConfig, dataset_fingerprint: str) -> Run:
    """Writes what made the checkpoint into it, and into `run.json` beside it; reads that back."""
    best = folder / vendor.CHECKPOINT
    made: Mapping[str, Any] = {
        "config": config.model_dump(mode="json", fallback=str),
        "dataset_fingerprint": dataset_fingerprint,
        "class_names": list(provenance.checkpoint_classes(best) or ()),
        "versions": versions(),
    }
    provenance.add_to_checkpoint(best, made)
    write_json(folder / RUN_FILE, {**made, "checkpoint": vendor.CHECKPOINT, "checkpoint_sha256": file_sha256(best)})
    return read_run(folder)


def prepare_output(folder: Path, resume: str | os.PathLike[str] | bool | None, overwrite: bool) -> Path | None:
    """The checkpoint to go on from, None to start anew; refuses a folder that holds something."""
    if resume and resume is not True:
        last = Path(resume)
        if not last.is_file():
            raise MissingInputError(f"There is no checkpoint {last} to resume from.")
        folder.mkdir(parents=True, exist_ok=True)
        return last
    claim_output(folder, resume=bool(resume), overwrite=overwrite)
    if resume:
        if (folder / RUN_FILE).is_file():
            best = str(folder / vendor.CHECKPOINT)
            raise OutputExistsError(
                f"The training in {folder} is finished.", f"Train on with RFDETRSeg.from_checkpoint({best!r})."
            )
        if (folder / vendor.LAST).is_file():
            return folder / vendor.LAST
    # rfdetr would take an old best checkpoint for its own where the new run's mask AP stays 0.
    for pattern in (*_WRITTEN, RUN_FILE):
        for path in folder.glob(pattern):
            path.unlink()
    return None


def remove_copies(folder: Path) -> None:
    """Removes the other copies of the weights that rfdetr leaves beside the best."""
    for name in _COPIES:
        (folder / name).unlink(missing_ok=True)
