"""Shared by several benchmarks: folders of drawn images, and commands that are timed in a new process."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

COLORS = {"red": (255, 0, 0), "lime": (0, 255, 0), "blue": (0, 0, 255)}
"""The colors of the objects, RGB; the names are prompts of the base `threshold`."""


def make_images(folder: Path, count: int, sizes: Sequence[tuple[int, int]], seed: int = 0) -> None:
    """Draws `count` JPEGs with 3 to 9 colored discs on gray clouds; (width, height) is a random one of `sizes`."""
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True)
    for number in range(count):
        width, height = sizes[int(rng.integers(len(sizes)))]
        clouds = rng.integers(40, 160, (6, 8, 1), np.uint8).repeat(3, axis=2)
        pixels = cv2.resize(clouds, (width, height), interpolation=cv2.INTER_CUBIC)
        unit = min(width, height) / 24
        for _ in range(int(rng.integers(3, 10))):
            color = list(COLORS.values())[int(rng.integers(len(COLORS)))]
            center = (int(rng.integers(width)), int(rng.integers(height)))
            cv2.circle(pixels, center, round(unit * rng.uniform(1, 3)), color[::-1], -1, cv2.LINE_AA)
        cv2.imwrite(str(folder / f"{number:06d}.jpg"), pixels)


def class_arguments() -> list[str]:
    """The command-line arguments for a class of each color."""
    return [argument for name in COLORS for argument in ("--class", f"{name}=disc_{name}")]


@dataclass(frozen=True)
class TimedCommand:
    """The seconds, peak resident memory (bytes, of the process alone) and standard output of a command; `cpu_seconds`
    are those of its processors, of the processes that it started too."""

    seconds: float
    peak: int
    output: str
    cpu_seconds: float


def run_timed(*arguments: str, input_folder: Path) -> TimedCommand:
    """Runs `autodistill-seg ARGUMENTS` in a new process; its outputs go to files in `input_folder`.

    Raises:
        RuntimeError: the command failed; the text has its messages.
    """
    return _timed([sys.executable, "-m", "autodistill_rfdetr_seg", *arguments], input_folder)


def run_python(code: str, *arguments: str, input_folder: Path) -> TimedCommand:
    """As `run_timed`, for Python code, which finds the arguments in `sys.argv[1:]`."""
    return _timed([sys.executable, "-c", code, *arguments], input_folder)


def _timed(command: Sequence[str], input_folder: Path) -> TimedCommand:
    out, err = input_folder / "stdout.txt", input_folder / "stderr.txt"
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
    files = [(os.POSIX_SPAWN_OPEN, at, str(path), flags, 0o644) for at, path in ((1, out), (2, err))]
    started = time.perf_counter()
    # Not `subprocess`, because it does not report the peak memory of one child.
    child = os.posix_spawn(command[0], command, os.environ, file_actions=files)
    _, status, used = os.wait4(child, 0)
    seconds = time.perf_counter() - started
    if os.waitstatus_to_exitcode(status):
        raise RuntimeError(f"{' '.join(command)}: {err.read_text()}")
    scale = 1 if sys.platform == "darwin" else 1024
    return TimedCommand(seconds, used.ru_maxrss * scale, out.read_text(), used.ru_utime + used.ru_stime)
