"""Pauses Python's garbage collection while many objects are made."""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_lock = threading.Lock()
_paused = 0


@contextmanager
def many_objects() -> Iterator[None]:
    """A context in which the cyclic garbage collector is off, if it was on; also a decorator.

    While hundreds of thousands of rows are read, the collector goes through all of them again and again, and finds
    nothing: rows have no cycles. That takes up to half of the time.
    """
    global _paused
    with _lock:
        first = _paused == 0 and gc.isenabled()
        nested = _paused > 0
        if first or nested:
            _paused += 1
            gc.disable()
    try:
        yield
    finally:
        if first or nested:
            with _lock:
                _paused -= 1
                if _paused == 0:
                    gc.enable()
