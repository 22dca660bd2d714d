"""The images under a prefix of a bucket: listed and chosen first, then read into the run's mirror."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Generator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from ..core.bucket_urls import BucketUrl, parse_bucket_url
from ..core.config import MAX_MEGAPIXELS
from ..core.errors import MissingInputError, UsageError
from ..core.plain_text import byte_size, counted, short_list
from ..images.bucket_mirror import MirrorUpdate, remove_mirrored, update_mirror
from ..images.image_formats import IMAGE_SUFFIXES
from ..images.image_opening import max_file_bytes
from ..system.object_names import colliding_names, ignores_case, name_problem
from ..system.object_store import ObjectStore, StoredObject
from .image_sources import Inputs, chosen_images


@dataclass(frozen=True)
class BucketImages:
    """The images of a bucket, not read yet.

    `chosen` are those to work on, `listed` the names of all of them. `notes` are sentences for the user.
    """

    store: ObjectStore
    chosen: tuple[StoredObject, ...]
    listed: frozenset[str]
    notes: tuple[str, ...] = ()


def list_bucket_images(
    url: str,
    *,
    limit: int | None = None,
    sample: int | None = None,
    seed: int = 0,
    mirror_limit: int | None = None,
    in_parts: bool = False,
    max_megapixels: float = MAX_MEGAPIXELS,
    progress: bool = True,
) -> BucketImages:
    """The images that the URL of a bucket names: all under its prefix, or the one object that it is.

    An object is an image by its suffix alone. Names with a part that starts with a dot are left out, as hidden files of
    a folder are. An object whose name cannot be a file's, or that is too large for an image, is skipped and noted.

    Args:
        limit, sample, seed: as for `find_images`.
        mirror_limit: bytes that the chosen images may have in sum, or each alone where they are read `in_parts`.

    Raises:
        UsageError: the URL or an endpoint is wrong, or the images are more than `mirror_limit`.
        MissingInputError: there is no such bucket, or no image.
        RemoteError: the server refuses, fails or cannot be reached.
    """
    store, objects = _images(url, progress)
    skipped = _Skipped()
    for name, found in sorted(objects.items()):
        if problem := name_problem(name):
            skipped.add(f"names that {problem}", name)
            del objects[name]
        elif found.size > max_file_bytes(max_megapixels):
            skipped.add("more bytes than an image has", name)
            del objects[name]
    for name in sorted(colliding_names(objects, ignore_case=False)):
        skipped.add("the name of another object as a folder", name)
        del objects[name]
    if not objects:
        known = ", ".join(sorted(IMAGE_SUFFIXES))
        said = f" ({skipped.text()})" if skipped else ""
        raise MissingInputError(
            f"There is no image under {url}{said}.",
            f"A prefix is a folder's path, patterns are not read; known suffixes: {known}.",
        )
    chosen = chosen_images(Inputs(Path(), [(Path(name), name) for name in objects]), limit, sample, seed)
    found_images = tuple(objects[name] for _, name in chosen.items)
    notes = (*((f"Objects of {store.url} were skipped: {skipped.text()}.",) if skipped else ()), *chosen.notes)
    listed = BucketImages(store, found_images, frozenset(objects), notes)
    _check_limit(listed, mirror_limit, in_parts)
    return listed


def mirror_images(
    images: BucketImages, folder: Path, *, only: Collection[str] | None = None, progress: bool = True
) -> Inputs:
    """The images as files in `folder`, which keeps what is unchanged since the last time.

    With `only`, no other names are read; all images are among the items, as those that are read later.

    Raises:
        MissingInputError: none of the images is there any more.
        RemoteError, OSError: as `update_mirror`.
    """
    wanted, notes = _that_can_be_files(images, folder)
    read_now = [one for one in wanted if only is None or one.name in only]
    done = update_mirror(images.store, read_now, folder, listed=images.listed, progress=progress)
    items = _items(images, wanted, folder, [done])
    return Inputs(folder, items, notes=(*images.notes, *notes, *_changes([done])))


class MirrorInParts:
    """The images of a bucket as files in `folder`, in parts of at most `most` bytes; a part's files are removed after
    it."""

    def __init__(self, images: BucketImages, folder: Path, most: int) -> None:
        self._images, self._folder, self._most = images, folder, most
        self._wanted, self._skipped = _that_can_be_files(images, folder)
        self._done: list[MirrorUpdate] = []

    @property
    def items(self) -> list[tuple[Path, str]]:
        """(path, name) of each image, also of those that are not read, less those that were removed from the bucket
        meanwhile. Raises MissingInputError if all were."""
        return _items(self._images, self._wanted, self._folder, self._done)

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences for the user about what is left out from the start."""
        return (*self._images.notes, *self._skipped)

    @property
    def changes(self) -> tuple[str, ...]:
        """Sentences for the user about what changed in the bucket, of the parts that were read until now."""
        return _changes(self._done)

    def parts(
        self, wanted: Callable[[StoredObject], bool], *, progress: bool = True
    ) -> Generator[list[tuple[Path, str]], None, None]:
        """The items of each part of the `wanted` images.

        Raises:
            RemoteError, OSError: as `update_mirror`.
        """
        images, folder = self._images, self._folder
        for part in _parts([one for one in self._wanted if wanted(one)], self._most):
            names = [one.name for one in part]
            try:
                done = update_mirror(images.store, part, folder, listed=images.listed, progress=progress)
                self._done.append(done)
                gone = set(done.vanished)
                yield [(folder / name, name) for name in names if name not in gone]
            finally:
                remove_mirrored(folder, names)


