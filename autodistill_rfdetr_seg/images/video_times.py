"""Converts the timestamps of a video to the seconds at which frames are shown, which only increase."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise


class Clock:
    """Seconds since the first frame, one call a frame in the order of presentation; each is above the one before.

    A frame's own timestamp is used wherever that is possible. `tick` is the unit of timestamps in seconds, `step` the
    usual time from a frame to the next in seconds. A frame without a timestamp comes one step after the previous one.
    In recordings that were joined, timestamps start over: from there on, times are shifted so that the first frame
    comes one step after the previous one. A time that goes back by less than one step is an error of one frame,
    which then comes directly after the previous one; the frames after it keep their own times.
    """

    def __init__(self, tick: Fraction, step: Fraction) -> None:
        self._tick, self._step = tick, step
        self._last: Fraction | None = None
        self._shift: Fraction | None = None

    def seconds(self, timestamp: int | None) -> Fraction:
        """The time of the next frame, with its timestamp in ticks (None if the file has none)."""
        follows = Fraction(0) if self._last is None else self._last + self._step
        if timestamp is None:
            self._last = follows
            return follows
        own = timestamp * self._tick
        if self._shift is None or (self._last is not None and self._last - own - self._shift >= self._step):
            self._shift = follows - own
        seconds = own + self._shift
        if self._last is not None and seconds <= self._last:
            seconds = self._last + min(self._tick, self._step / 4)
        self._last = seconds
        return seconds


def usual_step(timestamps: Sequence[int]) -> int | None:
    """The median distance of consecutive timestamps that grow, in the same unit; None if there are none."""
    steps = sorted(after - before for before, after in pairwise(timestamps) if after > before)
    return steps[(len(steps) - 1) // 2] if steps else None
