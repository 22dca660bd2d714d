"""Latencies, pure: what is run in which order, what counts, and how it is told in few numbers."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

T = TypeVar("T")


@dataclass(frozen=True)
class Latency:
    """Milliseconds over `runs` runs; percentiles are interpolated linearly."""

    median: float
    p95: float
    mean: float
    least: float
    most: float
    runs: int

    @classmethod
    def of(cls, milliseconds: Sequence[float]) -> Latency:
        """Of at least one run."""
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
    """Milliseconds of each of `runs` calls, which get their number; those of warming up, before them, do not count.

    `pause` seconds of rest come between two calls and count neither: a device that is hot slows itself down.
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


def shares(runs: int, rounds: int) -> list[int]:
    """`runs` spread over up to `rounds` rounds, none of them empty."""
    rounds = min(runs, rounds)
    return [runs // rounds + (at < runs % rounds) for at in range(rounds)]


def turns(rows: Sequence[T], number: int) -> list[T]:
    """The order of round `number`: each begins with another row, so that none always runs on a machine that is rested
    (or tired)."""
    start = number % len(rows) if rows else 0
    return [*rows[start:], *rows[:start]]


def drift(medians: Sequence[float]) -> float:
    """By what share the slowest round's median is over the fastest's."""
    return max(medians) / min(medians) - 1
