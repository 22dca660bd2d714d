"""Opens image files: read once, hashed, decoded to RGB. The one reader of images in the package."""

from __future__ import annotations

import hashlib
import stat
from collections.abc import Container
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..core.config import MAX_MEGAPIXELS
from ..core.errors import DataError
from ..core.types import ImageRecord
from ..system.folders import printable
from .image_decoding import decode
from .image_formats import too_large
from .rgb_image import RgbImage


@dataclass(frozen=True, slots=True)
class OpenedImage:
    """A decoded image.

    `pixels` is HWC uint8 RGB, read-only, with EXIF orientation applied. `link_suffix` is the suffix that the file can
    have in a dataset, None if its pixels must be written as PNG (orientation, mode, several frames, rare format).
    `frames` is the number of pages or frames in the file; `pixels` is the first.
    """

    record: ImageRecord
    pixels: RgbImage
    link_suffix: str | None
    file_bytes: int
    mtime_ns: int
    frames: int = 1


@dataclass(frozen=True, slots=True)
class KnownImage:
    """A file that was read but not decoded, because its content is known."""

    sha256: str
    mtime_ns: int


def open_image(
    path: Path,
    relative_path: str | None = None,
    *,
    upright: bool = True,
    max_megapixels: float = MAX_MEGAPIXELS,
) -> OpenedImage:
    """Reads, hashes and decodes one file; its bytes are read once.

    If not `upright`, the EXIF orientation is not applied; the record then has the size of the stored pixels.

    Raises:
        DataError: it cannot be read or decoded, has more than `max_megapixels` million pixels, or has a side of more
            than `MAX_SIDE`.
    """
    name = path.name if relative_path is None else relative_path
    return _decoded(path, name, _read(path, max_megapixels), upright, max_megapixels)


def open_unless_known(
    path: Path, relative_path: str, known: Container[str], *, max_megapixels: float = MAX_MEGAPIXELS
) -> OpenedImage | KnownImage:
    """As `open_image`, but a file whose SHA-256 is in `known` is not decoded."""
    file = _read(path, max_megapixels)
    if file.sha256 in known:
        return KnownImage(file.sha256, file.mtime_ns)
    return _decoded(path, relative_path, file, True, max_megapixels)


def open_rgb(path: Path, *, max_megapixels: float = MAX_MEGAPIXELS) -> RgbImage:
    """The pixels of one file, HWC uint8 RGB, EXIF orientation applied, in a new array; raises as `open_image`."""
    return np.array(open_image(path, max_megapixels=max_megapixels).pixels)


def image_id(relative_path: str, sha256: str) -> str:
    """16 hex digits from the content and the relative path: the same file in two folders is two images."""
    return hashlib.sha256(f"{sha256}\0{relative_path}".encode("utf-8", "surrogateescape")).hexdigest()[:16]


def max_file_bytes(max_megapixels: float = MAX_MEGAPIXELS) -> int:
    """The size of the largest file that is opened as an image: 8 bytes for each pixel, and 64 MiB; it is read whole."""
    return int(8e6 * max_megapixels) + 2**26


@dataclass(frozen=True, slots=True)
class _FileContent:
    data: bytes
    sha256: str
    mtime_ns: int


def _read(path: Path, max_megapixels: float) -> _FileContent:
    if (shown := printable(str(path))) != str(path):
        raise DataError(f"{shown} has a name that is not UTF-8, which a dataset cannot hold.", "Rename the file.")
    try:
        before = path.stat()
        if not (stat.S_ISREG(before.st_mode) or stat.S_ISDIR(before.st_mode)):
            raise DataError(f"{path} is not a file but a pipe or a device.")
        if before.st_size > max_file_bytes(max_megapixels):
            statement = f"{path} has {before.st_size / 2**30:.1f} GiB, which is too large for an image"
            raise too_large(statement, max_megapixels, before.st_size / 8)
        data = path.read_bytes()
        after = path.stat()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}.") from error
    if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns) or len(data) != before.st_size:
        raise DataError(f"{path} changed while it was read.", "Label again with --resume when it is complete.")
    return _FileContent(data, hashlib.sha256(data).hexdigest(), before.st_mtime_ns)


def _decoded(path: Path, name: str, file: _FileContent, upright: bool, max_megapixels: float) -> OpenedImage:
    pixels, link_suffix, frames = decode(file.data, str(path), upright=upright, max_megapixels=max_megapixels)
    record = ImageRecord(image_id(name, file.sha256), name, pixels.shape[0], pixels.shape[1], file.sha256)
    return OpenedImage(record, pixels, link_suffix, len(file.data), file.mtime_ns, frames)
