"""Matches the images of an annotation file to those of a run: by content, by name, or by a name before an upload."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import Any

from ..coco.json_documents import load
from ..core.config import MAX_MEGAPIXELS
from ..core.errors import DataError
from ..core.plain_text import short_list
from ..core.types import TruthImage
from ..dataset.dataset_index import read_index
from ..images.image_names import KnownNames, earlier_names
from ..images.image_opening import open_rgb
from ..images.perceptual_hash import perceptual_hash
from ..labels.stored_labels import Key
from ..system.file_hash import file_sha256

# Bits of 64 by which the hashes of one picture may differ. In a test with 150 photos, JPEG at quality 20 changed up to
# 4 bits, more contrast up to 8, and mirroring at least 22.
_SAME_PICTURE = 12
_RENAME = "Rename it as in the run's dataset (dataset/dataset.json has its path and file name)."
_EXPORT_UNCHANGED = "Export the images unchanged: not resized, rotated, cropped or augmented."


@dataclass(frozen=True)
class UnmatchedImage:
    """An image of the file that matches no image of the run: its `name` there, the `reason`, and a `hint`."""

    name: str
    reason: str
    hint: str


@dataclass(frozen=True)
class ImageMatches:
    """`paths` maps file names to paths in the run; `renamed` has those of them that have another name in the file."""

    paths: Mapping[str, str]
    renamed: Mapping[str, str]
    unmatched: tuple[UnmatchedImage, ...]


def match_run_images(
    images: Sequence[TruthImage],
    originals: Mapping[str, str],
    dataset: Path,
    keys: Mapping[str, Key],
    current: Mapping[str, Key],
    max_megapixels: float = MAX_MEGAPIXELS,
) -> ImageMatches:
    """Matches each of a file's `images` to an image of the run.

    The content comes first, if the image file is next to the annotation file. Then the name in the run's `dataset` or
    in the user's folder. Then the names that it may have had before (`originals`, by file name, and `earlier`), if they
    match exactly one image of the run with the same size. An image file that exists must look like its match.

    An image of the run is matched once: if two images match it, the better match counts; if both are equally good,
    none.

    Args:
        keys: all rows of the run, by path; those in `current` are preferred.
    """
    matcher = _Matcher(dataset, keys, current, max_megapixels)
    candidates: dict[str, _Match] = {}
    unmatched: dict[str, UnmatchedImage] = {}
    for image in images:
        found = matcher.find(image, originals.get(image.image_id))
        if isinstance(found, _Match):
            candidates[image.image_id] = found
        else:
            unmatched[image.image_id] = found
    unmatched.update(_conflicts(candidates))
    matches = {name: match for name, match in candidates.items() if name not in unmatched}
    return ImageMatches(
        {name: match.path for name, match in matches.items()},
        {name: match.path for name, match in matches.items() if match.kind is _MatchKind.EARLIER_NAME},
        tuple(unmatched[image.image_id] for image in images if image.image_id in unmatched),
    )


def original_names(file: Path) -> dict[str, str]:
    """File name → name before the upload, from the `extra.name` that Roboflow writes into a COCO file."""
    document: Any = load(file, lambda _: None)
    rows = document.get("images") if isinstance(document, dict) else None
    names = {}
    for row in rows if isinstance(rows, list) else ():
        extra = row.get("extra") if isinstance(row, dict) else None
        name = extra.get("name") if isinstance(extra, dict) else None
        if isinstance(name, str) and name.strip() and isinstance(row.get("file_name"), str):
            names[row["file_name"]] = name
    return names


class _MatchKind(IntEnum):
    """How an image was matched; a lower number is more certain."""

    CONTENT = 0
    NAME = 1
    EARLIER_NAME = 2


@dataclass(frozen=True, slots=True)
class _Match:
    path: str
    kind: _MatchKind


def _conflicts(matches: Mapping[str, _Match]) -> Iterator[tuple[str, UnmatchedImage]]:
    """The images of the file that match an image of the run which another one matches better or equally well."""
    names_of: dict[str, list[str]] = defaultdict(list)
    for name, match in matches.items():
        names_of[match.path].append(name)
    for path, names in names_of.items():
        names.sort(key=lambda name: matches[name].kind)
        best = matches[names[0]].kind
        for at, name in enumerate(names):
            if len(names) > 1 and matches[names[1]].kind == best == matches[name].kind:
                other = names[0] if at else names[1]
                reason = f"{other} in the file matches the same image of the run, {path}"
            elif at:
                reason = f"{names[0]} in the file is a better match for the image of the run with its name, {path}"
            else:
                continue
            yield name, UnmatchedImage(name, reason, "Keep the right one in the file, and remove the other.")


class _Matcher:
    def __init__(
        self, dataset: Path, keys: Mapping[str, Key], current: Mapping[str, Key], max_megapixels: float
    ) -> None:
        index: Mapping[str, Any] = read_index(dataset)["images"] if dataset.is_dir() else {}
        self._keys, self._current = keys, current
        self._max_megapixels = max_megapixels
        self._by_content: dict[str, list[str]] = defaultdict(list)
        # Paths of `current` first.
        for path in sorted(keys, key=lambda path: (path not in current, path)):
            self._by_content[keys[path].sha256].append(path)
        self._sizes = {key.file_bytes for key in keys.values()}
        self._converted = _converted_copies(index, dataset, keys)
        # Files may have been renamed since the build: a name in the dataset belongs to the content, wherever it is now.
        names: dict[str, list[str]] = {path: [] for path in keys}
        for path, entry in index.items():
            now = path if path in keys and keys[path].sha256 == entry["sha256"] else None
            for holder in [now] if now is not None else self._by_content.get(entry["sha256"], [])[:1]:
                names[holder].append(entry["file_name"])
        self._names = KnownNames(names)

    def find(self, image: TruthImage, original: str | None) -> _Match | UnmatchedImage:
        exact = self._current_first(self._names.exact(image.image_id))
        if same := self._with_content_of(image.path):
            return _Match(next((path for path in exact if path in same), same[0]), _MatchKind.CONTENT)
        if len(exact) == 1:
            return self._checked(image, exact[0])
        if exact:
            return _ambiguous(image, image.image_id, exact)
        return self._by_earlier_name(image, original)

    def _by_earlier_name(self, image: TruthImage, original: str | None) -> _Match | UnmatchedImage:
        names = earlier_names(image.image_id)
        if original is not None:
            names = list(dict.fromkeys([*names[:1], *earlier_names(original), *names[1:]]))
        unmatched = UnmatchedImage(image.image_id, "no image of the run has this name or content", _RENAME)
        size_differs = False
        for name in names:
            fitting = self._names.fitting(name)
            same_size = self._current_first([path for path in fitting if self._has_size(path, image)])
            if len(same_size) > 1:
                return _ambiguous(image, name.rpartition("/")[2], same_size)
            if same_size:
                found = self._checked(image, same_size[0])
                return _Match(found.path, _MatchKind.EARLIER_NAME) if isinstance(found, _Match) else found
            if fitting and not size_differs:
                size_differs = True
                reason = _size_difference(image, fitting[0], self._keys[fitting[0]])
                unmatched = UnmatchedImage(image.image_id, reason, _EXPORT_UNCHANGED)
        return unmatched

    def _current_first(self, paths: Sequence[str]) -> Sequence[str]:
        """The paths of the latest `label`, or all of them if there are none."""
        return [path for path in paths if path in self._current] or paths

    def _with_content_of(self, file: Path) -> list[str]:
        """The images of the run whose file, or converted copy in the dataset, has the same content as `file`."""
        try:
            size = file.stat().st_size
        except OSError:
            return []
        converted = self._converted.get(size, ())
        if not file.is_file() or (size not in self._sizes and not converted):
            return []
        sha256 = file_sha256(file)
        return self._by_content.get(sha256) or [path for path, copy in converted if file_sha256(copy) == sha256]

    def _has_size(self, path: str, image: TruthImage) -> bool:
        return (self._keys[path].height, self._keys[path].width) == (image.height, image.width)

    def _checked(self, image: TruthImage, path: str) -> _Match | UnmatchedImage:
        """The match by name, unless the image file next to the annotation file shows another picture."""
        key = self._keys[path]
        if image.path.is_file() and key.phash is not None and self._has_size(path, image):
            try:
                phash = perceptual_hash(open_rgb(image.path, max_megapixels=self._max_megapixels))
            except DataError:
                phash = None
            if phash is not None and (phash ^ key.phash).bit_count() > _SAME_PICTURE:
                reason = f"it shows another picture than {path}, the image of the run with its name"
                return UnmatchedImage(image.image_id, reason, _EXPORT_UNCHANGED)
        return _Match(path, _MatchKind.NAME)


def _converted_copies(
    index: Mapping[str, Any], dataset: Path, keys: Mapping[str, Key]
) -> Mapping[int, list[tuple[str, Path]]]:
    """The images of the dataset that are not the user's files but conversions (rotated, rare format), by file size."""
    found: dict[int, list[tuple[str, Path]]] = defaultdict(list)
    for path, entry in index.items():
        copy = dataset / entry["split"] / entry["file_name"]
        if path in keys and copy.is_file() and (size := copy.stat().st_size) != keys[path].file_bytes:
            found[size].append((path, copy))
    return found


def _ambiguous(image: TruthImage, name: str, paths: Sequence[str]) -> UnmatchedImage:
    reason = f"{len(paths)} images of the run have the name {name}: {short_list(paths, 3)}"
    return UnmatchedImage(image.image_id, reason, _RENAME)


def _size_difference(image: TruthImage, path: str, key: Key) -> str:
    return f"it is {image.width}x{image.height} in the file, but {path} in the run is {key.width}x{key.height}"
