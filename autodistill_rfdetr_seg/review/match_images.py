"""Which image of a run each image of somebody's COCO file is: by content, by name, or by a name that a tool changed."""

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
from ..images.image_names import KnownNames, earlier
from ..images.image_opening import open_rgb
from ..images.perceptual_hash import perceptual_hash
from ..labels.label_store import Key
from ..system.file_hash import file_sha256

# Bits of 64 by which hashes of one picture may differ. Of 150 photos, JPEG at quality 20 changed 4 at most, more
# contrast 8, and mirroring 22 at least.
_SAME_PICTURE = 12
_RENAME = "Give it the name that it has in the run's dataset (its path and name are in dataset/dataset.json)."
_AS_THEY_ARE = "Export the images as they are: not resized, turned, cropped or augmented."


@dataclass(frozen=True)
class Unplaced:
    """An image of the file that is none of the run's: its `name` there, the `reason`, and a `hint` what to do."""

    name: str
    reason: str
    hint: str


@dataclass(frozen=True)
class Placed:
    """`paths` are the run's images by file name; those that are called otherwise in the file are in `renamed` too."""

    paths: Mapping[str, str]
    renamed: Mapping[str, str]
    unplaced: tuple[Unplaced, ...]


def place(
    images: Sequence[TruthImage],
    originals: Mapping[str, str],
    dataset: Path,
    keys: Mapping[str, Key],
    current: Mapping[str, Key],
    max_megapixels: float = MAX_MEGAPIXELS,
) -> Placed:
    """Finds the image of a run that each of a file's `images` is.

    Content counts first, where the picture lies beside the file; then its name, if it is the one in the run's `dataset`
    or in the user's folder; then the names that it may have had (`originals` by file name, and `earlier`), if they fit
    one image of the run alone, of the same size. A picture that lies there must look like the one it is taken for.

    An image of the run is taken once: of two that fit it, by the one that fits better, else by none.

    Args:
        keys: all rows that may be meant, by path; those in `current` are meant first.
    """
    finder = _Finder(dataset, keys, current, max_megapixels)
    matches: dict[str, _Match] = {}
    unplaced: dict[str, Unplaced] = {}
    for image in images:
        found = finder.find(image, originals.get(image.image_id))
        if isinstance(found, _Match):
            matches[image.image_id] = found
        else:
            unplaced[image.image_id] = found
    unplaced.update(_beaten(matches))
    placed = {name: match for name, match in matches.items() if name not in unplaced}
    return Placed(
        {name: match.path for name, match in placed.items()},
        {name: match.path for name, match in placed.items() if match.how is _How.EARLIER_NAME},
        tuple(unplaced[image.image_id] for image in images if image.image_id in unplaced),
    )


def original_names(file: Path) -> dict[str, str]:
    """What each image of a COCO file was called before it was uploaded, by file name: Roboflow's `extra.name`."""
    document: Any = load(file, lambda _: None)
    rows = document.get("images") if isinstance(document, dict) else None
    names = {}
    for row in rows if isinstance(rows, list) else ():
        extra = row.get("extra") if isinstance(row, dict) else None
        name = extra.get("name") if isinstance(extra, dict) else None
        if isinstance(name, str) and name.strip() and isinstance(row.get("file_name"), str):
            names[row["file_name"]] = name
    return names


class _How(IntEnum):
    """How an image was found; the less, the surer."""

    CONTENT = 0
    NAME = 1
    EARLIER_NAME = 2


@dataclass(frozen=True, slots=True)
class _Match:
    path: str
    how: _How


def _beaten(matches: Mapping[str, _Match]) -> Iterator[tuple[str, Unplaced]]:
    """The images whose place in the run another of the file has a better claim to, or as good a one."""
    rivals: dict[str, list[str]] = defaultdict(list)
    for name, match in matches.items():
        rivals[match.path].append(name)
    for path, names in rivals.items():
        names.sort(key=lambda name: matches[name].how)
        best = matches[names[0]].how
        for at, name in enumerate(names):
            if len(names) > 1 and matches[names[1]].how == best == matches[name].how:
                other = names[0] if at else names[1]
                reason = f"{other} of the file fits the same image of the run, {path}"
            elif at:
                reason = f"the image of the run that fits its name, {path}, is {names[0]} of the file"
            else:
                continue
            yield name, Unplaced(name, reason, "Leave the one that is right in the file, and take the other out.")


