"""Waits for a call of a library that cannot be interrupted: Ctrl-C is obeyed, and a clock shows that work goes on."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, wait
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

    future: Future[_Result] = Future()

    def work() -> None:
        try:
            future.set_result(call())
        except BaseException as error:  # noqa: BLE001 - raised in the caller's thread
            future.set_exception(error)

    # A daemon, which no executor has, or the process could not end before the call does.
    threading.Thread(target=work, daemon=True).start()
    started = time.monotonic()
    with tqdm(desc=what, bar_format="{desc}: {elapsed}", delay=_SHOWN, leave=False, disable=not progress) as clock:
        while wait([future], _LOOK).not_done:
            if time.monotonic() - started >= _SHOWN:
                clock.refresh()
    return future.result()
