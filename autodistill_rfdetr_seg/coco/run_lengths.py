"""Reads and checks the run lengths of COCO's compressed RLE: of one mask, with a message, or of many at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ..core.types import Rle

_MAX_CHARACTERS = 7  # of one run length: 35 bits, where MAX_SIDE squared needs 31
_BATCH = 500  # masks that are measured together, so that their arrays stay in the processor's cache

Runs = npt.NDArray[np.int64]


class MeasuredMasks(NamedTuple):
    """Of compressed masks (N,): whether each is `plain`, which means valid and without a run of zero pixels inside,
    and its `areas` in pixels (0 where it is not plain)."""

    plain: npt.NDArray[np.bool_]
    areas: npt.NDArray[np.int64]


def measure(counts: Sequence[bytes], pixels: Sequence[int]) -> MeasuredMasks:
    """Measures masks with these compressed `counts` in images of so many `pixels`."""
    plain = np.zeros(len(counts), dtype=bool)
    areas = np.zeros(len(counts), dtype=np.int64)
    sizes = np.asarray(pixels, dtype=np.int64)
    for start in range(0, len(counts), _BATCH):
        part = slice(start, start + _BATCH)
        plain[part], areas[part] = _measure_batch(counts[part], sizes[part])
    return MeasuredMasks(plain, areas)


def _measure_batch(counts: Sequence[bytes], pixels: npt.NDArray[np.int64]) -> MeasuredMasks:
    plain = np.zeros(len(counts), dtype=bool)
    areas = np.zeros(len(counts), dtype=np.int64)
    lengths = np.array([len(one) for one in counts], dtype=np.int64)
    values = np.frombuffer(b"".join(counts), dtype=np.uint8) - np.uint8(48)  # characters below 48 wrap to above 63
    last = np.cumsum(lengths) - 1
    # A mask without text, with a strange character or without an end is left to the slow way, and its neighbors then
    # are measured without it.
    strange = np.flatnonzero(values > 63)
    readable = lengths > 0
    readable[np.searchsorted(last, strange)] = False
    readable[readable] = (values[last[readable]] & 0x20) == 0
    if not readable.all():
        kept = np.flatnonzero(readable)
        if len(kept):
            plain[kept], areas[kept] = _measure_batch([counts[at] for at in kept.tolist()], pixels[kept])
        return MeasuredMasks(plain, areas)
    ends = np.flatnonzero((values & 0x20) == 0)
    numbers, too_long = _numbers(values, ends)
    first = np.concatenate([[0], np.searchsorted(ends, last[:-1], side="right")])
    place = np.arange(len(numbers)) - np.repeat(first, np.diff(np.append(first, len(numbers))))
    odd = (place & 1).astype(bool)
    runs = np.where(odd, _sums(np.where(odd, numbers, 0), first), numbers)
    later = ~odd & (place > 0)
    runs = np.where(later, _sums(np.where(later, numbers, 0), first), runs)
    wrong = (runs < (place > 0)) | too_long
    sums = np.add.reduceat(runs, first)
    areas = np.add.reduceat(np.where(odd, runs, 0), first)
    plain = ~np.logical_or.reduceat(wrong, first) & (sums == pixels)
    return MeasuredMasks(plain, np.where(plain, areas, 0))


def _numbers(values: npt.NDArray[np.uint8], ends: npt.NDArray[np.int64]) -> tuple[Runs, npt.NDArray[np.bool_]]:
    """The numbers in the characters, and which of them have too many; see `runs_of_string`."""
    starts = np.concatenate([[0], ends[:-1] + 1])
    lengths = ends - starts + 1
    numbers = (values[starts] & 0x1F).astype(np.int64)
    longer = np.flatnonzero(lengths > 1)
    for digit in range(1, min(int(lengths.max()), _MAX_CHARACTERS)):
        numbers[longer] |= (values[starts[longer] + digit] & 0x1F).astype(np.int64) << (5 * digit)
        longer = longer[lengths[longer] > digit + 1]
    too_long = lengths > _MAX_CHARACTERS
    numbers -= np.where(values[ends] & 0x10, np.int64(1) << (5 * np.minimum(lengths, _MAX_CHARACTERS)), 0)
    return numbers, too_long


def _sums(values: Runs, first: npt.NDArray[np.int64]) -> Runs:
    """The running sums of each mask's values; `first` is where each mask begins."""
    total = np.cumsum(values)
    before = np.where(first > 0, total[first - 1], 0)
    sums: Runs = total - np.repeat(before, np.diff(np.append(first, len(values))))
    return sums


def check(rle: Rle) -> None:
    """Checks that the run lengths of `rle` are valid.

    Raises:
        ValueError: they are not.
    """
    check_runs(runs_of_string(rle.counts), rle.height, rle.width)


def runs_of_string(counts: bytes) -> Runs:
    """The run lengths of compressed counts: 5 bits a character, the sixth says that more follow, from character 48 on.

    From the third on, a length is stored as its difference from the one two before. Source: rleFrString of maskApi.c.
    """
    values = np.frombuffer(counts, dtype=np.uint8).astype(np.int64) - 48
    if not len(values):
        return values
    if values.min() < 0 or values.max() > 63:
        raise ValueError("the RLE's `counts` have characters that no RLE has")
    ends = np.flatnonzero((values & 0x20) == 0)
    if not len(ends) or ends[-1] != len(values) - 1:
        raise ValueError("the RLE's `counts` end in the middle of a number")
    starts = np.concatenate([[0], ends[:-1] + 1])
    lengths = ends - starts + 1
    if lengths.max() > _MAX_CHARACTERS:
        raise ValueError("the RLE's `counts` have a number too large for any image")
    place = np.arange(len(values)) - np.repeat(starts, lengths)
    numbers: Runs = np.add.reduceat((values & 0x1F) << (5 * place), starts)
    numbers -= np.where(values[ends] & 0x10, np.int64(1) << (5 * lengths), 0)
    numbers[1::2] = np.cumsum(numbers[1::2])
    numbers[2::2] = np.cumsum(numbers[2::2])
    return numbers


def check_runs(runs: Runs, height: int, width: int) -> None:
    """Raises ValueError if the run lengths cannot be those of an image of this size."""
    if len(runs) and runs.min() < 0:
        raise ValueError("the RLE's `counts` have a negative run length")
    if int(runs.sum()) != height * width:
        raise ValueError(f"the RLE's `counts` add up to {int(runs.sum())} pixels, but the image has {height * width}")


def encode_runs(runs: Runs, height: int, width: int) -> Rle:
    """The RLE of checked run lengths, runs of zero pixels inside joined away."""
    from pycocotools import mask as coco_mask

    kept = runs > 0
    runs, inside = runs[kept], (np.arange(len(runs)) % 2)[kept]
    starts = np.concatenate([[0], np.flatnonzero(np.diff(inside)) + 1])
    joined = np.add.reduceat(runs, starts).tolist()
    if inside[0]:
        joined.insert(0, 0)
    return Rle(
        height, width, coco_mask.frPyObjects({"counts": joined, "size": [height, width]}, height, width)["counts"]
    )
