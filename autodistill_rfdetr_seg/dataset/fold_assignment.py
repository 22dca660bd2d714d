"""Divides the images of a dataset into folds: what may be a copy of another image stays in its fold."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from typing import Literal

from ..core.config import SplitConfig
from ..core.errors import DataError
from ..core.plain_text import counted
from ..labels.stored_labels import Key
from .split_assignment import assign
from .split_groups import SplitGroups

# The part of a student's images that chooses its checkpoint.
_VALID = 0.15


def fold_groups(keys: Mapping[str, Key], video_of: Mapping[str, str], split: SplitConfig, folds: int) -> dict[str, str]:
    """The group of each path, for `folds` folds of one size: a group stays in one fold.

    Groups are those of `SplitGroups`: copies, frames of one video, and images that look alike.

    Raises:
        DataError: there are too few groups for a student of each fold.
    """
    part = 1 / folds
    # A group is cut if it is larger than a fold: the three fractions bound its size.
    fractions = {"train": part, "valid": part, "test": 1 - 2 * part}
    sized = split.model_copy(update=fractions)
    groups = dict(SplitGroups.from_labels(keys, video_of, sized).group_of)
    # Each student needs a group to train on and one to choose its checkpoint, both from other folds than its own.
    count = len(set(groups.values()))
    if count < max(folds, 4):
        raise DataError(
            f"{counted(len(keys), 'image')} in {counted(count, 'group')} of look-alikes are too few for {folds} folds.",
            "Label more images of different scenes.",
        )
    return groups


def assign_folds(group_of: Mapping[str, str], folds: int, seed: int) -> dict[str, int]:
    """The fold (0 … folds - 1) of each path; whole groups, by a hash of `seed` and the group's first path."""
    named = _named_by_first_path(group_of)
    fractions = {str(fold): 1 / folds for fold in range(folds)}
    fold_of = assign(Counter(named.values()), fractions, seed)
    return {path: int(fold_of[group]) for path, group in named.items()}


def assign_student_splits(
    group_of: Mapping[str, str], labeled: Collection[str], seed: int
) -> dict[str, Literal["train", "valid"]]:
    """The split of each path that a student trains on: most to "train", a part to "valid".

    Groups with a path in `labeled`, the images with an instance, are divided apart from the others, so that both splits
    have instances where there are two such groups.
    """
    named = _named_by_first_path(group_of)
    with_instances = {named[path] for path in labeled if path in named}
    sizes = Counter(named.values())
    split_of: dict[str, str] = {}
    for some in (with_instances, sizes.keys() - with_instances):
        split_of |= assign({group: sizes[group] for group in some}, {"train": 1 - _VALID, "valid": _VALID}, seed)
    return {path: "valid" if split_of[group] == "valid" else "train" for path, group in named.items()}


def _named_by_first_path(group_of: Mapping[str, str]) -> dict[str, str]:
    first: dict[str, str] = {}
    return {path: first.setdefault(group_of[path], path) for path in sorted(group_of)}
