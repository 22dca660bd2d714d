"""Which images stay in one split: copies, look-alikes and the frames of one video; and what a build says of leaks."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..core.config import SplitConfig
from ..core.text_tables import many
from ..core.types import SPLITS
from ..images.perceptual_hash import groups, near_duplicates, stretches
from ..labels.label_store import Key

# Look-alikes over this share of the images are no duplicates but what all the images look like.
_MOST_ALIKE = 0.2
_FEW = 10
_SHORTEST_STRETCH = 4
_PAIRS_KEPT = 200


@dataclass(frozen=True)
class Together:
    """Images that stay in one split.

    `group_of` is the group of each path, `links` the pairs that look alike. A group too large for a split (one video, a
    fixed camera) is `cut` into stretches of images that follow one another by name: path → stretch.
    """

    group_of: Mapping[str, str]
    links: tuple[tuple[str, str], ...]
    cut: Mapping[str, str]

    @classmethod
    def of(cls, keys: Mapping[str, Key], given: Mapping[str, str], split: SplitConfig) -> Together:
        """The groups of stored images (path → key), of which `given` (path → group) puts some together."""
        distance = split.near_duplicates
        links = [] if distance is None else near_duplicates({path: key.phash for path, key in keys.items()}, distance)
        first = _first_of_content(keys)
        copies = [(path, original) for path, original in first.items() if path != original]
        given = {path: given[path] for path in keys if path in given}
        shares = [share for share in (getattr(split, name) for name in SPLITS) if share > 0]
        cutter = _Cutter(keys, given, first, shares)
        joined = groups(keys, [*copies, *links], given)
        sizes = Counter(joined.values())
        most = max(_FEW, int(len(keys) * _MOST_ALIKE))
        for group in sorted(group for group, size in sizes.items() if size > most):
            cutter.cut_look_alikes([path for path in keys if joined[path] == group])
        for name, size in sorted(Counter(given.values()).items()):
            if size > max(_FEW, int(len(keys) * max(shares))):
                cutter.cut_given(name)
        group_of = cutter.groups(copies, links)
        if len(set(group_of.values())) < len(shares):
            for name in sorted(set(given.values())):
                cutter.cut_given(name)
            group_of = cutter.groups(copies, links)
        if len(set(group_of.values())) < len(shares):
            cutter.cut_look_alikes(list(keys))
            group_of = cutter.groups(copies, links)
        return cls(group_of, tuple(links), cutter.stretch_of)

    def as_json(self, places: Mapping[str, str]) -> dict[str, Any]:
        """What the dataset's index keeps, once each path has its split: {"groups", "images": in groups of several,
        "cut": {"images", "stretches"}, "look_alikes": pairs, "across": of these, in two splits, "pairs": some of those
        in one}."""
        several = [size for size in Counter(self.group_of.values()).values() if size > 1]
        within = [pair for pair in self.links if places[pair[0]] == places[pair[1]]]
        return {
            "groups": len(several),
            "images": sum(several),
            "cut": {"images": len(self.cut), "stretches": len(set(self.cut.values()))},
            "look_alikes": len(self.links),
            "across": len(self.links) - len(within),
            "pairs": [list(pair) for pair in within[:_PAIRS_KEPT]],
        }


def leakage(kept_together: Mapping[str, Any]) -> str:
    """What `Together.as_json` says, in one or two sentences."""
    across, pairs, cut = (kept_together[key] for key in ("across", "look_alikes", "cut"))
    said = f"Leakage: {across} of {many(pairs, 'look-alike pair')} in two splits"
    if kept_together["groups"]:
        said += (
            f"; {many(kept_together['images'], 'image')} kept together in {many(kept_together['groups'], 'group')} "
            "(copies, look-alikes, frames)"
        )
    if not cut["images"]:
        return f"{said}."
    return (
        f"{said}. {many(cut['images'], 'image')} of one video or one view were too many for a split and went into the "
        f"splits by {many(cut['stretches'], 'stretch', 'stretches')} of consecutive images: scores may flatter."
    )


def _first_of_content(keys: Mapping[str, Key]) -> dict[str, str]:
    first: dict[str, str] = {}
    return {path: first.setdefault(keys[path].sha256, path) for path in sorted(keys)}


class _Cutter:
    """Cuts what is too large into stretches, and makes the groups of what it left and what it cut."""

    def __init__(
        self, keys: Mapping[str, Key], given: Mapping[str, str], first: Mapping[str, str], shares: Sequence[float]
    ) -> None:
        self._keys = keys
        self._given = given
        self._first = first
        self._shares = shares
        self.stretch_of: dict[str, str] = {}
        # Across these sets of images a likeness no longer joins.
        self._apart: set[str] = set()

    def cut_look_alikes(self, paths: Sequence[str]) -> None:
        """Cuts what `paths` hold beside videos, which are whole as long as they are not too large themselves."""
        self._apart.update(paths)
        self._cut([path for path in paths if path not in self._given])

    def cut_given(self, name: str) -> None:
        """Cuts one video."""
        members = [path for path in self._keys if self._given.get(path) == name]
        self._apart.update(members)
        self._cut(members)

    def groups(self, copies: Sequence[tuple[str, str]], links: Sequence[tuple[str, str]]) -> dict[str, str]:
        """The group of each path: copies stay together whatever was cut."""
        in_group = {path: f"given {name}" for path, name in self._given.items()}
        in_group |= {path: f"stretch {name}" for path, name in self.stretch_of.items()}
        held = [pair for pair in links if not self._apart.issuperset(pair)]
        return groups(self._keys, [*copies, *held], in_group)

    def _cut(self, paths: Sequence[str]) -> None:
        # Copies go where the first of them goes, or they would tie stretches together again.
        of_first: dict[str, list[str]] = defaultdict(list)
        for path in paths:
            of_first[self._first[path]].append(path)
        aim = max(_SHORTEST_STRETCH, int(min(self._shares) * len(of_first) / 2))
        longest = max(1, min(aim, len(of_first) // len(self._shares)))
        for original, stretch in stretches(of_first, longest).items():
            self.stretch_of.update(dict.fromkeys(of_first[original], stretch))
