"""The record of an export, `export.json`: which files it has, and what a runner must know of the model."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from ...core.errors import DataError, MissingInputError
from ...system.file_hash import file_sha256
from ...system.files import fingerprint, read_json
from ..training.training_folder import checkpoint_of

EXPORT_FILE = "export.json"
_MODEL_KEYS = {"class_names", "slots", "num_select", "input_size", "batch_size", "mean", "std"}


def export_folder(path: Path) -> Path | None:
    """The folder of the export that `path` names, a folder or one of its files; None where it is not an export."""
    if path.is_dir() and (path / EXPORT_FILE).is_file():
        return path
    if path.parent.joinpath(EXPORT_FILE).is_file() and path.name in read_export(path.parent)["files"]:
        return path.parent
    return None


def read_export(folder: Path) -> dict[str, Any]:
    """The record of the export in `folder`, with its fields and file names checked.

    Raises:
        MissingInputError: there is no record.
        DataError: it is damaged, or names a file outside its folder.
    """
    if not (folder / EXPORT_FILE).is_file():
        raise MissingInputError(f"There is no export in {folder}.", "Make one with: autodistill-seg export.")
    record = read_json(folder / EXPORT_FILE)
    try:
        names = [record["artifact"], *record["files"]]
        complete = {"format", "precision"} <= set(record) and set(record["model"]) >= _MODEL_KEYS
        inside = all(not Path(name).is_absolute() and ".." not in Path(name).parts for name in names)
    except (KeyError, TypeError) as error:
        raise DataError(f"{folder / EXPORT_FILE} is not the record of an export ({error!r}).") from error
    if not (complete and inside):
        what = "names a file outside its folder" if complete else "is not the record of an export"
        raise DataError(f"{folder / EXPORT_FILE} {what}.")
    return dict(record)


def model_sha256(path: Path) -> str:
    """The SHA-256 of a checkpoint; of an export a hash of all its files and of what its record says of the model."""
    folder = export_folder(path)
    if folder is None:
        return file_sha256(checkpoint_of(path))
    record = read_export(folder)
    file_hashes = {name: file_sha256(folder / name) for name in record["files"]}
    return hashlib.sha256(fingerprint(file_hashes, record["model"]).encode()).hexdigest()
