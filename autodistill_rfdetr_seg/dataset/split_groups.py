"""Groups of images that stay in one split: copies, look-alikes and the frames of one video; and a summary of leaks."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..core.config import SplitConfig
from ..core.plain_text import counted
from ..core.types import SPLITS
from ..images.perceptual_hash import groups, near_duplicates, runs_of_neighbors
from ..labels.stored_labels import Key

# A group of look-alikes with more than this fraction of the images is no set of duplicates: all images look like that.
_MAX_LOOK_ALIKES = 0.2
_SMALL_GROUP = 10
_MIN_CHUNK = 4
_PAIRS_KEPT = 200


@dataclass(frozen=True)
class SplitGroups:
    """Groups of images; each group goes into one split.

    `group_of` maps each path to its group, `links` are the pairs that look alike. A group too large for a split (one
    video, a fixed camera) is `cut` into chunks of consecutive images, by name: path → chunk.
    """

    group_of: Mapping[str, str]
    links: tuple[tuple[str, str], ...]
    cut: Mapping[str, str]

    @classmethod
    def from_labels(cls, keys: Mapping[str, Key], video_of: Mapping[str, str], split: SplitConfig) -> SplitGroups:
        """The groups of stored images (path → key); `video_of` maps the frames among them to their video."""
        distance = split.near_duplicates
        links = [] if distance is None else near_duplicates({path: key.phash for path, key in keys.items()}, distance)
        first = _first_of_content(keys)
        copies = [(path, original) for path, original in first.items() if path != original]
        video_of = {path: video_of[path] for path in keys if path in video_of}
        fractions = [fraction for fraction in (getattr(split, name) for name in SPLITS) if fraction > 0]
        cutter = _Cutter(keys, video_of, first, fractions)
        joined = groups(keys, [*copies, *links], video_of)
        sizes = Counter(joined.values())
        most = max(_SMALL_GROUP, int(len(keys) * _MAX_LOOK_ALIKES))
        for group in sorted(group for group, size in sizes.items() if size > most):
            cutter.cut_look_alikes([path for path in keys if joined[path] == group])
        for name, size in sorted(Counter(video_of.values()).items()):
            if size > max(_SMALL_GROUP, int(len(keys) * max(fractions))):
                cutter.cut_video(name)
        group_of = cutter.groups(copies, links)
        if len(set(group_of.values())) < len(fractions):
            for name in sorted(set(video_of.values())):
                cutter.cut_video(name)
            group_of = cutter.groups(copies, links)
        if len(set(group_of.values())) < len(fractions):
            cutter.cut_look_alikes(list(keys))
            group_of = cutter.groups(copies, links)
        return cls(group_of, tuple(links), cutter.chunk_of)

    def as_json(self, places: Mapping[str, str]) -> dict[str, Any]:
        """The summary for dataset.json, `places` being the split of each path.

        {"groups", "images"} count groups of several images, "cut": {"images", "stretches"} what was cut into chunks,
        "look_alikes" pairs, "across" those of them in two splits; "pairs" lists some of those in one split.
        """
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
    """`SplitGroups.as_json` in one or two sentences."""
    across, pairs, cut = (kept_together[key] for key in ("across", "look_alikes", "cut"))
    text = f"Leakage: {across} of {counted(pairs, 'look-alike pair')} in two splits"
    if kept_together["groups"]:
        text += (
            f"; {counted(kept_together['images'], 'image')} kept together in "
            f"{counted(kept_together['groups'], 'group')} (copies, look-alikes, frames)"
        )
    if not cut["images"]:
        return f"{text}."
    return (
        f"{text}. {counted(cut['images'], 'image')} of one video or one view were too many for one split and were "
        f"divided in {counted(cut['stretches'], 'chunk')} of consecutive images: scores may be too high."
    )


def _first_of_content(keys: Mapping[str, Key]) -> dict[str, str]:
    first: dict[str, str] = {}
    return {path: first.setdefault(keys[path].sha256, path) for path in sorted(keys)}


class _Cutter:
    """Cuts groups that are too large into chunks of consecutive images, and forms the groups of everything."""

    def __init__(
        self, keys: Mapping[str, Key], video_of: Mapping[str, str], first: Mapping[str, str], fractions: Sequence[float]
    ) -> None:
        self._keys = keys
        self._video_of = video_of
        self._first = first
        self._fractions = fractions
        self.chunk_of: dict[str, str] = {}
        # Among these images, looking alike no longer joins two.
        self._apart: set[str] = set()

    def cut_look_alikes(self, paths: Sequence[str]) -> None:
        """Cuts the images of `paths` that are in no video; videos stay whole unless they are too large themselves."""
        self._apart.update(paths)
        self._cut([path for path in paths if path not in self._video_of])

    def cut_video(self, name: str) -> None:
        """Cuts one video."""
        members = [path for path in self._keys if self._video_of.get(path) == name]
        self._apart.update(members)
        self._cut(members)

    def groups(self, copies: Sequence[tuple[str, str]], links: Sequence[tuple[str, str]]) -> dict[str, str]:
        """The group of each path; copies stay together whatever was cut."""
        in_group = {path: f"video {name}" for path, name in self._video_of.items()}
        in_group |= {path: f"chunk {name}" for path, name in self.chunk_of.items()}
        joined = [pair for pair in links if not self._apart.issuperset(pair)]
        return groups(self._keys, [*copies, *joined], in_group)

    def _cut(self, paths: Sequence[str]) -> None:
        # Copies go where the first of them goes; otherwise they would join the chunks again.
        of_first: dict[str, list[str]] = defaultdict(list)
        for path in paths:
            of_first[self._first[path]].append(path)
        aim = max(_MIN_CHUNK, int(min(self._fractions) * len(of_first) / 2))
        longest = max(1, min(aim, len(of_first) // len(self._fractions)))
        for original, chunk in runs_of_neighbors(of_first, longest).items():
            self.chunk_of.update(dict.fromkeys(of_first[original], chunk))
