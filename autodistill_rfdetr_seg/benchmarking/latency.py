"""Latencies: the order of the runs, their times, and the summary of them. Pure functions."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

T = TypeVar("T")


@dataclass(frozen=True)
class Latency:
    """Milliseconds over `runs` runs; `least` and `most` are the extremes; percentiles are interpolated linearly."""

    median: float
    p95: float
    mean: float
    least: float
    most: float
    runs: int

    @classmethod
    def from_times(cls, milliseconds: Sequence[float]) -> Latency:
        """The summary of one run or more."""
        ms = np.asarray(milliseconds, dtype=float)
        median, p95 = np.percentile(ms, [50, 95])
        return cls(float(median), float(p95), float(ms.mean()), float(ms.min()), float(ms.max()), len(ms))


def measure(
    call: Callable[[int], object],
    runs: int,
    warm_up: int = 0,
    pause: float = 0.0,
    *,
    clock: Callable[[], float] = time.perf_counter,
    sleep: Callable[[float], object] = time.sleep,
) -> list[float]:
    """Milliseconds of each of `runs` calls, each with its number; the `warm_up` calls before them are not counted.

    `pause` seconds between two calls are not counted either; they let the device cool down, as hot ones are throttled.
    """
    found = []
    for number in range(-warm_up, runs):
        if pause and number > -warm_up:
            sleep(pause)
        started = clock()
        call(max(number, 0))
        took = clock() - started
        if number >= 0:
            found.append(took * 1000)
    return found


def round_sizes(runs: int, rounds: int) -> list[int]:
    """The numbers of runs in up to `rounds` rounds; no round is empty."""
    rounds = min(runs, rounds)
    return [runs // rounds + (at < runs % rounds) for at in range(rounds)]


def rotated(rows: Sequence[T], number: int) -> list[T]:
    """The order of the rows in round `number`: each round starts with another row, so that no row always runs first,
    on a cool machine."""
    start = number % len(rows) if rows else 0
    return [*rows[start:], *rows[:start]]


def drift(medians: Sequence[float]) -> float:
    """How much slower the slowest round is than the fastest, by their medians, as a fraction."""
    return max(medians) / min(medians) - 1
