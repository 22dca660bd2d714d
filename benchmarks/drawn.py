"""What several benchmarks share: folders of drawn images, and commands run in a fresh process, timed."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

COLOURS = {"red": (255, 0, 0), "lime": (0, 255, 0), "blue": (0, 0, 255)}
"""The colours of the objects, RGB; the names are prompts of the base `threshold`."""


def make_images(folder: Path, count: int, sizes: Sequence[tuple[int, int]], seed: int = 0) -> None:
    """`count` JPEGs of the (width, height) in `sizes` by turns of chance: grey clouds with 3 to 9 coloured discs."""
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True)
    for number in range(count):
        width, height = sizes[int(rng.integers(len(sizes)))]
        clouds = rng.integers(40, 160, (6, 8, 1), np.uint8).repeat(3, axis=2)
        pixels = cv2.resize(clouds, (width, height), interpolation=cv2.INTER_CUBIC)
        unit = min(width, height) / 24
        for _ in range(int(rng.integers(3, 10))):
            colour = list(COLOURS.values())[int(rng.integers(len(COLOURS)))]
            centre = (int(rng.integers(width)), int(rng.integers(height)))
            cv2.circle(pixels, centre, round(unit * rng.uniform(1, 3)), colour[::-1], -1, cv2.LINE_AA)
        cv2.imwrite(str(folder / f"{number:06d}.jpg"), pixels)


def classes() -> list[str]:
    """The command line's words for a class of each colour."""
    return [word for name in COLOURS for word in ("--class", f"{name}=disc_{name}")]


@dataclass(frozen=True)
class Finished:
    """A command's seconds, peak resident memory (bytes) and standard output."""

    seconds: float
    peak: int
    output: str


def timed(*words: str, input_folder: Path) -> Finished:
    """Runs `autodistill-seg WORDS` in a process of its own; its outputs go to files in `input_folder`.

    Raises:
        RuntimeError: it ended with an error; its messages are in the text.
    """
    out, err = input_folder / "stdout.txt", input_folder / "stderr.txt"
    command = [sys.executable, "-m", "autodistill_rfdetr_seg", *words]
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
    files = [(os.POSIX_SPAWN_OPEN, at, str(path), flags, 0o644) for at, path in ((1, out), (2, err))]
    started = time.perf_counter()
    # Not `subprocess`: the peak memory of this one child is wanted.
    child = os.posix_spawn(command[0], command, os.environ, file_actions=files)
    _, status, used = os.wait4(child, 0)
    seconds = time.perf_counter() - started
    if os.waitstatus_to_exitcode(status):
        raise RuntimeError(f"{' '.join(command)}: {err.read_text()}")
    scale = 1 if sys.platform == "darwin" else 1024
    return Finished(seconds, used.ru_maxrss * scale, out.read_text())
