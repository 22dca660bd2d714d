"""Reads and checks the run lengths of COCO's compressed RLE of one mask; `mask_measures` does it for many."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ..core.types import Rle

MAX_CHARACTERS = 7  # of one run length: 35 bits, where MAX_SIDE squared needs 31

Runs = npt.NDArray[np.int64]


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
    if lengths.max() > MAX_CHARACTERS:
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