def _items(
    images: BucketImages, wanted: Sequence[StoredObject], folder: Path, done: Sequence[MirrorUpdate]
) -> list[tuple[Path, str]]:
    """(path, name) of each of the `wanted` images that did not vanish."""
    gone = {name for one in done for name in one.vanished}
    items = [(folder / one.name, one.name) for one in wanted if one.name not in gone]
    if not items:
        raise MissingInputError(f"All images of {images.store.url} were removed while they were read.")
    return items


def _that_can_be_files(images: BucketImages, folder: Path) -> tuple[list[StoredObject], tuple[str, ...]]:
    """The chosen images less those whose names the file system of `folder` takes for another's, and a sentence about
    these; the folder is made."""
    folder.mkdir(parents=True, exist_ok=True)
    names = [one.name for one in images.chosen]
    same = colliding_names(names, ignore_case=True) if ignores_case(folder) else set()
    skipped = _Skipped()
    for name in sorted(same):
        skipped.add("names that this file system takes for another's", name)
    notes = (f"Objects of {images.store.url} were skipped: {skipped.text()}.",) if skipped else ()
    return [one for one in images.chosen if one.name not in same], notes


def _parts(objects: Sequence[StoredObject], most: int) -> Iterator[list[StoredObject]]:
    """The objects in order, in parts of at most `most` bytes, or of one object."""
    part: list[StoredObject] = []
    size = 0
    for one in objects:
        if part and size + one.size > most:
            yield part
            part, size = [], 0
        part.append(one)
        size += one.size
    if part:
        yield part


def mirror_missing(url: str, folder: Path, names: Collection[str], *, progress: bool = True) -> tuple[str, ...]:
    """Reads those of the images `names` that have no file in `folder`; returns sentences for the user.

    Without such images the bucket is not asked. An image that is not in the bucket any more stays missing.

    Raises:
        UsageError, MissingInputError, RemoteError, OSError: as above.
    """
    missing = {name for name in names if not (folder / name).is_file() and not name_problem(name)}
    if not missing:
        return ()
    store, objects = _images(url, progress)
    wanted = [one for one in objects.values() if one.name in missing]
    return _changes([update_mirror(store, wanted, folder, progress=progress)]) if wanted else ()


def _images(url: str, progress: bool) -> tuple[ObjectStore, dict[str, StoredObject]]:
    """The objects under a prefix that are images by their suffix, by name, and the store that names are relative to."""
    bucket = parse_bucket_url(url)
    store = ObjectStore(bucket)
    objects = {one.name: one for one in store.objects(progress=progress) if _may_be_image(one.name)}
    if not objects and bucket.prefix and _may_be_image(bucket.prefix) and (one := store.find()) is not None:
        return ObjectStore(BucketUrl(bucket.scheme, bucket.bucket, bucket.prefix.rpartition("/")[0])), {one.name: one}
    return store, objects


def _may_be_image(name: str) -> bool:
    path = PurePosixPath(name)
    hidden = any(part.startswith(".") and part not in (".", "..") for part in name.split("/"))
    return path.suffix.lower() in IMAGE_SUFFIXES and not hidden


def _check_limit(images: BucketImages, most: int | None, in_parts: bool) -> None:
    largest = max(images.chosen, key=lambda one: one.size)
    if most is not None and in_parts and largest.size > most:
        raise UsageError(
            f"The image {largest.name} of {images.store.url} has {byte_size(largest.size)}, more than --mirror-limit "
            f"{byte_size(most)}.",
            "Raise the limit.",
        )
    if in_parts:
        return
    total = sum(one.size for one in images.chosen)
    if most is not None and total > most:
        raise UsageError(
            f"{counted(len(images.chosen), 'image')} of {images.store.url} with {byte_size(total)} are more than "
            f"--mirror-limit {byte_size(most)}.",
            "Raise the limit, take fewer images with --limit or --sample, or label alone: `run --until label`.",
        )


def _changes(done: Sequence[MirrorUpdate]) -> tuple[str, ...]:
    kinds = {
        "dropped": "no longer in the bucket, and left out",
        "vanished": "removed from the bucket before they were read, and left out",
        "changed": "written again after they were listed, and read as they are now",
    }
    found = {what: [name for one in done for name in getattr(one, kind)] for kind, what in kinds.items()}
    return tuple(
        f"{counted(len(names), 'image')}: {what}: {short_list(names)}." for what, names in found.items() if names
    )


class _Skipped:
    """Counts what is skipped, by reason, with the first of each."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._first: dict[str, str] = {}

    def __bool__(self) -> bool:
        return bool(self._counts)

    def add(self, reason: str, name: str) -> None:
        self._counts[reason] += 1
        self._first.setdefault(reason, name)

    def text(self) -> str:
        found = self._counts.items()
        return "; ".join(f"{count} with {reason}, such as {self._first[reason]!r}" for reason, count in found)
