"""Copies a run's folder to a bucket: every file with its SHA-256, unchanged ones only once, resumable.

The copy has the files of the run under their own names, so reports and datasets in it can be used as they are. Not
copied are hidden files (locks), links, and `mirror/`, which holds the images of another bucket.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Mapping
from pathlib import Path

from ..core.bucket_urls import parse_bucket_url
from ..core.errors import AutodistillSegError, DataError, OutputExistsError
from ..core.plain_text import counted
from ..system.config_files import read_run_config
from ..system.file_hash import file_sha256
from ..system.object_store import ObjectStore, StoredObject
from ..system.run_folder import RunFolder
from .run_copy import RunCopy, alone_in, each_copied
from .run_manifest import MANIFEST, UNFINISHED, CopiedFile, path_problem, read_manifest, write_manifest

_SECONDS_BETWEEN_NOTES = 30.0


def push_run(run: str | Path, url: str, *, overwrite: bool = False, progress: bool = True) -> RunCopy:
    """Copies the run in the folder `run` to the URL of a bucket's prefix.

    An interrupted copy is continued by the same call. With `overwrite`, the copy of an earlier state is brought up to
    date: files that have not changed stay, those that the run does not have any more are removed.

    Raises:
        MissingInputError: `run` is not a run, or there is no such bucket.
        OutputExistsError: there is another state of a run and `overwrite` is not set, or other objects.
        DataError: another process writes to the run.
        RemoteError: the server refuses, fails or cannot be reached.
    """
    folder = RunFolder(Path(run))
    read_run_config(folder)
    store = ObjectStore(parse_bucket_url(url))
    there = {one.name: one for one in store.objects(progress=progress)}
    finished, unfinished = (read_manifest(store, name) if name in there else None for name in (MANIFEST, UNFINISHED))
    if there and finished is None and unfinished is None:
        raise OutputExistsError(
            f"{store.url} has other content than a run: {counted(len(there), 'object')}, such as {min(there)}.",
            "Give another prefix.",
        )
    with alone_in(folder):
        files, skipped = _files_of(folder, progress)
        total = sum(one.bytes for one in files)
        earlier = {**(unfinished or {}), **(finished or {})}
        same = [one for one in files if one.has_content_of(earlier.get(one.path)) and _is_there(one, there)]
        stale = sorted(earlier.keys() - {one.path for one in files})
        if finished is not None and len(same) == len(files) and not stale:
            store.delete(UNFINISHED)
            return RunCopy(len(files), total, 0, 0, skipped)
        if finished is not None and not overwrite:
            raise OutputExistsError(
                f"{store.url} has another state of a run.", "Add --overwrite to replace it, or give another prefix."
            )
        # From here on it is no whole copy, and everyone sees that.
        write_manifest(store, [*same, *(earlier[path] for path in stale)], UNFINISHED)
        store.delete(MANIFEST)
        _upload(store, folder.root, files, same, progress)
        for path in stale:
            store.delete(path)
        write_manifest(store, files)
        store.delete(UNFINISHED)
    return RunCopy(len(files), total, len(files) - len(same), len(stale), skipped)


def _files_of(folder: RunFolder, progress: bool) -> tuple[list[CopiedFile], tuple[str, ...]]:
    """The files of a run to copy, sorted by path, and the paths of those that cannot be copied."""
    from tqdm import tqdm

    found: list[str] = []
    skipped: list[str] = []
    for place, folders, names in os.walk(folder.root):
        inside = Path(place).relative_to(folder.root)
        links = [name for name in folders if Path(place, name).is_symlink()]
        folders[:] = [one for one in folders if not one.startswith(".") and Path(place, one) != folder.mirror]
        for name in (*names, *links):
            if name.startswith("."):
                continue
            path = (inside / name).as_posix()
            bad = Path(place, name).is_symlink() or not Path(place, name).is_file() or path_problem(path)
            (skipped if bad else found).append(path)
    size = sum((folder.root / path).stat().st_size for path in found)
    files: list[CopiedFile] = []
    with tqdm(total=size, desc="Hashing", unit="B", unit_scale=True, leave=False, disable=not progress) as bar:
        for path in sorted(found):
            stat = (folder.root / path).stat()
            files.append(CopiedFile(path, stat.st_size, file_sha256(folder.root / path), stat.st_mtime_ns))
            bar.update(stat.st_size)
    return files, tuple(sorted(skipped))


def _is_there(one: CopiedFile, there: Mapping[str, StoredObject]) -> bool:
    return one.path in there and there[one.path].size == one.bytes


def _upload(store: ObjectStore, root: Path, files: list[CopiedFile], same: list[CopiedFile], progress: bool) -> None:
    """Writes the files that are not among `same`; notes in the bucket from time to time what is there."""

    def upload(one: CopiedFile) -> None:
        with (root / one.path).open("rb") as file:
            if store.write(one.path, file) != (one.bytes, one.sha256):
                raise DataError(f"{root / one.path} changed while it was copied.", "Run again when it is complete.")
        # Here and not where the results are awaited, which is in order: a later file may be there already.
        done.append(one)

    done, noted = list(same), time.monotonic()
    known = {one.path for one in same}
    try:
        for _ in each_copied([one for one in files if one.path not in known], upload, "Pushing", progress):
            if time.monotonic() - noted > _SECONDS_BETWEEN_NOTES:
                write_manifest(store, list(done), UNFINISHED)
                noted = time.monotonic()
    except BaseException:
        # The next call continues from here; if the network is gone, from the last note.
        with contextlib.suppress(AutodistillSegError):
            write_manifest(store, done, UNFINISHED)
        raise
