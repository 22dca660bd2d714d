"""How many threads a model's runtime may use on a CPU."""

from __future__ import annotations

import os


def thread_limit() -> int | None:
    """The number in `OMP_NUM_THREADS`, None if that is not a number above 0: then a runtime takes all cores.

    torch obeys the variable by itself, and Ray sets it in each actor to the CPUs that the actor takes. Without it
    several processes on a machine would each start a thread for every core.
    """
    text = os.environ.get("OMP_NUM_THREADS", "")
    return int(text) if text.isdecimal() and int(text) else None
