"""Training on several devices: a process that Lightning starts again for each of the others.

Lightning runs the main module anew on every further device. A user's script would there label, claim folders and print
again; so the trainer runs in a process of its own (`device_worker`) that does
nothing but train, whether a script, a notebook or the command line asked for it. Folders, preflight and record stay in
the process that was asked.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ...core.errors import AutodistillSegError, TrainingError, UsageError
from ...system.files import read_json
from .trainer import Work, build_and_fit

_GRACE = 20.0  # seconds that an interrupted training has to end by itself
# The environment by which Lightning tells a process which one it is: ours must be the first.
_RANKS = ("LOCAL_RANK", "NODE_RANK", "GLOBAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


def fit_in_processes(work: Work) -> None:
    """Trains in processes of their own, which end with this one; raises as `fitting.fit`."""
    with tempfile.TemporaryDirectory(prefix="autodistill-seg-") as folder:
        job = Path(folder) / "job.json"
        data = {**asdict(work), "resume": None if work.resume is None else str(work.resume)}
        data["level"] = logging.getLogger(__package__).getEffectiveLevel()
        try:
            job.write_text(json.dumps(data), encoding="utf-8")
        except TypeError as error:
            raise UsageError(f"An option cannot be sent to other processes ({error}).", "Use plain values.") from error
        command = [sys.executable, "-m", f"{__package__}.device_worker", str(job)]
        environment = {key: value for key, value in os.environ.items() if key not in _RANKS}
        process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, start_new_session=True)
        try:
            code = process.wait()
        except BaseException:
            _end(process)
            raise
        if code:
            raise _error(Path(folder), code)


def _end(process: subprocess.Popen[Any]) -> None:
    """Ends the process and those it started: with Ctrl-C, so that what is finished is kept, then for good."""
    for how, seconds in ((signal.SIGINT, _GRACE), (signal.SIGKILL, None)):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, how)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(seconds)
            return


def _error(folder: Path, code: int) -> AutodistillSegError:
    told = sorted(folder.glob("error-*.json"))
    if not told:
        return TrainingError(f"The training processes ended with code {code}.", "Run it with --debug to see more.")
    data = read_json(told[0])
    return TrainingError(data["message"], data["hint"])


def work_on(job: Path) -> int:
    """One of the processes: builds, trains, and leaves its error beside the job; the exit code."""
    threading.Thread(target=_end_with_parent, args=(os.getppid(),), daemon=True).start()
    data = read_json(job)
    rank = os.environ.get("LOCAL_RANK", "0")
    logger = logging.getLogger(__package__.partition(".")[0])
    logger.addHandler(logging.StreamHandler(sys.stderr))
    level = data.pop("level")
    logger.setLevel(level if rank == "0" else logging.ERROR)
    data["resume"] = Path(data["resume"]) if data["resume"] else None
    data["progress"] = data["progress"] and rank == "0"
    try:
        build_and_fit(Work(**data))
    except AutodistillSegError as error:
        told = {"message": error.message, "hint": error.hint}
        (job.parent / f"error-{rank}.json").write_text(json.dumps(told), encoding="utf-8")
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def _end_with_parent(parent: int) -> None:
    """Ends this process once the one that started it is gone: nobody would take what it makes."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)
