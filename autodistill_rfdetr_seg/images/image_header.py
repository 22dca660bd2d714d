"""The size and orientation of an image file, read from its header: no pixel is decoded."""

from __future__ import annotations

import io
from pathlib import Path
from typing import IO, TYPE_CHECKING, NamedTuple

from ..core.config import MAX_MEGAPIXELS
from ..core.errors import DataError
from .image_formats import ORIENTATION_TAG, check_pixels, pillow_image

if TYPE_CHECKING:
    from PIL import Image

# The orientations that swap height and width.
_QUARTER_TURNS = (5, 6, 7, 8)
# Bytes of a PNG's EXIF: a JPEG's has less than 64 KiB.
_MAX_EXIF = 2**20


class Header(NamedTuple):
    """Height and width in pixels as stored in the file, and the EXIF orientation, 1 if it has none."""

    height: int
    width: int
    orientation: int

    @property
    def is_turned(self) -> bool:
        """Whether readers that apply the orientation and readers that do not see different pictures."""
        return self.orientation in range(2, 9)

    @property
    def upright(self) -> tuple[int, int]:
        """Height and width after the orientation is applied."""
        return (self.width, self.height) if self.orientation in _QUARTER_TURNS else (self.height, self.width)


def image_size(path: Path, *, max_megapixels: float = MAX_MEGAPIXELS) -> tuple[int, int]:
    """Height and width of an image file in pixels, EXIF orientation applied.

    Raises:
        DataError: it cannot be read, is not an image in a known format, or has over `max_megapixels` million pixels.
    """
    try:
        return read_header(path, max_megapixels=max_megapixels).upright
    except FileNotFoundError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}.") from error


def read_header(path: Path, *, max_megapixels: float = MAX_MEGAPIXELS) -> Header:
    """The header of an image file.

    Raises:
        FileNotFoundError: it does not exist.
        DataError: it cannot be read, is not an image in a known format, or has over `max_megapixels` million pixels.
    """
    try:
        with path.open("rb") as file, pillow_image(file, str(path), max_megapixels, "read") as image:
            width, height = image.size
            check_pixels(width, height, str(path), max_megapixels)
            return Header(height, width, _orientation(image, file))
    except FileNotFoundError:
        raise
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}.") from error


def _orientation(image: Image.Image, file: IO[bytes]) -> int:
    """The EXIF orientation of an opened image, 1 if it has none."""
    from PIL import Image

    if image.format == "TIFF":
        return 1  # Pillow gives the size of the turned pixels
    # The method that PNG images have decodes the pixels, to read the chunks after them.
    orientation = Image.Image.getexif(image).get(ORIENTATION_TAG)
    if orientation is None and image.format == "PNG":
        orientation = _png_exif_orientation(file)
    return orientation if isinstance(orientation, int) and 1 <= orientation <= 8 else 1


def _png_exif_orientation(file: IO[bytes]) -> int | None:
    """The orientation in a PNG's `eXIf` chunk, which may come after the pixels; these are skipped."""
    from PIL import Image

    file.seek(8)
    while len(head := file.read(8)) == 8:
        size = int.from_bytes(head[:4], "big")
        if head[4:] == b"eXIf" and size < _MAX_EXIF:
            exif = Image.Exif()
            exif.load(file.read(size))
            return exif.get(ORIENTATION_TAG)
        file.seek(size + 4, io.SEEK_CUR)
    return None
