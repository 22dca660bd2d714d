"""Assigns groups of images to splits: pure, seeded, stable.

Groups (a single image, or frames that belong together) are ordered by a hash of seed and group, and assigned so that
the sizes match the fractions to within one group. A group that already has a split keeps it: adding images moves none.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from ..core.types import SPLITS


def assign(
    groups: Mapping[str, int],
    fractions: Mapping[str, float],
    seed: int = 0,
    previous: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """The split of each group.

    Args:
        groups: group → number of images in it.
        fractions: split → fraction of the images (they add up to 1); a split with fraction 0 gets no new group. Names
            other than those of a dataset's splits are allowed: the folds of an audit.
        previous: splits of an earlier assignment, kept as they are.

    Returns:
        group → split. No split with a fraction above 0 stays empty, as long as there are enough new groups.
    """
    names = tuple(dict.fromkeys((*SPLITS, *fractions)))
    places = {group: split for group, split in (previous or {}).items() if group in groups}
    sizes = dict.fromkeys(names, 0)
    for group, split in places.items():
        sizes[split] += groups[group]
    wanted = [split for split in names if fractions.get(split, 0) > 0]
    free = sorted((group for group in groups if group not in places), key=lambda group: _hash(seed, group))
    total = sum(groups.values())
    for index, group in enumerate(free):
        empty = [split for split in wanted if sizes[split] == 0]
        # The last groups go to splits that would otherwise stay empty; until then, to the one furthest below its
        # fraction.
        candidates = empty if len(empty) >= len(free) - index else wanted
        split = max(candidates, key=lambda name: (fractions[name] * total - sizes[name], -names.index(name)))
        places[group] = split
        sizes[split] += groups[group]
    return places


def _hash(seed: int, group: str) -> str:
    return hashlib.sha256(f"{seed}\0{group}".encode()).hexdigest()
