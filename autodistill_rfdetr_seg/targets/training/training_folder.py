"""A training folder: which files a training leaves in it, and when it may be written to.

A training works in the subfolder `unfinished`. The files of an earlier training stay until the new model is complete
and replaces them; then the files that the earlier `run.json` lists are removed, and no others.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ...core.config import TargetConfig
from ...core.errors import DataError, MissingInputError, OutputExistsError
from ...core.types import Run
from ...system.file_hash import file_sha256
from ...system.files import check_output, read_json, sweep, write_json
from ...system.locks import LOCK, locked
from ...system.versions import versions
from .. import vendor
from . import checkpoint_provenance
from .safe_writes import METRICS

RUN_FILE = "run.json"
UNFINISHED = "unfinished"
# The files of a training whose record does not list them, and those that are second copies of the weights.
_UNLISTED_FILES = (vendor.CHECKPOINT, METRICS, "hparams.yaml", "training_config.json")
_WEIGHT_COPIES = ("checkpoint_best_ema.pth", "checkpoint_best_regular.pth", "last_ema.pth", vendor.LAST)

_log = logging.getLogger(__name__)


def checkpoint_of(model: str | os.PathLike[str]) -> Path:
    """The checkpoint in a run's folder (or in its `training` folder); a file is returned as it is.

    Raises:
        MissingInputError: there is no checkpoint.
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
        MissingInputError: there is no finished run.
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
    """The class names in the record beside a checkpoint; None without a record, or where it is of another file."""
    if not (checkpoint.parent / RUN_FILE).is_file():
        return None
    run = read_run(checkpoint.parent)
    if run.checkpoint != checkpoint or run.checkpoint_sha256 != file_sha256(checkpoint):
        return None
    return tuple(read_json(checkpoint.parent / RUN_FILE)["class_names"])


def write_record(folder: Path, config: TargetConfig, dataset_fingerprint: str) -> None:
    """Writes what made the checkpoint into the checkpoint, and into `run.json` beside it."""
    best = folder / vendor.CHECKPOINT
    provenance: Mapping[str, Any] = {
        "config": config.model_dump(mode="json", fallback=str),
        "dataset_fingerprint": dataset_fingerprint,
        "class_names": list(checkpoint_provenance.checkpoint_classes(best) or ()),
        "versions": versions(),
    }
    checkpoint_provenance.add_to_checkpoint(best, provenance)
    files = {"checkpoint": vendor.CHECKPOINT, "checkpoint_sha256": file_sha256(best), "files": _result_files(folder)}
    write_json(folder / RUN_FILE, {**provenance, **files})


def check_folder(folder: Path, resume: str | os.PathLike[str] | bool | None, overwrite: bool) -> None:
    """Refuses a folder that must not be trained in.

    Raises:
        OutputExistsError: it holds a finished training or other files, and `overwrite` is not set.
        MissingInputError: there is no checkpoint `resume`.
    """
    finish_publishing(folder)
    if resume and resume is not True and not Path(resume).is_file():
        raise MissingInputError(f"There is no checkpoint {Path(resume)} to resume from.")
    check_output(folder, resume=bool(resume), overwrite=overwrite)
    work = folder / UNFINISHED
    if work.exists() and not (work.is_dir() and ((work / LOCK).exists() or (work / vendor.LAST).is_file())):
        raise OutputExistsError(
            f"{work} exists and is not from a training, which needs that folder.", "Give another --output."
        )
    _refuse_finished(folder, resume, overwrite)


def _refuse_finished(folder: Path, resume: str | os.PathLike[str] | bool | None, overwrite: bool) -> None:
    work = folder / UNFINISHED
    if overwrite or (resume and _is_inside(_resume_checkpoint(folder, resume), work)):
        return
    if (folder / RUN_FILE).is_file():
        best = str(folder / vendor.CHECKPOINT)
        raise OutputExistsError(
            f"The training in {folder} is finished.", f"Train on with RFDETRSeg.from_checkpoint({best!r})."
        )
    if (folder / vendor.CHECKPOINT).exists():
        raise OutputExistsError(
            f"{folder} holds a {vendor.CHECKPOINT} without a record.",
            "Give another --output, or --overwrite to replace it.",
        )


