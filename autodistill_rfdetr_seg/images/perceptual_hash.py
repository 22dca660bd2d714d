"""Images that look alike: a perceptual hash, pairs of near hashes, the groups they make, and runs of neighbours.

Near-duplicates on both sides of a split make a model look better than it is; groups keep them on one.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from ..core.errors import UsageError
from .rgb_image import RgbImage

BITS = 64
_SIDE = 32
_BLOCK = 8
# Standard deviation of the small picture in grey levels (0…255): below it there is noise, and no picture to compare.
_LEAST_STRUCTURE = 2.0

_Hashes = npt.NDArray[np.uint64]
_Indices = npt.NDArray[np.intp]


def perceptual_hash(pixels: RgbImage) -> int | None:
    """The 64-bit pHash of an image, HWC uint8 RGB: near images have hashes of a small Hamming distance.

    The picture is made grey and 32x32, its discrete cosine transform taken, and each of the 8x8 lowest frequencies
    compared with their median (Zauner, "Implementation and Benchmarking of Perceptual Image Hash Functions", 2010).
    Size, compression and brightness hardly change it; cropping, turning and mirroring do.

    A picture with nearly no structure (all black, fog) gives None: its bits would be noise, or those of every other
    flat picture, and it must not be joined with all of them.
    """
    import cv2

    grey = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
    height, width = grey.shape
    # Whole blocks of pixels are averaged many times faster than an odd share of them, which is left to a small rest.
    if (block := min(height, width) // (4 * _SIDE)) > 1:
        grey = cv2.resize(
            grey[: height // block * block, : width // block * block],
            (width // block, height // block),
            interpolation=cv2.INTER_AREA,
        )
    small = cv2.resize(grey, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA)
    if small.std() < _LEAST_STRUCTURE:
        return None
    low = cv2.dct(small.astype(np.float32))[:_BLOCK, :_BLOCK]
    bits = (low > np.median(low)).ravel()
    return int.from_bytes(np.packbits(bits).tobytes(), "big")


def near_duplicates(hashes: Mapping[str, int | None], distance: int) -> list[tuple[str, str]]:
    """Pairs of names whose hashes differ in at most `distance` of 64 bits; exact, each pair in order and once, sorted.

    Names with the very same hash are one chain (a b, b c …), and for other names the first of the chain stands: the
    pairs connect the same names as all pairs would, and a thousand equal images give 999. A hash of None has no pair.

    Raises:
        UsageError: `distance` is not 0 to 64.
    """
    if not 0 <= distance <= BITS:
        raise UsageError(f"A distance between hashes is 0 to {BITS}, not {distance}.")
    named: dict[int, list[str]] = defaultdict(list)
    for name in sorted(hashes):
        value = hashes[name]
        if value is not None:
            named[value].append(name)
    pairs = [pair for chain in named.values() for pair in pairwise(chain)]
    firsts = [chain[0] for chain in named.values()]
    left, right = _near(np.array(list(named), dtype=np.uint64), distance)
    # `firsts` is in the order of names, because `named` was filled in it.
    pairs += [(firsts[one], firsts[other]) for one, other in zip(left.tolist(), right.tolist(), strict=True)]
    return sorted(pairs)


def nearest(hashes: Sequence[int], among: Sequence[int]) -> list[tuple[int, int]]:
    """For each of `hashes` the place of the nearest hash in `among` (the first of equals), and the bits they differ in.

    `among` holds one or more. Each is compared with all: 1,000 with 50,000 take about a tenth of a second.
    """
    others = np.array(among, dtype=np.uint64)
    found = []
    for value in hashes:
        bits = _bit_count(others ^ np.uint64(value))
        at = int(bits.argmin())
        found.append((at, int(bits[at])))
    return found


def groups(names: Iterable[str], links: Iterable[tuple[str, str]], given: Mapping[str, str]) -> dict[str, str]:
    """The group of each of `names`: the smallest name among those it is joined with, by whatever chain.

    `links` join two names; names that `given` puts into one group (frames of a video) are joined too. What is said of
    names that are not among `names` is left out.
    """
    parent = {name: name for name in sorted(names)}

    def root(name: str) -> str:
        while parent[name] != name:
            parent[name] = name = parent[parent[name]]
        return name

    first: dict[str, str] = {}
    together = [(first.setdefault(given[name], name), name) for name in parent if name in given]
    for one, other in (*together, *links):
        if one in parent and other in parent:
            small, large = sorted((root(one), root(other)))
            parent[large] = small
    return {name: root(name) for name in parent}


def stretches(names: Iterable[str], longest: int) -> dict[str, str]:
    """Cuts names into runs of neighbours: name → the first name of its run.

    The order is that of reading, 9 before 10. Runs have the same length, the largest power of two that is not over
    `longest` (the last may be shorter): where names are added at the end, or between all others, the old seams stay.
    """
    ordered = sorted(names, key=_reading_order)
    length = 1 << (max(1, longest).bit_length() - 1)
    return {name: ordered[at // length * length] for at, name in enumerate(ordered)}


def _reading_order(name: str) -> tuple[list[str | int], str]:
    # Text and numbers alternate, text first, so that like is compared with like.
    parts: list[str | int] = [int(part) if at % 2 else part for at, part in enumerate(re.split(r"([0-9]+)", name))]
    return parts, name


def _near(hashes: _Hashes, distance: int) -> tuple[_Indices, _Indices]:
    """Index pairs (smaller, larger) of the distinct `hashes` that differ in at most `distance` bits.

    Hashes that differ in d bits agree in one of d + 1 segments: only those that share a segment are compared, unless
    comparing all would be less work.
    """
    empty = np.empty(0, np.intp)
    if distance == 0 or hashes.size < 2:
        return empty, empty
    searches = [_Search(hashes, mask) for mask in _segments(distance)]
    if not searches or sum(search.candidates for search in searches) >= hashes.size * (hashes.size - 1) // 2:
        searches = [_Search(hashes, 0)]
    found = [pair for search in searches for pair in search.pairs(distance)]
    if not found:
        return empty, empty
    left, right = (np.concatenate(side) for side in zip(*found, strict=True))
    # A pair may agree in several segments.
    codes = np.unique(np.minimum(left, right) * np.intp(hashes.size) + np.maximum(left, right))
    return codes // hashes.size, codes % hashes.size


def _segments(distance: int) -> list[int]:
    """Masks of `distance` + 1 runs of bits that make up the 64; none where there are not so many bits."""
    count = distance + 1
    if count > BITS:
        return []
    edges = [BITS * index // count for index in range(count + 1)]
    return [(1 << high) - (1 << low) for low, high in pairwise(edges)]


class _Search:
    """Hashes ordered so that those with the same bits under `mask` are neighbours."""

    def __init__(self, hashes: _Hashes, mask: int) -> None:
        keys = hashes & np.uint64(mask)
        self._order = np.argsort(keys, kind="stable")
        self._hashes = hashes[self._order]
        keys = keys[self._order]
        # How many neighbours to the right are in the same bucket.
        self._after = np.searchsorted(keys, keys, side="right") - np.arange(keys.size) - 1
        self.candidates = int(self._after.sum())

    def pairs(self, distance: int) -> Iterator[tuple[_Indices, _Indices]]:
        """Index pairs within `distance`: each hash against its next neighbour, then the one after that, and so on.

        Memory stays with the number of hashes, however large a bucket is.
        """
        hashes, size = self._hashes, self._hashes.size
        places: _Indices = np.arange(size)
        for step in range(1, int(self._after.max()) + 1):
            places = places[self._after[places] >= step]
            if places.size == size - step:
                differing = hashes[:-step] ^ hashes[step:]
            else:
                differing = hashes[places] ^ hashes[places + step]
            near = places[_bit_count(differing) <= distance]
            if near.size:
                yield self._order[near], self._order[near + step]


def _bit_count(values: _Hashes) -> npt.NDArray[np.uint8]:
    """The number of ones in each value."""
    if hasattr(np, "bitwise_count"):
        ones: npt.NDArray[np.uint8] = np.bitwise_count(values)
        return ones
    # numpy before 2.0
    bits = np.unpackbits(values.view(np.uint8).reshape(-1, 8), axis=1)
    ones = bits.sum(axis=1, dtype=np.uint8)
    return ones
