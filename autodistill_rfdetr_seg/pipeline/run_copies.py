"""Copies a run's folder to a bucket and back: every file with its SHA-256, unchanged ones only once, resumable.

The copy has the files of the run under their own names, so reports and datasets in it can be used as they are. Not
copied are hidden files (locks), links, and `mirror/`, which holds the images of another bucket.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..core.bucket_urls import parse_bucket_url, refuse_bucket
from ..core.errors import AutodistillSegError, DataError, MissingInputError, OutputExistsError
from ..core.plain_text import counted, short_list
from ..system.config_files import read_run_config
from ..system.file_hash import file_sha256
from ..system.files import check_output, link_or_copy, replacing
from ..system.locks import locked
from ..system.object_names import colliding_names, ignores_case
from ..system.object_store import ObjectStore, StoredObject
from ..system.read_ahead import work_ahead
from ..system.run_folder import RunFolder
from .run_manifest import MANIFEST, UNFINISHED, CopiedFile, path_problem, read_manifest, write_manifest

_THREADS = 8
_SECONDS_BETWEEN_NOTES = 30.0


@dataclass(frozen=True)
class RunCopy:
    """A finished copy: its `files` and `bytes`, how many of them were `copied` now, those `removed` from an earlier
    copy, and the paths that were `skipped`: links, and names that cannot be everywhere."""

    files: int
    bytes: int
    copied: int
    removed: int
    skipped: tuple[str, ...] = ()


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
    there = {one.name: one for one in store.objects()}
    finished, unfinished = (read_manifest(store, name) if name in there else None for name in (MANIFEST, UNFINISHED))
    if there and finished is None and unfinished is None:
        raise OutputExistsError(
            f"{store.url} has other content than a run: {counted(len(there), 'object')}, such as {min(there)}.",
            "Give another prefix.",
        )
    with _alone_in(folder):
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


@contextlib.contextmanager
def _alone_in(folder: RunFolder) -> Iterator[None]:
    """No other process labels, builds or trains in the run."""
    with contextlib.ExitStack() as stack:
        for place in (folder.labels, folder.root):
            if place.is_dir():
                stack.enter_context(locked(place))
        yield


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

    done, noted = list(same), time.monotonic()
    known = {one.path for one in same}
    try:
        for one in _worked([one for one in files if one.path not in known], upload, "Pushing", progress):
            done.append(one)
            if time.monotonic() - noted > _SECONDS_BETWEEN_NOTES:
                write_manifest(store, done, UNFINISHED)
                noted = time.monotonic()
    except BaseException:
        # The next call continues from here; if the network is gone, from the last note.
        with contextlib.suppress(AutodistillSegError):
            write_manifest(store, done, UNFINISHED)
        raise


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

    for _ in _worked([files[path] for path in sorted(files)], download, "Pulling", progress):
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
        with _alone_in(folder):
            pass  # refused if somebody writes to it
        root.rename(old)
    (place / "run").rename(root)
    if (old / folder.mirror.name).is_dir():
        (old / folder.mirror.name).rename(folder.mirror)


def _restore(place: Path, root: Path) -> None:
    """Puts back what was there, if the process was killed between the two renames of `_swap`."""
    if (place / "old").is_dir() and not root.exists():
        (place / "old").rename(root)


def _worked(
    files: Iterable[CopiedFile], work: Callable[[CopiedFile], object], what: str, progress: bool
) -> Iterator[CopiedFile]:
    """Each file, in order, when it is copied; eight are under way."""
    from tqdm import tqdm

    files = list(files)
    total = sum(one.bytes for one in files)
    bar: Any = tqdm(total=total, desc=what, unit="B", unit_scale=True, disable=not (progress and files))
    with bar, contextlib.closing(work_ahead(files, work, 2 * _THREADS, _THREADS)) as ahead:
        for one, future in ahead:
            future.result()
            bar.update(one.bytes)
            yield one