@contextlib.contextmanager
def claim_training_folder(
    folder: Path, resume: str | os.PathLike[str] | bool | None, overwrite: bool
) -> Iterator[Path | None]:
    """Locks `folder / UNFINISHED` to train in; yields the checkpoint to resume from, None to start from the beginning.

    An error before the first complete epoch leaves everything as it was.

    Raises:
        DataError: another process trains there.
        OutputExistsError, MissingInputError: as `check_folder`.
    """
    check_folder(folder, resume, overwrite)
    work = folder / UNFINISHED
    with locked(work):
        # Another process may have finished meanwhile.
        _refuse_finished(folder, resume, overwrite)
        sweep(work)
        last = _resume_checkpoint(folder, resume)
        aside = None if _is_inside(last, work) else _set_aside(work)
        if last is not None:
            _log.info("Training resumes from %s.", last)
        try:
            yield last
        except BaseException:
            if not (work / vendor.LAST).is_file():
                _empty(work)
                if aside is not None:
                    _move(aside, work)
                    aside.rmdir()
                else:
                    shutil.rmtree(work)
                    with contextlib.suppress(OSError):  # other files are in it
                        folder.rmdir()
            raise


def publish(folder: Path) -> None:
    """Moves a recorded training from `folder / UNFINISHED` into `folder`, and removes the files of an earlier one.

    The caller holds the lock. If it is killed halfway, `finish_publishing` does the rest.
    """
    work = folder / UNFINISHED
    for name in _WEIGHT_COPIES:
        (work / name).unlink(missing_ok=True)
    start = read_json(work / RUN_FILE)["config"]["model"].get("pretrain_weights")
    start_weights = None if start is None else Path(start).resolve()
    for name in _take_earlier_files(folder):
        path = folder / name
        # Anyone can edit a record: it must not remove files outside its folder.
        if (
            _is_inside(path.parent / "x", folder)
            and path.resolve() != start_weights
            and (path.is_file() or path.is_symlink())
        ):
            path.unlink()
    _move(work, folder, except_for=RUN_FILE)
    (work / RUN_FILE).replace(folder / RUN_FILE)
    shutil.rmtree(work)
    for aside in _kept_trainings(folder):
        if not _is_inside(start_weights, aside):
            shutil.rmtree(aside)


def finish_publishing(folder: Path) -> None:
    """Does the rest of a `publish` that was killed; without one, does nothing."""
    work = folder / UNFINISHED
    if (work / RUN_FILE).is_file():
        with locked(work):
            publish(folder)


def _take_earlier_files(folder: Path) -> list[str]:
    """The files of the finished training in a folder by its record, which is removed; without a record, none."""
    file = folder / RUN_FILE
    if not file.is_file():
        return []
    listed = read_json(file).get("files", _UNLISTED_FILES)
    file.unlink()
    return [name for name in listed if isinstance(name, str)]


def _resume_checkpoint(folder: Path, resume: str | os.PathLike[str] | bool | None) -> Path | None:
    if resume and resume is not True:
        return Path(resume)
    last = folder / UNFINISHED / vendor.LAST
    return last if resume and last.is_file() else None


def _is_inside(path: Path | None, folder: Path) -> bool:
    return path is not None and path.resolve().is_relative_to(folder.resolve())


def _result_files(folder: Path) -> list[str]:
    """The relative names of a training's files, except hidden ones, copies of the weights and the record."""
    paths = (path for path in folder.rglob("*") if path.is_symlink() or not path.is_dir())
    names = {path.relative_to(folder).as_posix() for path in paths}
    return sorted(name for name in names if not name.startswith(".") and name not in (*_WEIGHT_COPIES, RUN_FILE))


def _move(source: Path, target: Path, except_for: str = "") -> None:
    """Moves all files that are not hidden, one by one; folders that both have are merged."""
    for path in sorted(source.rglob("*")):
        name = path.relative_to(source)
        if (
            not name.as_posix().startswith(".")
            and name.as_posix() != except_for
            and (path.is_symlink() or not path.is_dir())
        ):
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            path.replace(target / name)
    _empty(source, except_for)


def _empty(folder: Path, except_for: str = "") -> None:
    """Removes everything that is not hidden."""
    for path in folder.iterdir():
        if not path.name.startswith(".") and path.name != except_for:
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()


def _kept_trainings(folder: Path) -> list[Path]:
    found = folder.glob(f"{UNFINISHED}.*")
    return [path for path in found if path.suffix[1:].isdecimal() and (path / vendor.LAST).is_file()]


def _set_aside(work: Path) -> Path | None:
    """Makes room for a new training. One that can be resumed is kept, in the folder that is returned."""
    if not (work / vendor.LAST).is_file():
        _empty(work)
        return None
    aside = work.with_name(
        f"{UNFINISHED}.{1 + max((int(p.suffix[1:]) for p in _kept_trainings(work.parent)), default=0)}"
    )
    _move(work, aside)
    _log.warning("An unfinished training of other data or options is kept in %s until this one is complete.", aside)
    return aside
