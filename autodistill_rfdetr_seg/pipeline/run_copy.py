"""What copying a run to a bucket and copying it back have in common."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from ..system.locks import locked
from ..system.read_ahead import work_ahead
from ..system.run_folder import RunFolder
from .run_manifest import CopiedFile

_THREADS = 8


@dataclass(frozen=True)
class RunCopy:
    """A finished copy: its `files` and `bytes`, how many of them were `copied` now, those `removed` from an earlier
    copy, and the paths that were `skipped`: links, and names that cannot be everywhere."""

    files: int
    bytes: int
    copied: int
    removed: int
    skipped: tuple[str, ...] = ()


@contextlib.contextmanager
def alone_in(folder: RunFolder) -> Iterator[None]:
    """No other process labels, builds or trains in the run."""
    with contextlib.ExitStack() as stack:
        for place in (folder.labels, folder.root):
            if place.is_dir():
                stack.enter_context(locked(place))
        yield


def each_copied(
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
