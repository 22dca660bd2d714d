"""Finds gold images that look like training or validation images: saved again, resized, or the next frame."""

from __future__ import annotations

import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from ..core.config import MAX_MEGAPIXELS
from ..core.errors import DataError
from ..core.plain_text import counted
from ..dataset.dataset_index import images_of_index, read_head
from ..images.image_opening import open_rgb
from ..images.perceptual_hash import nearest, perceptual_hash
from ..labels.label_account import LabelAccount, read_account
from ..labels.label_store import LabelStore
from ..labels.stored_labels import HUMAN
from ..system.run_folder import RunFolder

# Frames of a video may differ in twice the bits, but never in as many as photos of different scenes do.
_MAX_BITS = 16
SEEN_SPLITS = ("train", "valid")


@dataclass(frozen=True, slots=True)
class LookAlike:
    """A gold image, the image of the train or valid split that it looks like (`train/b.jpg`), and the differing
    bits.
    """

    image: str
    like: str
    bits: int


@dataclass(frozen=True)
class HeldOut:
    """How many gold images the target has not seen, and how this was found out.

    `total` counts the gold images without those that have the content of a training or validation image
    (`same_content`, left out); `images` of them are held out, the `look_alikes` are not. `bits` is the largest
    difference of look-alikes, None if they were not searched for. `not_compared` gold images and `not_compared_seen`
    images of the train and valid splits have almost no structure and cannot be compared. `problem` says why nothing
    could be compared.
    """

    images: int
    total: int
    same_content: int = 0
    look_alikes: tuple[LookAlike, ...] = ()
    bits: int | None = None
    not_compared: int = 0
    not_compared_seen: int = 0
    problem: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Ready for JSON."""
        return asdict(self)


@dataclass(frozen=True)
class SeenImages:
    """Names (`train/b.jpg`) and perceptual hashes of the images of the train and valid splits.

    `frames` are frames of videos, or all images if the build found more images of one view than fit into a split.
    `without` counts images without a hash; `problem` says why none has one. `hashes` has every image that the run has
    labeled, by SHA-256.
    """

    photos: Mapping[str, int]
    frames: Mapping[str, int]
    without: int
    hashes: Mapping[str, int | None]
    problem: str | None = None

    @classmethod
    def from_run(cls, run: RunFolder) -> SeenImages:
        """The images of a run, with the hashes of its label store: no image is opened."""
        one_view = bool(read_head(run.dataset).get("kept_together", {}).get("cut", {}).get("images"))
        images = (one for one in images_of_index(run.dataset) if one[1]["split"] in SEEN_SPLITS)
        try:
            account = read_account(run.labels)
        except DataError:
            without = sum(1 for _ in images)
            return cls({}, {}, without, {}, "the run has no label store with their hashes (it is a joined dataset)")
        hashes = _stored_hashes(run, account)
        # By split, because the first of equally near images is named.
        photos: dict[str, dict[str, int]] = {split: {} for split in SEEN_SPLITS}
        frames: dict[str, dict[str, int]] = {split: {} for split in SEEN_SPLITS}
        seen = without = 0
        for path, entry in images:
            seen += 1
            value = hashes.get(entry["sha256"])
            if value is None:
                without += 1
                continue
            split = entry["split"]
            (frames if one_view or path in account.groups else photos)[split][f"{split}/{entry['file_name']}"] = value
        problem = "the run's label store has no hashes of them" if seen and without == seen else None
        return cls(_joined(photos), _joined(frames), without, hashes, problem)

    def look_alikes_of(self, hashes: Mapping[str, int], bits: int) -> list[LookAlike]:
        """Which of the images with these hashes look like a seen image, with the nearest one."""
        best: dict[str, LookAlike] = {}
        for among, limit in ((self.photos, bits), (self.frames, max(bits, min(2 * bits, _MAX_BITS)))):
            for name, one in _nearest(hashes, among).items():
                if one.bits <= limit and (name not in best or one.bits < best[name].bits):
                    best[name] = one
        return [best[name] for name in hashes if name in best]

    def nearest_to(self, hashes: Mapping[str, int]) -> dict[str, LookAlike]:
        """The nearest seen image of each of the images with these hashes, however far it is."""
        return _nearest(hashes, {**self.photos, **self.frames})


def _joined(by_split: Mapping[str, Mapping[str, int]]) -> dict[str, int]:
    return {name: value for part in by_split.values() for name, value in part.items()}


def _nearest(hashes: Mapping[str, int], among: Mapping[str, int]) -> dict[str, LookAlike]:
    if not among:
        return {}
    others = list(among)
    pairs = nearest(list(hashes.values()), list(among.values()))
    return {name: LookAlike(name, others[at], bits) for name, (at, bits) in zip(hashes, pairs, strict=True)}


def hashes_of(
    files: Mapping[str, tuple[Path, str]], known: Mapping[str, int | None], max_megapixels: float = MAX_MEGAPIXELS
) -> dict[str, int | None]:
    """The perceptual hash of each gold image (name → path and SHA-256), from `known` if its content is in it."""
    found = {name: known[sha256] for name, (_, sha256) in files.items() if sha256 in known}
    rest = [name for name in files if name not in found]
    hash_of_file = partial(_hash_of_file, max_megapixels=max_megapixels)
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as threads:
        found.update(zip(rest, threads.map(hash_of_file, [files[name][0] for name in rest]), strict=True))
    return found


@dataclass(frozen=True)
class GoldLooks:
    """How gold images look: what is held out, their perceptual hashes (None without structure), and the nearest image
    of the train and valid splits of each; both empty if nothing was compared."""

    held_out: HeldOut
    hashes: Mapping[str, int | None] = field(default_factory=dict)
    nearest: Mapping[str, LookAlike] = field(default_factory=dict)


def compare(
    run: RunFolder,
    files: Mapping[str, tuple[Path, str]],
    bits: int | None,
    same_content: int,
    max_megapixels: float = MAX_MEGAPIXELS,
) -> GoldLooks:
    """Compares gold images (name → path and SHA-256) with the images of the run's train and valid splits.

    `bits` is the largest difference of look-alikes; None skips the search. `same_content` is copied to the result.

    Raises:
        DataError: a gold image cannot be read, or a label shard is damaged.
    """
    total = len(files)
    if bits is None:
        return GoldLooks(HeldOut(total, total, same_content))
    seen = SeenImages.from_run(run)
    if seen.problem:
        return GoldLooks(HeldOut(total, total, same_content, not_compared=total, problem=seen.problem))
    hashes = hashes_of(files, seen.hashes, max_megapixels)
    known = {name: value for name, value in hashes.items() if value is not None}
    alike = seen.look_alikes_of(known, bits)
    flat = len(hashes) - len(known)
    held_out = HeldOut(total - len(alike), total, same_content, tuple(alike), bits, flat, seen.without)
    return GoldLooks(held_out, hashes, seen.nearest_to(known))


def sentences(found: HeldOut, with_them: float | None) -> tuple[str, ...]:
    """What a reader of the scores must know; `with_them` is the target's mask AP including the look-alikes."""
    notes = []
    if found.same_content:
        verb = "is an image" if found.same_content == 1 else "are images"
        notes.append(f"{counted(found.same_content, 'gold image')} {verb} of the train or valid split and left out.")
    if found.look_alikes:
        first = found.look_alikes[0]
        verb = "looks" if len(found.look_alikes) == 1 else "look"
        start = (
            f"{len(found.look_alikes)} of {counted(found.total, 'gold image')} {verb} like images the target was "
            f"trained on (first: {first.image} ~ {first.like})"
        )
        if not found.images:
            notes.append(f"{start}: these scores are not held out.")
        else:
            ap = "undefined" if with_them is None else f"{with_them:.3f}"
            notes.append(f"{start}. These scores leave them out; with them the target's mask AP is {ap}.")
    if found.problem is None and found.bits is None:
        notes.append("Look-alikes of training images were not searched for: only identical files were left out.")
    if found.problem:
        notes.append(f"Gold images were not compared with training images by how they look: {found.problem}.")
    elif found.not_compared or found.not_compared_seen:
        notes.append(
            f"{counted(found.not_compared, 'gold image')} and {found.not_compared_seen} training images have almost no "
            "structure and could not be compared by how they look."
        )
    return tuple(notes)


def _stored_hashes(run: RunFolder, account: LabelAccount) -> dict[str, int | None]:
    """SHA-256 → hash of every image in the run's label stores; the one of the evaluation has gold images."""
    found: dict[str, int | None] = {}
    stores = ((run.labels, account.fingerprint), (run.human, HUMAN), (run.evaluation / "labels", account.fingerprint))
    for folder, fingerprint in stores:
        for key in LabelStore(folder).rows(fingerprint):
            found[key.sha256] = key.phash
    return found


def _hash_of_file(path: Path, max_megapixels: float) -> int | None:
    return perceptual_hash(open_rgb(path, max_megapixels=max_megapixels))
