"""A training folder: what a run leaves in it, and when it may be written to.

A training works in `unfinished` inside it. What an earlier one left stays as it is until the new model is whole and
takes its place; then the files that the earlier one's `run.json` lists go, and no other.
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
from ...system.files import check_output, read_json, write_json
from ...system.locks import LOCK, locked
from ...system.versions import versions
from .. import vendor
from . import checkpoint_provenance as provenance

RUN_FILE = "run.json"
UNFINISHED = "unfinished"
# What a training leaves whose record does not list it, and what of it is a second copy of the weights.
_LEFT = (vendor.CHECKPOINT, "metrics.csv", "hparams.yaml", "training_config.json")
_COPIES = ("checkpoint_best_ema.pth", "checkpoint_best_regular.pth", "last_ema.pth", vendor.LAST)

_log = logging.getLogger(__name__)


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


def record(folder: Path, config: TargetConfig, dataset_fingerprint: str) -> None:
    """Writes what made the checkpoint into it, and into `run.json` beside it."""
    best = folder / vendor.CHECKPOINT
    made: Mapping[str, Any] = {
        "config": config.model_dump(mode="json", fallback=str),
        "dataset_fingerprint": dataset_fingerprint,
        "class_names": list(provenance.checkpoint_classes(best) or ()),
        "versions": versions(),
    }
    provenance.add_to_checkpoint(best, made)
    told = {"checkpoint": vendor.CHECKPOINT, "checkpoint_sha256": file_sha256(best), "files": _files(folder)}
    write_json(folder / RUN_FILE, {**made, **told})


def check_folder(folder: Path, resume: str | os.PathLike[str] | bool | None, overwrite: bool) -> None:
    """Refuses a folder that is not to be trained in.

    Raises:
        OutputExistsError: it holds a finished training or files of others, and `overwrite` is not set.
        MissingInputError: there is no checkpoint `resume`.
    """
    complete(folder)
    if resume and resume is not True and not Path(resume).is_file():
        raise MissingInputError(f"There is no checkpoint {Path(resume)} to resume from.")
    check_output(folder, resume=bool(resume), overwrite=overwrite)
    work = folder / UNFINISHED
    if work.exists() and not (work.is_dir() and ((work / LOCK).exists() or (work / vendor.LAST).is_file())):
        raise OutputExistsError(f"{work} is no training's, and would be in its way.", "Give another --output.")
    _refuse_finished(folder, resume, overwrite)


def _refuse_finished(folder: Path, resume: str | os.PathLike[str] | bool | None, overwrite: bool) -> None:
    work = folder / UNFINISHED
    if overwrite or (resume and _inside(_last(folder, resume), work)):
        return
    if (folder / RUN_FILE).is_file():
        best = str(folder / vendor.CHECKPOINT)
        raise OutputExistsError(
            f"The training in {folder} is finished.", f"Train on with RFDETRSeg.from_checkpoint({best!r})."
        )
    if (folder / vendor.CHECKPOINT).exists():
        raise OutputExistsError(
            f"{folder} holds a {vendor.CHECKPOINT} of which nothing is recorded.",
            "Give another --output, or --overwrite to replace it.",
        )


@contextlib.contextmanager
def claimed(folder: Path, resume: str | os.PathLike[str] | bool | None, overwrite: bool) -> Iterator[Path | None]:
    """Holds `folder / UNFINISHED`, alone, to train in; gives the checkpoint to go on from, None to start anew.

    An error before the first whole epoch leaves everything as it was.

    Raises:
        DataError: another process trains there.
        OutputExistsError, MissingInputError: as `check_folder`.
    """
    check_folder(folder, resume, overwrite)
    work = folder / UNFINISHED
    with locked(work):
        # What another has finished meanwhile.
        _refuse_finished(folder, resume, overwrite)
        last = _last(folder, resume)
        aside = None if _inside(last, work) else _set_aside(work)
        if last is not None:
            _log.info("Training goes on from %s.", last)
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
                    with contextlib.suppress(OSError):  # others' files are in it
                        folder.rmdir()
            raise


def publish(folder: Path) -> None:
    """Puts what was trained, recorded in `folder / UNFINISHED`, into `folder`; an earlier training's files go.

    For the holder of the lock. Killed halfway, it is made good by `complete`.
    """
    work = folder / UNFINISHED
    for name in _COPIES:
        (work / name).unlink(missing_ok=True)
    start = read_json(work / RUN_FILE)["config"]["model"].get("pretrain_weights")
    kept = None if start is None else Path(start).resolve()
    for name in _earlier(folder):
        path = folder / name
        # A record is a file like any other: it has no say beyond its folder.
        if _inside(path.parent / "x", folder) and path.resolve() != kept and (path.is_file() or path.is_symlink()):
            path.unlink()
    _move(work, folder, but=RUN_FILE)
    (work / RUN_FILE).replace(folder / RUN_FILE)
    shutil.rmtree(work)
    for aside in _asides(folder):
        if not _inside(kept, aside):
            shutil.rmtree(aside)


def complete(folder: Path) -> None:
    """Ends a `publish` that was killed; does nothing where there was none."""
    work = folder / UNFINISHED
    if (work / RUN_FILE).is_file():
        with locked(work):
            publish(folder)


def _earlier(folder: Path) -> list[str]:
    """What the finished training in a folder left, by its record, which is removed: without one nothing is ours."""
    file = folder / RUN_FILE
    if not file.is_file():
        return []
    listed = read_json(file).get("files", _LEFT)
    file.unlink()
    return [name for name in listed if isinstance(name, str)]


def _last(folder: Path, resume: str | os.PathLike[str] | bool | None) -> Path | None:
    if resume and resume is not True:
        return Path(resume)
    last = folder / UNFINISHED / vendor.LAST
    return last if resume and last.is_file() else None


def _inside(path: Path | None, folder: Path) -> bool:
    return path is not None and path.resolve().is_relative_to(folder.resolve())


def _files(folder: Path) -> list[str]:
    """The files that a training leaves, relative: neither hidden ones nor copies of the weights, nor its record."""
    paths = (path for path in folder.rglob("*") if path.is_symlink() or not path.is_dir())
    names = {path.relative_to(folder).as_posix() for path in paths}
    return sorted(name for name in names if not name.startswith(".") and name not in (*_COPIES, RUN_FILE))


def _move(source: Path, target: Path, but: str = "") -> None:
    """Moves all that is not hidden, file by file: a folder that both have is joined."""
    for path in sorted(source.rglob("*")):
        name = path.relative_to(source)
        if not name.as_posix().startswith(".") and name.as_posix() != but and (path.is_symlink() or not path.is_dir()):
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            path.replace(target / name)
    _empty(source, but)


def _empty(folder: Path, but: str = "") -> None:
    """Removes all that is not hidden."""
    for path in folder.iterdir():
        if not path.name.startswith(".") and path.name != but:
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()


def _asides(folder: Path) -> list[Path]:
    found = folder.glob(f"{UNFINISHED}.*")
    return [path for path in found if path.suffix[1:].isdecimal() and (path / vendor.LAST).is_file()]


def _set_aside(work: Path) -> Path | None:
    """Makes room for a new training; one that has whole epochs to go on from is kept, in the folder that is told."""
    if not (work / vendor.LAST).is_file():
        _empty(work)
        return None
    aside = work.with_name(f"{UNFINISHED}.{1 + max((int(p.suffix[1:]) for p in _asides(work.parent)), default=0)}")
    _move(work, aside)
    _log.warning("An unfinished training of other data or options is kept in %s until this one is whole.", aside)
    return aside
