"""The list of a copied run's files, with their SHA-256. It is written last: without it, a copy is not complete."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from ..core.errors import DataError
from ..system.object_names import name_problem
from ..system.object_store import ObjectStore

MANIFEST = "run-manifest.json"
# Of a copy under way: what is there already.
UNFINISHED = "run-manifest.unfinished.json"
RUN_FILE = "pipeline.yaml"
_FORMAT = 1
_MOST_BYTES = 2**28
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class CopiedFile:
    """A file of a run: its path (POSIX, relative to the run), size (bytes), SHA-256 (hex), and time (nanoseconds)."""

    path: str
    bytes: int
    sha256: str
    mtime_ns: int

    def has_content_of(self, other: CopiedFile | None) -> bool:
        """Whether the other file has the same bytes."""
        return other is not None and (self.bytes, self.sha256) == (other.bytes, other.sha256)


def read_manifest(store: ObjectStore, name: str = MANIFEST) -> dict[str, CopiedFile] | None:
    """The files of a copy by path; None if there is no such manifest.

    Raises:
        DataError: it is not a manifest, or has a path that could leave a folder.
        RemoteError: the server refuses, fails or cannot be reached.
    """
    parts: list[bytes] = []
    found = store.find(name)
    if found is None:
        return None
    where = f"{store.url}/{name}"
    if found.size > _MOST_BYTES:
        raise DataError(f"{where} is too large for the manifest of a run: {found.size} bytes.")
    try:
        store.read(name, parts.append)
        data = json.loads(b"".join(parts))
        if data["format"] != _FORMAT:
            raise DataError(f"{where} has the format {data['format']!r}, which is not known.", "Update this package.")
        files = [_copied_file(row, where) for row in data["files"]]
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{where} is not the manifest of a run: {error!r}.") from error
    by_path = {one.path: one for one in files}
    if len(by_path) < len(files):
        raise DataError(f"{where} names a file twice.")
    if name == MANIFEST and RUN_FILE not in by_path:
        raise DataError(f"{where} is not the manifest of a run: it has no {RUN_FILE}.")
    return by_path


def write_manifest(store: ObjectStore, files: Iterable[CopiedFile], name: str = MANIFEST) -> None:
    """Writes the manifest of a copy, files sorted by path. Raises RemoteError as `read_manifest`."""
    rows = [asdict(one) for one in sorted(files, key=lambda one: one.path)]
    text = json.dumps({"format": _FORMAT, "files": rows}, indent=1, ensure_ascii=False) + "\n"
    store.write(name, io.BytesIO(text.encode()))


def path_problem(path: str) -> str | None:
    """Why a path is not one of a run's file, to be read after "names that"; None if it is."""
    problem = name_problem(path)
    if problem is None and any(part.startswith(".") for part in path.split("/")):
        return "start with a dot"
    return "belong to copies" if path in (MANIFEST, UNFINISHED) else problem


def _copied_file(row: Any, where: str) -> CopiedFile:
    one = CopiedFile(**row)
    if not isinstance(one.path, str) or (problem := path_problem(one.path)):
        reason = "that are no text" if not isinstance(one.path, str) else f"that {problem}"
        raise DataError(f"{where} has names {reason}, such as {one.path!r}: it is not read.", "Do not trust this copy.")
    numbers = (one.bytes, one.mtime_ns)
    if not all(type(number) is int and 0 <= number < 2**63 for number in numbers) or not _SHA256.fullmatch(one.sha256):
        raise DataError(f"{where} has no size, time and SHA-256 for {one.path}.")
    return one
