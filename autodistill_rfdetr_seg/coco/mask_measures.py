"""Measures many compressed masks at once: which are valid, their areas and boxes. `run_lengths` reads one, with a
message."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from .run_lengths import MAX_CHARACTERS

_INT32_CHARACTERS = 5  # 25 bits
_BATCH = 2000  # masks that are measured together, so that their arrays stay in the processor's cache
_BATCHES_FOR_THREADS = 4

_Integers = npt.NDArray[np.integer[Any]]


class MeasuredMasks(NamedTuple):
    """Of compressed masks (N,): whether each is `plain`, which means valid and without a run of zero pixels inside,
    its `areas` in pixels, and its `boxes_xywh` (N, 4) in pixels; zeros where it is not plain, or empty."""

    plain: npt.NDArray[np.bool_]
    areas: npt.NDArray[np.int64]
    boxes_xywh: npt.NDArray[np.int64]

    def spread(self, places: Sequence[int], count: int) -> MeasuredMasks:
        """The measures of `count` masks, of which these are those at `places`, and the others are not plain."""
        found = _none_plain(count)
        for into, value in zip(found, self, strict=True):
            into[list(places)] = value
        return found


def measure(counts: Sequence[bytes], sizes: Sequence[tuple[int, int]]) -> MeasuredMasks:
    """Measures masks with these compressed `counts` in images of these `sizes` (height, width)."""
    if not counts:
        return _none_plain(0)
    shapes = np.asarray(sizes, dtype=np.int64)
    parts = [slice(start, start + _BATCH) for start in range(0, len(counts), _BATCH)]

    def measured(part: slice) -> MeasuredMasks:
        return _measure_batch(counts[part], shapes[part])

    if len(parts) < _BATCHES_FOR_THREADS:
        return _joined(list(map(measured, parts)))
    # Two threads take two thirds of the time of one, and more than that gain nothing.
    with ThreadPoolExecutor(2) as pool:
        return _joined(list(pool.map(measured, parts)))


def _measure_batch(counts: Sequence[bytes], shapes: npt.NDArray[np.int64]) -> MeasuredMasks:
    lengths = np.fromiter(map(len, counts), dtype=np.int64, count=len(counts))
    values = np.frombuffer(b"".join(counts), dtype=np.uint8) - np.uint8(48)  # characters below 48 wrap to above 63
    last = np.cumsum(lengths) - 1
    # A mask without text, with a strange character or without an end is left to the slow way, and its neighbors then
    # are measured without it.
    readable = lengths > 0
    readable[np.searchsorted(last, np.flatnonzero(values > 63))] = False
    readable[readable] = values[last[readable]] < 32
    if not readable.all():
        kept = np.flatnonzero(readable).tolist()
        return measure([counts[at] for at in kept], shapes[kept].tolist()).spread(kept, len(counts))
    ends = np.flatnonzero(values < 32)
    numbers, too_long = _numbers(values, ends)
    stop = np.searchsorted(ends, last, side="right")
    pairs = _Pairs.of_numbers(numbers, stop)
    wrong = np.union1d(np.searchsorted(stop, too_long, side="right"), pairs.wrong())
    return pairs.measured(shapes, wrong)


def _numbers(values: npt.NDArray[np.uint8], ends: npt.NDArray[np.int64]) -> tuple[_Integers, npt.NDArray[np.int64]]:
    """The numbers in the characters, and the indices of those that have too many; see `runs_of_string`."""
    starts = np.concatenate([[0], ends[:-1] + 1])
    more = ends - starts  # characters after the first
    # int32 takes less time. Sums of such numbers may overflow, but then a run length before them is below 1.
    kind = np.int32 if more.max() < _INT32_CHARACTERS else np.int64
    numbers: _Integers = (values[starts] & 31).astype(kind)
    longer = np.flatnonzero(more)
    at = starts[longer]
    for digit in range(1, MAX_CHARACTERS):
        if not len(longer):
            break
        at += 1
        character = values[at]
        numbers[longer] |= (character & 31).astype(kind) << (5 * digit)
        goes_on = character >= 32
        longer, at = longer[goes_on], at[goes_on]
    negative = np.flatnonzero(values[ends] & 16)
    numbers[negative] -= kind(1) << (5 * np.minimum(more[negative] + 1, MAX_CHARACTERS)).astype(kind)
    return numbers, longer


@dataclass(frozen=True, slots=True)
class _Pairs:
    """The runs of many masks as pairs (P,) of a run outside and the run inside that follows; the masks' pairs lie one
    after the other.

    `first` and `last` (N,) are the indices of each mask's first and last pair. A mask that ends `outside` (indices)
    has a run inside of 0 pixels in its last pair.
    """

    outside_runs: _Integers
    inside_runs: _Integers
    first: npt.NDArray[np.int64]
    last: npt.NDArray[np.int64]
    outside: npt.NDArray[np.int64]

    @classmethod
    def of_numbers(cls, numbers: _Integers, stop: npt.NDArray[np.int64]) -> _Pairs:
        """From the numbers of the masks; `stop` (N,) is where each mask's numbers end."""
        lengths = np.diff(stop, prepend=0)
        outside = np.flatnonzero(lengths & 1)
        counts = (lengths + 1) // 2
        last = np.cumsum(counts) - 1
        first = last + 1 - counts
        if len(outside):
            numbers = np.insert(numbers, stop[outside], 0)
        # From the third on, a number is the difference to the run two before.
        even, odd = numbers[0::2].copy(), numbers[1::2]
        stated = even[first]
        even[first] = 0
        outside_runs, inside_runs = _sums(even, first, counts), _sums(odd, first, counts)
        outside_runs[first] = stated
        inside_runs[last[outside]] = 0
        return cls(outside_runs, inside_runs, first, last, outside)

    def wrong(self) -> npt.NDArray[np.int64]:
        """The indices of masks with a run below 1 pixel, other than a first run of 0."""
        short = self.inside_runs < 1
        short[self.last[self.outside]] = False
        few = self.outside_runs < 1
        few[self.first] = self.outside_runs[self.first] < 0
        return np.searchsorted(self.last, np.flatnonzero(short | few))

    def measured(self, shapes: npt.NDArray[np.int64], wrong: npt.NDArray[np.int64]) -> MeasuredMasks:
        """Areas and boxes in images of these `shapes` (N, 2); the masks `wrong` (indices) are not plain."""
        end = np.cumsum(self.outside_runs, dtype=np.int64)
        end += np.cumsum(self.inside_runs, dtype=np.int64)
        before = np.concatenate([[0], end[self.last[:-1]]])
        plain = end[self.last] - before == shapes[:, 0] * shapes[:, 1]
        plain[wrong] = False
        areas = np.where(plain, np.add.reduceat(self.inside_runs, self.first, dtype=np.int64), 0)
        counts = np.diff(self.last, prepend=-1)
        end -= np.repeat(before, counts)
        # A mask that is not plain may end anywhere.
        kind = np.int32 if (shapes[:, 0] * shapes[:, 1]).max() < 2**31 else np.int64
        boxes = self._boxes(end.astype(kind), np.maximum(shapes[:, 0], 1).astype(kind), counts)
        return MeasuredMasks(plain, areas, np.where((areas > 0)[:, None], boxes, 0))

    def _boxes(self, end: _Integers, heights: _Integers, counts: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Boxes (N, 4) from where the runs inside `end` (P,), counted down the columns from each mask's first pixel."""
        height: Any = np.repeat(heights, counts) if (heights != heights[0]).any() else heights[0]
        start, end = end - self.inside_runs.astype(end.dtype), end - 1
        left, right = start // height, end // height
        top, bottom = start - left * height, end - right * height
        across = right > left
        top[across] = 0
        bottom[across] = (height if height.ndim == 0 else height[across]) - 1
        empty = self.last[self.outside]
        top[empty], bottom[empty] = np.iinfo(end.dtype).max, -1
        final = self.last.copy()  # the last pair with a run inside
        final[self.outside] = np.maximum(empty - 1, 0)
        x, y = left[self.first], np.minimum.reduceat(top, self.first)
        width, far = right[final] - x + 1, np.maximum.reduceat(bottom, self.first)
        boxes: npt.NDArray[np.int64] = np.stack([x, y, width, far - y + 1], axis=1).astype(np.int64)
        return boxes


def _sums(values: _Integers, first: npt.NDArray[np.int64], counts: npt.NDArray[np.int64]) -> _Integers:
    """The running sums of each mask's values; `first` is where each mask begins, `counts` how many it has."""
    total: _Integers = np.cumsum(values, dtype=values.dtype)
    before = np.concatenate([np.zeros(1, values.dtype), total[first[1:] - 1]])
    total -= np.repeat(before, counts)
    return total


def _none_plain(count: int) -> MeasuredMasks:
    zeros = np.zeros(count, dtype=np.int64)
    return MeasuredMasks(np.zeros(count, dtype=bool), zeros, np.zeros((count, 4), dtype=np.int64))


def _joined(parts: Sequence[MeasuredMasks]) -> MeasuredMasks:
    plain, areas, boxes = zip(*parts, strict=True)
    return MeasuredMasks(np.concatenate(plain), np.concatenate(areas), np.concatenate(boxes))
