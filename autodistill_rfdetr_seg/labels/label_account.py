"""What is written beside the labels: `labels.json`, the account of a labeling, and the images that failed."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..core.errors import DataError
from ..core.types import Classes
from ..system.files import read_json, write_json, write_text
from ..system.run_folder import RunFolder
from .base_source import BaseSource

ACCOUNT = "labels.json"


@dataclass(frozen=True)
class LabelAccount:
    """The content of `labels.json`: the classes, the base, the names of the images asked for, the folder that these are
    relative to, and the groups of those that belong into one split."""

    classes: Classes
    base: str
    args: Mapping[str, Any]
    fingerprint: str
    images: tuple[str, ...]
    versions: Mapping[str, str]
    root: Path | None
    groups: Mapping[str, str]


def read_account(folder: Path) -> LabelAccount:
    """The account of a label store.

    Raises:
        DataError: the folder contains no finished labeling, or `labels.json` is not valid.
    """
    path = folder / ACCOUNT
    if not path.is_file():
        raise DataError(f"There are no finished labels in {folder}.", "Run `autodistill-seg label` first.")
    data = read_json(path)
    try:
        return LabelAccount(
            Classes.from_stored(data["ontology"]),
            data["base"],
            data["args"],
            data["fingerprint"],
            tuple(data["images"]),
            data["versions"],
            None if data["root"] is None else _images_root(folder, Path(data["root"])),
            data["groups"],
        )
    except (KeyError, TypeError) as error:
        raise DataError(f"{path} is not a label account: {error!r}.") from error


def _images_root(labels: Path, stored: Path) -> Path:
    """The folder of the images: where it was, except in a run that was moved with its frames or mirror."""
    run = RunFolder(labels.parent)
    return next((own for own in (run.frames, run.mirror) if own.name == stored.name and own.is_dir()), stored)


def read_failures(folder: Path) -> list[dict[str, str]]:
    """The images of the last labeling that could not be labeled: {path, reason} each."""
    return [
        json.loads(line)
        for path in sorted(folder.glob("failures*.jsonl"))
        for line in path.read_text(encoding="utf-8").splitlines()
        if line
    ]


def write_failures(folder: Path, failures: Sequence[Mapping[str, str]], image_slice: tuple[int, int] | None) -> None:
    """Writes the images that failed; those of a slice to a file of its own, which the whole run's file replaces."""
    name = "failures.jsonl" if image_slice is None else f"failures-{image_slice[0]}-of-{image_slice[1]}.jsonl"
    if image_slice is None:
        for old in folder.glob("failures-*-of-*.jsonl"):
            old.unlink()
    write_text(folder / name, "".join(json.dumps(f, ensure_ascii=False) + "\n" for f in failures))


def write_account(
    folder: Path, source: BaseSource, names: Sequence[str], root: Path | None, groups: Mapping[str, str]
) -> None:
    """Writes the account of a labeling of the images `names`."""
    provenance = source.provenance
    account = {
        "base": provenance.base,
        "args": {key: _plain(value) for key, value in provenance.args.items()},
        "fingerprint": provenance.fingerprint,
        "image_input": source.image_input,
        "ontology": source.classes.ontology,
        "versions": dict(provenance.versions),
        "root": None if root is None else str(root),
        "groups": dict(sorted(groups.items())),
        "images": names,
    }
    write_json(folder / ACCOUNT, account)


def _plain(value: Any) -> Any:
    return value if isinstance(value, (bool, int, float, str, list, dict, type(None))) else str(value)
