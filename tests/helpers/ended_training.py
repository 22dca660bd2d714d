"""A training in a process of its own that is ended once an epoch is done."""

from __future__ import annotations

import csv
import signal
import time
from pathlib import Path

from helpers.commands import begin


def epochs(training: Path) -> list[int]:
    """The epochs that `metrics.csv` has a training loss of; a kill may cost it that of the last one before."""
    with (training / "metrics.csv").open() as file:
        return [int(row["epoch"]) for row in csv.DictReader(file) if row.get("train/loss")]


def _version(path: Path) -> tuple[int, int] | None:
    """What tells one state of a file from the next, from a single look: a training may move the file at any moment."""
    try:
        stat = path.stat()
    except FileNotFoundError:
        return None
    return stat.st_ino, stat.st_mtime_ns


def _has_ended_an_epoch(work: Path, before: tuple[int, int] | None) -> bool:
    """Whether the checkpoint is another than before, and the metrics beside it are written."""
    if _version(work / "last.ckpt") in {None, before}:
        return False
    try:
        return bool(epochs(work))
    except FileNotFoundError:
        return False


def end_after_an_epoch(command: list[str], training: Path, how: signal.Signals) -> tuple[int, str]:
    """Runs a training, ends it once an epoch is whole and its loss is written; its exit code and stderr."""
    work = training / "unfinished"
    before = _version(work / "last.ckpt")
    process = begin(command)
    while not _has_ended_an_epoch(work, before):
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.02)
    process.send_signal(how)
    err = process.communicate(timeout=120)[1]
    return process.returncode, err
