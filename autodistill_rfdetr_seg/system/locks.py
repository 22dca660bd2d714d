"""Who may write to a folder: one process alone, or several side by side, each with a slice of the work.

A lock is the operating system's, on a file in the folder, so it ends with its process however that ends. The files
(`.lock`, `.lock-turn`, `.lock-1-of-4`) are never removed, or two processes could hold the lock of one folder.
portalocker takes the locks: `flock` on Linux and macOS, `LockFileEx` on Windows.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from pathlib import Path
from typing import IO

import portalocker
from portalocker import LockFlags

from ..core.errors import DataError
from .files import sweep

LOCK = ".lock"
# Folders whose lock a caller further up holds and lends, and whether it is alone there. No other thread sees it.
_LENT: ContextVar[Mapping[Path, bool]] = ContextVar("lent")


@contextlib.contextmanager
def locked(folder: Path, image_slice: tuple[int, int] | None = None, *, lend: bool = False) -> Iterator[bool]:
    """Holds the right to write to `folder`: alone, or as slice I of N beside the others; whether it is alone there.

    What is called within the block is refused as any other caller is, unless the lock is held to `lend` it.

    Raises:
        DataError: another process holds it, or the file system has no locks.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lent = _LENT.get({})
    here = folder.resolve()
    if here in lent:
        yield lent[here]
        return
    with contextlib.ExitStack() as stack:
        alone = _lock(stack, folder, image_slice)
        # The lock is held: what is half-written here was left by a process that is gone.
        sweep(folder, alone=image_slice is None)
        if lend:
            _LENT.set({**lent, here: alone})
            stack.callback(_LENT.set, lent)
        yield alone


@contextlib.contextmanager
def in_turn(folder: Path) -> Iterator[None]:
    """Waits until no other process is in such a block for `folder`: for what takes a moment.

    Raises:
        DataError: the file system has no locks.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with _open(folder / f"{LOCK}-turn") as file:
        while not _take(file, LockFlags.EXCLUSIVE):
            pass  # Windows gives up after ten seconds
        yield


def _lock(stack: contextlib.ExitStack, folder: Path, image_slice: tuple[int, int] | None) -> bool:
    """Takes the lock for as long as `stack` is open; whether it is alone."""
    exclusive, shared = LockFlags.EXCLUSIVE | LockFlags.NON_BLOCKING, LockFlags.SHARED | LockFlags.NON_BLOCKING

    def take_or_refuse(file: IO[str], flags: LockFlags) -> None:
        if not _take(file, flags):
            raise DataError(
                f"Another process is writing to {folder}.",
                "Wait for it, or give each process a slice: --slice 1/4, --slice 2/4 …",
            )

    everyones = stack.enter_context(_open(folder / LOCK))
    if image_slice is None:
        take_or_refuse(everyones, exclusive)
        return True
    alone = _take(everyones, exclusive)
    take_or_refuse(everyones, shared)
    if alone and os.name == "nt":
        # There the file has both locks now, and the exclusive one is the first to be given back.
        portalocker.unlock(everyones)
    take_or_refuse(stack.enter_context(_open(folder / f"{LOCK}-{image_slice[0]}-of-{image_slice[1]}")), exclusive)
    return alone


def _open(path: Path) -> IO[str]:
    # To read and to write: over NFS a shared lock needs the one, an exclusive one the other.
    return path.open("a+")


def _take(file: IO[str], flags: LockFlags) -> bool:
    """Whether the lock was given, in place of the one that the file has; False where another process holds it.

    Raises:
        DataError: the file system has no locks.
    """
    try:
        portalocker.lock(file, flags)
    except portalocker.AlreadyLocked:
        return False
    except portalocker.LockException as error:
        reason = getattr(error.__cause__, "strerror", None) or error
        raise DataError(
            f"{file.name} cannot be locked: {reason}.", "Choose a folder on a disk that supports file locks."
        ) from error
    return True
