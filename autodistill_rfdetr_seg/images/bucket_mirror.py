"""Copies objects of a bucket into a folder, as images that everything else reads: resumable, changed ones read again.

MIRROR/.objects.jsonl has a line for the bucket and one for each object that was read: its name, size (bytes), time
(nanoseconds), version and ETag where the store has them. A file's time is its object's. Files are written beside their
place and renamed, so an interrupted mirror holds whole files only.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import IO, Any

from ..core.errors import RemoteError
from ..system.files import replacing, write_text
from ..system.locks import in_turn
from ..system.object_names import name_problem
from ..system.object_store import ObjectStore, StoredObject
from ..system.read_ahead import work_ahead

MANIFEST = ".objects.jsonl"
_THREADS = 8
_TRIES = 3


@dataclass(frozen=True, slots=True)
class MirroredObject:
    """An object as it was read: a line of the manifest."""

    name: str
    size: int
    mtime_ns: int
    version: str | None = None
    etag: str | None = None


@dataclass(frozen=True)
class MirrorUpdate:
    """What `update_mirror` did, by names: those `read` now, those of them that `changed` since they were listed, those
    that `vanished` before they were read, and those `dropped` because they are not in the bucket any more."""

    read: tuple[str, ...]
    changed: tuple[str, ...]
    vanished: tuple[str, ...]
    dropped: tuple[str, ...]


def update_mirror(
    store: ObjectStore,
    wanted: Sequence[StoredObject],
    folder: Path,
    *,
    listed: Collection[str] | None = None,
    progress: bool = True,
) -> MirrorUpdate:
    """Reads those of `wanted` that `folder` does not have as they are in the bucket, eight at a time.

    What the folder has of another bucket or prefix is removed; so is what is not among `listed`, the names of all
    objects, if that is given. An object that has changed since it was listed is read as it is now. If two processes
    need the same mirror, the second waits for the first.

    Raises:
        RemoteError: the server failed, or an object changed again and again while it was read. What was read is kept.
        OSError: a file cannot be written, as on a full disk. Likewise.
    """
    # Slices of one run need the same images.
    with in_turn(folder):
        known = _read_manifest(folder, str(store.url))
        dropped = _drop(folder, known, listed)
        _remove_half_written(folder)
        todo = [one for one in wanted if not _is_here(folder, one, known.get(one.name))]
        read, vanished = _read_all(store, todo, folder, known, progress)
        _write_manifest(folder, str(store.url), known)
    states = {one.name: (one.size, one.mtime_ns) for one in todo}
    changed = tuple(name for name in read if states[name] != (known[name].size, known[name].mtime_ns))
    return MirrorUpdate(tuple(read), changed, tuple(vanished), tuple(dropped))


def remove_mirrored(folder: Path, names: Collection[str]) -> None:
    """Removes the files of these objects. `update_mirror` reads them again if they are wanted again."""
    for name in names:
        (folder / name).unlink(missing_ok=True)


def is_unchanged(found: StoredObject, size: int, mtime_ns: int) -> bool:
    """Whether a file of this size (bytes) and time (nanoseconds) is the object's: some file systems store the time in
    steps of up to two seconds."""
    return size == found.size and abs(mtime_ns - found.mtime_ns) < 2 * 10**9


def _is_here(folder: Path, found: StoredObject, known: MirroredObject | None) -> bool:
    if known is None or (known.size, known.mtime_ns) != (found.size, found.mtime_ns):
        return False
    try:
        stat = (folder / found.name).stat()
    except OSError:
        return False
    return is_unchanged(found, stat.st_size, stat.st_mtime_ns)


def _read_all(
    store: ObjectStore, todo: Sequence[StoredObject], folder: Path, known: dict[str, MirroredObject], progress: bool
) -> tuple[list[str], list[str]]:
    """Reads objects, adds them to `known` and to the manifest; the names of those read, and of those that are gone."""
    from tqdm import tqdm

    read: list[str] = []
    vanished: list[str] = []
    if not todo:
        return read, vanished
    stop, turn = threading.Event(), threading.Lock()
    # Each line is on its way to the disk when it is written: a killed process loses none.
    with (folder / MANIFEST).open("a", encoding="utf-8", buffering=1) as manifest:

        def read_and_note(found: StoredObject) -> bool:
            mirrored = _read_one(store, found, folder, stop)
            with turn:
                known.pop(found.name, None)
                if mirrored is not None:
                    known[found.name] = mirrored
                    manifest.write(_line(asdict(mirrored)))
            return mirrored is not None

        total = sum(one.size for one in todo)
        bar = tqdm(total=total, desc="Reading the bucket", unit="B", unit_scale=True, disable=not progress)
        with bar, closing(work_ahead(todo, read_and_note, 2 * _THREADS, _THREADS)) as work:
            try:
                for found, future in work:
                    (read if future.result() else vanished).append(found.name)
                    bar.update(found.size)
            except BaseException:
                # The threads end after the chunk that they wait for.
                stop.set()
                raise
    return read, vanished


def _read_one(store: ObjectStore, found: StoredObject, folder: Path, stop: threading.Event) -> MirroredObject | None:
    """The object as it was read into its file; None if it is gone."""
    path = folder / found.name
    for _ in range(_TRIES):
        try:
            with replacing(path) as temporary:
                with temporary.open("wb") as file:
                    got = store.read(found.name, _writer(file, stop))
                # Stated when the object was opened, which may be long after it was listed.
                opened = replace(found, size=got.stated_size or found.size, mtime_ns=got.mtime_ns or found.mtime_ns)
                # pyarrow gives as many bytes as it stated, whatever came: only the server knows whether it changed.
                if store.find(found.name) != opened:
                    raise _ChangedWhileRead
                os.utime(temporary, ns=(opened.mtime_ns, opened.mtime_ns))
            return MirroredObject(found.name, opened.size, opened.mtime_ns, got.version, got.etag)
        except _ChangedWhileRead:
            again = store.find(found.name)
            if again is None:
                break
            found = replace(again, name=found.name)
        except FileNotFoundError:
            break
    else:
        raise RemoteError(f"{store.url}/{found.name} changed whenever it was read.", "Run again when it is complete.")
    path.unlink(missing_ok=True)
    return None


class _ChangedWhileRead(Exception):
    """Another size or time after the last byte than before the first."""


def _writer(file: IO[bytes], stop: threading.Event) -> Callable[[bytes], object]:
    def write(chunk: bytes) -> None:
        if stop.is_set():
            raise InterruptedError("Reading the bucket was stopped.")
        file.write(chunk)

    return write


def _drop(folder: Path, known: dict[str, MirroredObject], listed: Collection[str] | None) -> list[str]:
    """Removes the files of objects that are not `listed`; their names. `known` loses them too."""
    dropped = [] if listed is None else sorted(known.keys() - set(listed))
    for name in dropped:
        del known[name]
        path = folder / name
        path.unlink(missing_ok=True)
        # An emptied folder may be in the place of a new file.
        for above in path.relative_to(folder).parents:
            try:
                (folder / above).rmdir() if above != Path() else None
            except OSError:
                break
    return dropped


def _remove_half_written(folder: Path) -> None:
    """Removes what a killed process left; the caller is alone in the folder."""
    for place, _, names in os.walk(folder):
        for name in names:
            if name.startswith(".") and name.endswith(".partial"):
                Path(place, name).unlink(missing_ok=True)


def _read_manifest(folder: Path, bucket: str) -> dict[str, MirroredObject]:
    """The objects of a mirror of this bucket by name; a mirror of another one is emptied."""
    try:
        lines = (folder / MANIFEST).read_text(encoding="utf-8").split("\n")
    except FileNotFoundError:
        lines = []
    rows = [row for row in map(_row, lines) if row is not None]
    if rows[:1] == [{"bucket": bucket}]:
        return {one.name: one for one in map(_mirrored, rows[1:]) if one is not None}
    _drop(folder, {one.name: one for one in map(_mirrored, rows) if one is not None}, ())
    _write_manifest(folder, bucket, {})
    return {}


def _row(line: str) -> Any:
    """A line's content; None for the last line of a process that was killed, and for an empty one."""
    try:
        return json.loads(line)
    except json.JSONDecodeError:
        return None


def _mirrored(row: Any) -> MirroredObject | None:
    try:
        known = MirroredObject(**row)
        return None if name_problem(known.name) else known
    except (TypeError, AttributeError):
        return None


def _write_manifest(folder: Path, bucket: str, objects: Mapping[str, MirroredObject]) -> None:
    lines = [_line({"bucket": bucket}), *(_line(asdict(objects[name])) for name in sorted(objects))]
    write_text(folder / MANIFEST, "".join(lines))


def _line(row: Mapping[str, Any]) -> str:
    return json.dumps(row, ensure_ascii=False) + "\n"
