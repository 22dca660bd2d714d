"""Waits for a call of a library that cannot be interrupted: Ctrl-C is obeyed, and a clock shows that work goes on."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TypeVar

_Result = TypeVar("_Result")
# Seconds: until the clock is shown, and between two looks at it.
_SHOWN = 2
_LOOK = 0.5


def wait_for(call: Callable[[], _Result], what: str, *, progress: bool = True) -> _Result:
    """What `call` returns or raises; it works in another thread, which Ctrl-C leaves behind.

    After two seconds a line shows `what` and the time since the start.
    """
    from tqdm import tqdm

    results: list[_Result] = []
    errors: list[BaseException] = []
    done = threading.Event()

    def work() -> None:
        try:
            results.append(call())
        except BaseException as error:  # noqa: BLE001 - raised in the caller's thread
            errors.append(error)
        finally:
            done.set()

    # A daemon, or the process could not end before the call does.
    threading.Thread(target=work, daemon=True).start()
    started = time.monotonic()
    with tqdm(desc=what, bar_format="{desc}: {elapsed}", delay=_SHOWN, leave=False, disable=not progress) as clock:
        while not done.wait(_LOOK):
            if time.monotonic() - started >= _SHOWN:
                clock.refresh()
    if errors:
        raise errors[0]
    return results[0]