class _Finder:
    def __init__(
        self, dataset: Path, keys: Mapping[str, Key], current: Mapping[str, Key], max_megapixels: float
    ) -> None:
        index: Mapping[str, Any] = read_index(dataset)["images"] if dataset.is_dir() else {}
        self._keys, self._current = keys, current
        self._max_megapixels = max_megapixels
        self._by_content: dict[str, list[str]] = defaultdict(list)
        # Those of `current` first.
        for path in sorted(keys, key=lambda path: (path not in current, path)):
            self._by_content[keys[path].sha256].append(path)
        self._sizes = {key.file_bytes for key in keys.values()}
        self._written = _written_anew(index, dataset, keys)
        # Names may have shifted since the build: that of a content counts where the content is.
        names: dict[str, list[str]] = {path: [] for path in keys}
        for path, entry in index.items():
            now = path if path in keys and keys[path].sha256 == entry["sha256"] else None
            for holder in [now] if now is not None else self._by_content.get(entry["sha256"], [])[:1]:
                names[holder].append(entry["file_name"])
        self._names = KnownNames(names)

    def find(self, image: TruthImage, original: str | None) -> _Match | Unplaced:
        exact = self._meant(self._names.exact(image.image_id))
        if same := self._of_content(image.path):
            return _Match(next((path for path in exact if path in same), same[0]), _How.CONTENT)
        if len(exact) == 1:
            return self._looked_at(image, exact[0])
        if exact:
            return _several(image, image.image_id, exact)
        return self._renamed(image, original)

    def _renamed(self, image: TruthImage, original: str | None) -> _Match | Unplaced:
        names = earlier(image.image_id)
        if original is not None:
            names = list(dict.fromkeys([*names[:1], *earlier(original), *names[1:]]))
        refused = Unplaced(image.image_id, "no image of the run has this name or content", _RENAME)
        of_other_size = False
        for name in names:
            fitting = self._names.fitting(name)
            of_size = self._meant([path for path in fitting if self._has_size(path, image)])
            if len(of_size) > 1:
                return _several(image, name.rpartition("/")[2], of_size)
            if of_size:
                found = self._looked_at(image, of_size[0])
                return _Match(found.path, _How.EARLIER_NAME) if isinstance(found, _Match) else found
            if fitting and not of_other_size:
                of_other_size = True
                refused = Unplaced(image.image_id, _sizes(image, fitting[0], self._keys[fitting[0]]), _AS_THEY_ARE)
        return refused

    def _meant(self, paths: Sequence[str]) -> Sequence[str]:
        """Those that the last labelling named, where there are any."""
        return [path for path in paths if path in self._current] or paths

    def _of_content(self, file: Path) -> list[str]:
        """The images of the run whose content, or copy in the dataset, the file is."""
        try:
            size = file.stat().st_size
        except OSError:
            return []
        written = self._written.get(size, ())
        if not file.is_file() or (size not in self._sizes and not written):
            return []
        sha256 = file_sha256(file)
        return self._by_content.get(sha256) or [path for path, copy in written if file_sha256(copy) == sha256]

    def _has_size(self, path: str, image: TruthImage) -> bool:
        return (self._keys[path].height, self._keys[path].width) == (image.height, image.width)

    def _looked_at(self, image: TruthImage, path: str) -> _Match | Unplaced:
        """The image of that name, unless the picture that lies beside the file is another."""
        key = self._keys[path]
        if image.path.is_file() and key.phash is not None and self._has_size(path, image):
            try:
                seen = perceptual_hash(open_rgb(image.path, max_megapixels=self._max_megapixels))
            except DataError:
                seen = None
            if seen is not None and (seen ^ key.phash).bit_count() > _SAME_PICTURE:
                reason = f"its picture is another than that of {path}, the image of the run that fits its name"
                return Unplaced(image.image_id, reason, _AS_THEY_ARE)
        return _Match(path, _How.NAME)


def _written_anew(
    index: Mapping[str, Any], dataset: Path, keys: Mapping[str, Key]
) -> Mapping[int, list[tuple[str, Path]]]:
    """The dataset's images that are not the user's files but written anew (turned, of a rare format), by bytes."""
    found: dict[int, list[tuple[str, Path]]] = defaultdict(list)
    for path, entry in index.items():
        copy = dataset / entry["split"] / entry["file_name"]
        if path in keys and copy.is_file() and (size := copy.stat().st_size) != keys[path].file_bytes:
            found[size].append((path, copy))
    return found


def _several(image: TruthImage, name: str, paths: Sequence[str]) -> Unplaced:
    count = "two" if len(paths) == 2 else str(len(paths))
    reason = f"{count} images of the run are called {name}: {short_list(paths, 3)}"
    return Unplaced(image.image_id, reason, _RENAME)


def _sizes(image: TruthImage, path: str, key: Key) -> str:
    return f"it is {image.width}x{image.height} in the file, and {path} of the run is {key.width}x{key.height}"
