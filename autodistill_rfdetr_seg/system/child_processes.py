"""What a process that was started to work for another one does: it ends with it, and leaves Ctrl-C to it."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time

_POLL_SECONDS = 0.5


def end_with_parent() -> None:
    """Ends this process when the one that started it is gone, even if its main thread hangs. Returns at once."""
    threading.Thread(target=_exit_after_parent, args=(os.getppid(),), daemon=True).start()


def leave_interrupts_to_parent() -> None:
    """Ignores Ctrl-C, which reaches the whole process group: the parent decides when this process ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _exit_after_parent(parent_id: int) -> None:
    if (parent := multiprocessing.parent_process()) is not None:
        parent.join()
    else:
        while os.getppid() == parent_id:
            time.sleep(_POLL_SECONDS)
    os._exit(1)
