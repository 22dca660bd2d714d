"""Copies a run from a bucket into a folder: whole and checked, or not at all; resumable."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from ..core.bucket_urls import parse_bucket_url, refuse_bucket
from ..core.errors import DataError, MissingInputError, OutputExistsError
from ..core.plain_text import short_list
from ..system.file_hash import file_sha256
from ..system.files import check_output, link_or_copy, replacing
from ..system.locks import locked
from ..system.object_names import colliding_names, ignores_case
from ..system.object_store import ObjectStore
from ..system.run_folder import RunFolder
from .run_copy import RunCopy, alone_in, each_copied
from .run_manifest import MANIFEST, UNFINISHED, CopiedFile, read_manifest


def pull_run(url: str, run: str | Path, *, overwrite: bool = False, progress: bool = True) -> RunCopy:
    """Copies a run that `push_run` copied back into the folder `run`, and checks each file's SHA-256.

    The folder appears when all files are there. An interrupted copy is continued by the same call. With `overwrite`, a
    run that is in `run` is replaced; what it has in common with the copy is not read again.

    Raises:
        MissingInputError: there is no run at `url`, or no such bucket.
        OutputExistsError: the folder is not empty and `overwrite` is not set, or it is not a run; or a person's work
            in it would be lost.
        DataError: the copy is not complete, a file is damaged, or a path would leave the folder.
        RemoteError: the server refuses, fails or cannot be reached.
    """
    refuse_bucket(run)
    folder = RunFolder(Path(run).absolute())
    store = ObjectStore(parse_bucket_url(url))
    place = folder.root.with_name(f".{folder.root.name}.pulled")
    check_output(folder.root, resume=False, overwrite=overwrite)
    files = _manifest_of(store)
    with locked(place):
        partial = place / "run"
        partial.mkdir(exist_ok=True)
        try:
            _restore(place, folder.root)
            check_output(folder.root, resume=False, overwrite=overwrite)
            _check_replaced(folder, files)
            _check_names(files, partial, store)
            copied = _download(store, partial, folder.root, files, progress)
            removed = _remove_others(partial, files)
            _swap(place, folder)
        finally:
            # What was read is kept for the next call. Removed with the lock: who waits for it starts over.
            if not partial.is_dir() or not any(path.is_file() for path in partial.rglob("*")):
                shutil.rmtree(place, ignore_errors=True)
    return RunCopy(len(files), sum(one.bytes for one in files.values()), copied, removed)


def _manifest_of(store: ObjectStore) -> dict[str, CopiedFile]:
    files = read_manifest(store)
    if files is not None:
        return files
    if store.find(UNFINISHED) is not None:
        raise DataError(
            f"The run at {store.url} is not complete: copying it there was interrupted.", "Run `push-run` again."
        )
    raise MissingInputError(f"There is no run at {store.url}: it has no {MANIFEST}.", "Give the URL of `push-run`.")


def _check_replaced(folder: RunFolder, files: Mapping[str, CopiedFile]) -> None:
    """Refuses to replace a folder that is not a run, or a person's work that the copy does not have."""
    root = folder.root
    if not root.is_dir() or not any(root.iterdir()):
        return
    if not folder.config_file.is_file():
        raise OutputExistsError(f"{root} is not a run's folder, so it is not replaced.", "Give another folder.")
    work = (path for place in (folder.human, folder.certification) for path in sorted(place.rglob("*")))
    for path in work:
        one = files.get(path.relative_to(root).as_posix())
        if path.is_file() and not path.name.startswith("."):
            stat = path.stat()
            if one is None or one.bytes != stat.st_size or one.sha256 != file_sha256(path):
                raise OutputExistsError(
                    f"{path} is a person's work, which the copy does not have: the run is not replaced.",
                    "Give another folder, or push this run first.",
                )


def _check_names(files: Mapping[str, CopiedFile], folder: Path, store: ObjectStore) -> None:
    if colliding := colliding_names(files, ignore_case=ignores_case(folder)):
        raise DataError(
            f"The manifest of {store.url} has names that are the same file here: {short_list(sorted(colliding))}."
        )


def _download(store: ObjectStore, folder: Path, old: Path, files: Mapping[str, CopiedFile], progress: bool) -> int:
    """Fills `folder` with the files; returns how many were read from the bucket. Those in `old` are linked."""
    read: list[str] = []

    def download(one: CopiedFile) -> None:
        target = folder / one.path
        if _has_content(target, one):
            return
        target.parent.mkdir(parents=True, exist_ok=True)
        with replacing(target) as temporary:
            if _has_content(old / one.path, one):
                link_or_copy(old / one.path, temporary)
            else:
                _read(store, one, temporary)
                read.append(one.path)
            os.utime(temporary, ns=(one.mtime_ns, one.mtime_ns))

    for _ in each_copied([files[path] for path in sorted(files)], download, "Pulling", progress):
        pass
    return len(read)


def _read(store: ObjectStore, one: CopiedFile, target: Path) -> None:
    try:
        with target.open("xb") as file:
            got = store.read(one.path, file.write)
    except FileNotFoundError as error:
        raise DataError(f"{store.url}/{one.path} is missing from the copy.", "Run `push-run` again.") from error
    if (got.size, got.sha256) != (one.bytes, one.sha256):
        raise DataError(
            f"{store.url}/{one.path} is damaged: its SHA-256 is not that of the manifest.", "Run `push-run` again."
        )


def _has_content(path: Path, one: CopiedFile) -> bool:
    return path.is_file() and path.stat().st_size == one.bytes and file_sha256(path) == one.sha256


def _remove_others(folder: Path, files: Mapping[str, CopiedFile]) -> int:
    """Removes what an earlier, interrupted copy of another state has left."""
    others = [path for path in folder.rglob("*") if path.is_file() and path.relative_to(folder).as_posix() not in files]
    for path in others:
        path.unlink()
    return len(others)


def _swap(place: Path, folder: RunFolder) -> None:
    """Puts the copy in the place of the folder. What is in `mirror/` stays: it is of the images' bucket."""
    root, old = folder.root, place / "old"
    if root.exists():
        with alone_in(folder):
            pass  # refused if somebody writes to it
        root.rename(old)
    (place / "run").rename(root)
    if (old / folder.mirror.name).is_dir():
        (old / folder.mirror.name).rename(folder.mirror)


def _restore(place: Path, root: Path) -> None:
    """Puts back what was there, if the process was killed between the two renames of `_swap`."""
    if (place / "old").is_dir() and not root.exists():
        (place / "old").rename(root)
