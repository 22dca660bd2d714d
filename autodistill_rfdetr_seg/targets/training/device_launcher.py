"""Training on several devices: a process that Lightning starts again for each of the others.

Lightning runs the main module again for every further device. There a user's script would label, claim folders and
print again. So the trainer runs in a process of its own (`device_worker`) that only trains, whether a script, a
notebook or the command line started it. Folders, preflight and record stay in the process that started it.
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
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ...core.errors import AutodistillSegError, TrainingError, UsageError
from ...system.child_processes import end_with_parent
from ...system.files import read_json
from .trainer import FitTask, build_and_fit
from .training_nodes import TrainingNode

_GRACE = 20.0  # seconds for an interrupted training to end by itself


def fit_in_processes(task: FitTask, node: TrainingNode | None = None) -> None:
    """Trains in processes of their own, which end with this one, on this `node`; raises as `trainer.fit`."""
    node = node or TrainingNode()
    with tempfile.TemporaryDirectory(prefix="autodistill-seg-") as folder:
        task_file = Path(folder) / "task.json"
        data = {**asdict(task), "resume": None if task.resume is None else str(task.resume)}
        data["level"] = logging.getLogger(__package__).getEffectiveLevel()
        try:
            task_file.write_text(json.dumps(data), encoding="utf-8")
        except TypeError as error:
            raise UsageError(f"An option cannot be sent to other processes ({error}).", "Use plain values.") from error
        command = [sys.executable, "-m", f"{__package__}.device_worker", str(task_file)]
        # Lightning tells a process by variables which one it is; without them ours is the first.
        environment = node.worker_environment(task.options["devices"])
        process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, start_new_session=True)
        try:
            code = process.wait()
        except BaseException:
            _stop(process)
            raise
        if code:
            raise _read_error(Path(folder), code)


def _stop(process: subprocess.Popen[Any]) -> None:
    """Ends the process and those it started: with SIGINT, so that finished epochs are kept, then with SIGKILL."""
    for how, seconds in ((signal.SIGINT, _GRACE), (signal.SIGKILL, None)):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, how)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(seconds)
            return


def _read_error(folder: Path, code: int) -> AutodistillSegError:
    files = sorted(folder.glob("error-*.json"))
    if not files:
        return TrainingError(f"The training processes ended with code {code}.", "Run it with --debug to see more.")
    data = read_json(files[0])
    return TrainingError(data["message"], data["hint"])


def run_worker(task_file: Path) -> int:
    """The work of one process: builds, trains, and writes an error beside the task's file; returns the exit code."""
    # Of a command in the background it is ignored here too. Only `_stop` sends it: the session is the worker's own.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    end_with_parent()
    data = read_json(task_file)
    rank = os.environ.get("LOCAL_RANK", "0")
    logger = logging.getLogger(__package__.partition(".")[0])
    logger.addHandler(logging.StreamHandler(sys.stderr))
    level = data.pop("level")
    logger.setLevel(level if rank == "0" else logging.ERROR)
    data["resume"] = Path(data["resume"]) if data["resume"] else None
    data["progress"] = data["progress"] and rank == "0"
    try:
        build_and_fit(FitTask(**data))
    except AutodistillSegError as error:
        text = json.dumps({"message": error.message, "hint": error.hint})
        (task_file.parent / f"error-{rank}.json").write_text(text, encoding="utf-8")
        return 1
    except KeyboardInterrupt:
        return 130
    return 0
