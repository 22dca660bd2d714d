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


def end_after_an_epoch(command: list[str], training: Path, how: signal.Signals) -> tuple[int, str]:
    """Runs a training, ends it once an epoch is whole and its loss is written; its exit code and stderr."""
    last = training / "unfinished" / "last.ckpt"
    before = last.stat().st_ino if last.is_file() else None
    process = begin(command)
    while not last.is_file() or last.stat().st_ino == before or not epochs(last.parent):
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.02)
    process.send_signal(how)
    err = process.communicate(timeout=120)[1]
    return process.returncode, err
