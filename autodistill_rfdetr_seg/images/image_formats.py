"""The image formats that are read: their suffixes, their first bytes, and opening a file with Pillow."""

from __future__ import annotations

import math
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING

from ..core.errors import DataError
from ..core.masks import MAX_SIDE
from .pillow_limit import pillow_accepts

if TYPE_CHECKING:
    from PIL import Image

IMAGE_SUFFIXES = frozenset(
    f".{name}"
    for name in (
        "jpg",
        "jpeg",
        "jpe",
        "jfif",
        "png",
        "webp",
        "tif",
        "tiff",
        "bmp",
        "dib",
        "gif",
        "avif",
        "heic",
        "heif",
    )
)
# How many of a file's first bytes `has_image_signature` needs.
SIGNATURE_BYTES = 16
ORIENTATION_TAG = 0x0112
_SIGNATURES = (
    b"\xff\xd8\xff",
    b"\x89PNG\r\n\x1a\n",
    b"GIF87a",
    b"GIF89a",
    b"BM",
    b"II*\x00",
    b"MM\x00*",
    b"II+\x00",
    b"MM\x00+",
)
_HEIC_BRANDS = (b"heic", b"heix", b"heif", b"mif1", b"msf1")
_AVIF_BRANDS = (b"avif", b"avis")
# Pillow knows more formats. Some of them start other programs (EPS), others accept any file as theirs (TGA).
_FORMATS = ("JPEG", "MPO", "PNG", "WEBP", "TIFF", "BMP", "DIB", "GIF", "AVIF", "HEIF")


def has_image_signature(head: bytes) -> bool:
    """Whether the first bytes of a file are those of a known image format."""
    if head.startswith(b"BM"):
        # Plain text may start with these two letters. A bitmap's header has zeros in its reserved words.
        return head[6:10] == bytes(4)
    return (
        head.startswith(_SIGNATURES)
        or (head[:4] == b"RIFF" and head[8:12] == b"WEBP")
        or _brand(head) in (*_AVIF_BRANDS, *_HEIC_BRANDS)
    )


def check_sides(width: int, height: int, name: str) -> None:
    """Refuses an image with a side that masks in a COCO file cannot have: every reader would refuse its labels later.

    Raises:
        DataError: a side is over `MAX_SIDE` pixels.
    """
    if max(width, height) > MAX_SIDE:
        raise DataError(
            f"{name} is {width}x{height} pixels, and masks in COCO files have sides of at most {MAX_SIDE}: cut it into "
            "parts, or make it smaller."
        )


def check_pixels(width: int, height: int, name: str, max_megapixels: float) -> None:
    """Refuses an image of more than `max_megapixels` million pixels.

    Raises:
        DataError: it has more; the hint says which limit it needs.
    """
    if width * height > max_megapixels * 1e6:
        raise too_large(f"{name} has {width * height} pixels", max_megapixels, width * height)


def too_large(statement: str, max_megapixels: float, pixels: float | None) -> DataError:
    """The error for an image over the limit; `statement` says how large it is, `pixels` is None if that is unknown."""
    memory = "" if pixels is None else f", and its {3 * pixels / 1e9:.1f} GB of pixels fit into memory"
    needed = "X" if pixels is None else str(math.ceil(pixels / 1e6))
    return DataError(
        f"{statement}: over the limit of {max_megapixels:g} megapixels.",
        f"If you trust it{memory}: --max-megapixels {needed} (inputs.max_megapixels).",
    )


@contextmanager
def pillow_image(file: IO[bytes], name: str, max_megapixels: float, action: str) -> Iterator[Image.Image]:
    """An image file opened with Pillow, its pixels not decoded yet; what Pillow raises in the block is translated.

    `action` is the word for a failure: "read" or "decoded".

    Raises:
        DataError: it is not an image in a known format, is damaged, or Pillow finds it too large.
    """
    from PIL import Image, UnidentifiedImageError

    brand = _brand(file.read(12))
    file.seek(0)
    if brand in _HEIC_BRANDS:
        _register_heic(name)
    try:
        # Pillow warns of large images and of damaged metadata.
        with warnings.catch_warnings(), pillow_accepts(max_megapixels):
            warnings.simplefilter("ignore")
            with Image.open(file, formats=_available_formats()) as image:
                yield image
    except DataError:
        raise
    except UnidentifiedImageError as error:
        no_avif = brand in _AVIF_BRANDS and "AVIF" not in _available_formats()
        hint = "This Pillow reads no AVIF: pip install -U pillow" if no_avif else None
        raise DataError(f"{name} is not an image in a known format.", hint) from error
    except Image.DecompressionBombError as error:
        match = re.search(r"\((\d+) pixels\)", str(error))
        pixels = int(match[1]) if match else None
        count = "too many" if pixels is None else str(pixels)
        raise too_large(f"{name} has {count} pixels", max_megapixels, pixels) from error
    except (OSError, ValueError, SyntaxError, EOFError) as error:
        reason = getattr(error, "strerror", None) or one_line(error)
        raise DataError(f"{name} cannot be {action}: {reason}.") from error
    except Exception as error:  # Pillow's parsers raise any kind of error for a damaged file.
        raise DataError(f"{name} cannot be {action}: {type(error).__name__} {one_line(error)}.") from error


def frame_count(image: Image.Image) -> int:
    """Pages or frames of a file; the preview or depth map of a photo (MPO) does not count, as no other reader opens
    it."""
    return 1 if image.format == "MPO" else int(getattr(image, "n_frames", 1))


def one_line(error: Exception) -> str:
    """An error's text on one line, without a full stop."""
    return " ".join(str(error).split()).rstrip(".")


def _brand(head: bytes) -> bytes:
    """The brand of an HEIC or AVIF file; empty for other files."""
    return head[8:12] if head[4:8] == b"ftyp" else b""


def _available_formats() -> list[str]:
    """Those of `_FORMATS` that this Pillow reads; HEIF after its plug-in is registered."""
    from PIL import Image

    Image.init()
    return [name for name in _FORMATS if name in Image.OPEN]


def _register_heic(name: str) -> None:
    """Registers the plug-in that reads HEIC with Pillow."""
    try:
        import pillow_heif
    except ImportError as error:
        hint = "pip install 'autodistill-rfdetr-seg[heic]'"
        raise DataError(f"{name} is a HEIC photo, which needs the package pillow-heif.", hint) from error
    pillow_heif.register_heif_opener()
