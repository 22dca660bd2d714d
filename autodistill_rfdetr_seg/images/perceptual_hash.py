"""Finds images that look alike: a perceptual hash, pairs of near hashes, groups of pairs, and runs of neighbors.

Near-duplicates on both sides of a split make a model look better than it is; a group goes into one split.
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
# Standard deviation of the small picture in gray levels (0…255): below it there is only noise.
_LEAST_STRUCTURE = 2.0
# More pairs than this, and than there are hashes, would take gigabytes.
_MOST_PAIRS = 2_000_000

_Hashes = npt.NDArray[np.uint64]
_Indices = npt.NDArray[np.intp]


def perceptual_hash(pixels: RgbImage) -> int | None:
    """The 64-bit pHash of an image, HWC uint8 RGB: near images have hashes of a small Hamming distance.

    The picture is converted to gray and 32x32, its discrete cosine transform is computed, and each of the 8x8 lowest
    frequencies is compared with their median (Zauner, "Implementation and Benchmarking of Perceptual Image Hash
    Functions", 2010). Size, compression and brightness hardly change it; cropping, turning and mirroring do.

    A picture with almost no structure (all black, fog) gives None: its bits would be noise, or equal to those of every
    other flat picture.
    """
    import cv2

    gray = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
    height, width = gray.shape
    # Averaging whole blocks of pixels is many times faster; only a small image is then resized by an odd factor.
    if (block := min(height, width) // (4 * _SIDE)) > 1:
        gray = cv2.resize(
            gray[: height // block * block, : width // block * block],
            (width // block, height // block),
            interpolation=cv2.INTER_AREA,
        )
    small = cv2.resize(gray, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA)
    if small.std() < _LEAST_STRUCTURE:
        return None
    low = cv2.dct(small.astype(np.float32))[:_BLOCK, :_BLOCK]
    bits = (low > np.median(low)).ravel()
    return int.from_bytes(np.packbits(bits).tobytes(), "big")


def near_duplicates(hashes: Mapping[str, int | None], distance: int) -> list[tuple[str, str]]:
    """Pairs of names whose hashes differ in at most `distance` of 64 bits; exact, each pair in order and once, sorted.

    Names with the same hash form one chain (a b, b c …), and only the first of the chain is paired with other names.
    The pairs connect the same names as all pairs would: a thousand equal images give 999. Of more than two million
    pairs (frames of fixed cameras are all near each other) likewise only such remain. A hash of None has no pair.

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
    """For each of `hashes` the index of the nearest hash in `among` (the first of equals), and the bits they differ in.

    `among` holds one or more. Each is compared with all: 1,000 with 50,000 take about a tenth of a second.
    """
    others = np.array(among, dtype=np.uint64)
    found = []
    for value in hashes:
        bits = _bit_count(others ^ np.uint64(value))
        at = int(bits.argmin())
        found.append((at, int(bits[at])))
    return found


def groups(names: Iterable[str], links: Iterable[tuple[str, str]], known_groups: Mapping[str, str]) -> dict[str, str]:
    """The group of each of `names`: the smallest name of all names that it is linked to, directly or through others.

    `links` join two names; names of the same group in `known_groups` (frames of a video) are joined too. Names that are
    not in `names` are ignored.
    """
    parent = {name: name for name in sorted(names)}

    def root(name: str) -> str:
        while parent[name] != name:
            parent[name] = name = parent[parent[name]]
        return name

    first: dict[str, str] = {}
    known_links = [(first.setdefault(known_groups[name], name), name) for name in parent if name in known_groups]
    for one, other in (*known_links, *links):
        if one in parent and other in parent:
            small, large = sorted((root(one), root(other)))
            parent[large] = small
    return {name: root(name) for name in parent}


def runs_of_neighbors(names: Iterable[str], longest: int) -> dict[str, str]:
    """Cuts names into runs of neighbors: name → the first name of its run.

    Numbers in names are ordered by value, 9 before 10. Runs have the same length, the largest power of two that is not
    over `longest` (the last may be shorter): if names are added at the end, or between all others, the old cuts stay.
    """
    ordered = sorted(names, key=_reading_order)
    length = 1 << (max(1, longest).bit_length() - 1)
    return {name: ordered[at // length * length] for at, name in enumerate(ordered)}


def _reading_order(name: str) -> tuple[list[str | int], str]:
    # Text and numbers alternate, text first, so that text is compared with text.
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
    found = _NearPairs(hashes.size)
    for search in searches:
        _add_pairs(search, distance, found)
    return found.sorted()


def _add_pairs(search: _Search, distance: int, found: _NearPairs) -> None:
    """Adds the near pairs of a search.

    Frames of fixed cameras have so many that only connections are kept. Then frames that are connected are not compared
    again, which would take time with the square of the frames of a camera.
    """
    rest: _Search | None = search.among(found.current_groups())
    while rest is not None:
        search, rest = rest, None
        for left, right in search.pairs(distance):
            found.add(left, right)
            if (rest := search.shortened(found.group)) is not None:
                break


def _segments(distance: int) -> list[int]:
    """Masks of `distance` + 1 runs of bits that divide the 64; none if there are fewer bits than runs."""
    count = distance + 1
    if count > BITS:
        return []
    edges = [BITS * index // count for index in range(count + 1)]
    return [(1 << high) - (1 << low) for low, high in pairwise(edges)]


class _NearPairs:
    """Pairs of near hashes; if there are too many, only some of them, which connect the same hashes."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._most = max(_MOST_PAIRS, count)
        self._codes: list[_Indices] = []
        self._size = 0
        # Once there were too many pairs, the group of each hash that the pairs connect; newer pairs may join groups.
        self.group: _Indices | None = None

    def add(self, left: _Indices, right: _Indices) -> None:
        """Adds pairs of indices; a pair may come several times, as hashes may agree in several segments."""
        if self.group is not None:
            joins = self.group[left] != self.group[right]
            left, right = left[joins], right[joins]
        self._codes.append(np.minimum(left, right) * np.intp(self._count) + np.maximum(left, right))
        self._size += left.size
        if self._size > 2 * self._most:
            self._reduce()

    def current_groups(self) -> _Indices | None:
        """`group` with all pairs that were added."""
        if self.group is not None:
            self._reduce()
        return self.group

    def sorted(self) -> tuple[_Indices, _Indices]:
        """The pairs (smaller index, larger index), in order and each once."""
        if not self._codes:
            return np.empty(0, np.intp), np.empty(0, np.intp)
        self._reduce()
        return self._codes[0] // self._count, self._codes[0] % self._count

    def _reduce(self) -> None:
        from scipy.sparse import csr_array
        from scipy.sparse.csgraph import connected_components, minimum_spanning_tree

        codes = np.unique(np.concatenate(self._codes))
        if codes.size > self._most or self.group is not None:
            # Different weights, so that the result is the same on each machine.
            pairs = (np.arange(1.0, codes.size + 1), (codes // self._count, codes % self._count))
            tree = minimum_spanning_tree(csr_array(pairs, shape=(self._count, self._count))).tocoo()
            self.group = connected_components(tree, directed=False)[1].astype(np.intp)
            codes = np.sort(tree.row.astype(np.intp) * self._count + tree.col)
        self._codes, self._size = [codes], codes.size


class _Search:
    """Hashes ordered so that those with the same bits under `mask`, a bucket, are neighbors.

    With the group of each hash, only hashes of different groups need be compared. Hashes of the largest group come last
    in their bucket, so that each of the others is compared with them, and they with nothing.
    """

    def __init__(self, hashes: _Hashes, mask: int, group: _Indices | None = None) -> None:
        self._unsorted, self._mask, self._group = hashes, mask, group
        keys = hashes & np.uint64(mask)
        if group is None:
            self._order = np.argsort(keys, kind="stable")
        else:
            self._order = np.lexsort((group, np.bincount(group)[group], keys))
        self._hashes = hashes[self._order]
        keys = keys[self._order]
        places = np.arange(keys.size)
        # The last place that a hash must be compared with: the end of its bucket, or where the last group of it starts.
        last = np.searchsorted(keys, keys, side="right") - 1
        if group is not None:
            ordered = group[self._order]
            starts = np.flatnonzero(np.r_[True, (keys[1:] != keys[:-1]) | (ordered[1:] != ordered[:-1])])
            start = np.repeat(starts, np.diff(np.r_[starts, keys.size]))
            last = np.where(ordered == ordered[last], start[last] - 1, last)
        # With how many neighbors to the right it is compared.
        self._after = np.maximum(last - places, 0)
        self.candidates = self._remaining = int(self._after.sum())

    def among(self, group: _Indices | None) -> _Search:
        """The same search with these groups."""
        return self if group is self._group else _Search(self._unsorted, self._mask, group)

    def shortened(self, group: _Indices | None) -> _Search | None:
        """The search with these groups, if they are new and save more than half of what is left."""
        rest = self.among(group)
        if rest is self:
            return None
        self._group = group
        return rest if 2 * rest.candidates < self._remaining else None

    def pairs(self, distance: int) -> Iterator[tuple[_Indices, _Indices]]:
        """Index pairs within `distance`: each hash against its next neighbor, then the one after that, and so on.

        Memory stays with the number of hashes, however large a bucket is.
        """
        hashes, size = self._hashes, self._hashes.size
        places: _Indices = np.arange(size)
        for step in range(1, int(self._after.max()) + 1):
            places = places[self._after[places] >= step]
            self._remaining -= places.size
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
