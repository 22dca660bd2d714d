"""Decodes an encoded image to RGB pixels, HWC uint8, EXIF orientation applied.

More than 8 bits a channel become 8 as in `bit_depth`.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ..core.config import MAX_MEGAPIXELS
from ..core.errors import DataError
from .bit_depth import bits, to_8_bits
from .image_formats import ORIENTATION_TAG, check_pixels, check_sides, frame_count, one_line, pillow_image
from .rgb_image import RgbImage

if TYPE_CHECKING:
    from PIL import Image

# Formats that RF-DETR, pycocotools' users and CVAT all read the way we do; others are written as PNG into the dataset.
_LINKABLE = {"JPEG": ".jpg", "MPO": ".jpg", "PNG": ".png", "BMP": ".bmp", "WEBP": ".webp"}
# Where a PNG's header has its color type, after the bits of a channel; the number of channels of each color type.
_PNG_COLOR_TYPE = 25
_PNG_CHANNELS = {2: 3, 4: 2, 6: 4}
# The most bytes that deflate can pack into one (zlib's own figure).
_MAX_DEFLATE_RATIO = 1032


class DecodedImage(NamedTuple):
    """Decoded pixels.

    `pixels` is HWC uint8 RGB. `link_suffix` is the suffix that a file with these bytes can have in a dataset, None if
    its pixels must be written as PNG (orientation, mode, several frames, rare format). `frames` is the number of pages
    or frames in the file; `pixels` is the first.
    """

    pixels: RgbImage
    link_suffix: str | None
    frames: int


def decode(data: bytes, name: str, *, upright: bool = True, max_megapixels: float = MAX_MEGAPIXELS) -> DecodedImage:
    """Decodes an encoded image, called `name` in messages.

    If not `upright`, the EXIF orientation is not applied, and `link_suffix` is None.

    Raises:
        DataError: it is empty, damaged, not an image in a known format, has more than `max_megapixels` million pixels,
            or a side of more than `MAX_SIDE`.
    """
    if not data:
        raise DataError(f"{name} is empty (0 bytes).")
    with pillow_image(io.BytesIO(data), name, max_megapixels, "decoded") as image:
        check_sides(image.width, image.height, name)
        check_pixels(image.width, image.height, name, max_megapixels)
        if _is_too_short(image, data):
            raise DataError(f"{name} is truncated: too short for {image.width}x{image.height} pixels.")
        pixels, link_suffix = _to_rgb(image, data) if upright else (_stored_pixels(image), None)
        return DecodedImage(pixels, link_suffix, frame_count(image))


def rgb_of(image: Image.Image, turn: bool = False) -> RgbImage:
    """The pixels of a PIL image, HWC uint8 RGB, decoded as from its file; the image itself is not changed.

    Its EXIF orientation is applied only with `turn`: the caller may have turned the image already.

    Raises:
        DataError: it was opened from a file that cannot be decoded.
    """
    try:
        return np.array(_to_rgb(image.copy(), b"")[0] if turn else _stored_pixels(image))
    except (OSError, ValueError, SyntaxError, EOFError) as error:
        raise DataError(f"The PIL image cannot be decoded: {one_line(error)}.") from error


def _stored_pixels(image: Image.Image) -> RgbImage:
    """The pixels without the EXIF orientation applied."""
    copy = image.copy()
    copy.info = {name: value for name, value in copy.info.items() if name == "transparency"}
    return _to_rgb(copy, b"")[0]


def _is_too_short(image: Image.Image, data: bytes) -> bool:
    """Whether the data cannot hold the pixels that the header states; for formats where that is known.

    Checked before memory is allocated for the pixels: a damaged header of 2 kB may state a gigabyte.
    """
    from PIL.ImageFile import ImageFile

    if image.format == "PNG" and len(data) > _PNG_COLOR_TYPE:
        depth, channels = data[_PNG_COLOR_TYPE - 1], _PNG_CHANNELS.get(data[_PNG_COLOR_TYPE], 1)
        return image.width * image.height * depth * channels > 8 * _MAX_DEFLATE_RATIO * len(data)
    # The readers of AVIF and WebP decompress the pixels themselves and then call them raw.
    tiles = image.tile if isinstance(image, ImageFile) and image.format in ("TIFF", "BMP", "DIB") else ()
    return bool(tiles) and all(tile[0] == "raw" for tile in tiles) and image.width * image.height > 8 * len(data)


def _to_rgb(image: Image.Image, data: bytes) -> tuple[RgbImage, str | None]:
    from PIL import ImageOps

    # Before the orientation is read: for that a PNG is decoded, and Pillow then forgets how it was packed.
    deep = _is_deep(image)
    orientation = image.getexif().get(ORIENTATION_TAG, 1)
    plain = image.mode in ("RGB", "L") and frame_count(image) == 1 and orientation in (0, 1)
    link_suffix = _LINKABLE.get(image.format or "") if plain else None
    if plain and image.format == "JPEG" and (whole := _intact_jpeg(data)) is not None:
        return whole, link_suffix
    if image.mode.startswith("I;16") or image.mode in ("I", "F"):
        # Pillow turns a TIFF when it loads it, and removes the orientation; other formats are turned here.
        image.load()
        pixels = np.repeat(to_8_bits(np.asarray(image))[:, :, None], 3, axis=2)
        orientation = image.getexif().get(ORIENTATION_TAG, 1)
        if orientation not in (0, 1):
            pixels = np.asarray(ImageOps.exif_transpose(_with_orientation(pixels, orientation)))
        return np.ascontiguousarray(pixels), None
    if deep and (few := _colors_of_few_bits(image, data)) is not None:
        turned = few if orientation in (0, 1) else ImageOps.exif_transpose(_with_orientation(few, orientation))
        return np.ascontiguousarray(turned), None
    # Each of these steps copies the picture, so only those that are needed are taken.
    upright = image if orientation in (0, 1) else ImageOps.exif_transpose(image)
    if "transparency" in upright.info or upright.mode in ("RGBA", "LA", "PA", "RGBa", "La"):
        upright = upright.convert("RGBA").convert("RGB")
    elif upright.mode != "RGB":
        upright = upright.convert("RGB")
    return np.asarray(upright, dtype=np.uint8), link_suffix


def _intact_jpeg(data: bytes) -> RgbImage | None:
    """A JPEG's pixels, the same as Pillow's in a third of the time; None if it is damaged in any way."""
    import simplejpeg

    try:
        pixels: RgbImage = simplejpeg.decode_jpeg(data, strict=True)
    except ValueError:
        return None  # Pillow knows how much damage can be tolerated, and reports it.
    pixels.setflags(write=False)
    return pixels


def _is_deep(image: Image.Image) -> bool:
    """Whether a file has 16 bits for each of several colors; Pillow reads 8 of them."""
    from PIL.ImageFile import ImageFile

    tiles = image.tile if isinstance(image, ImageFile) and image.mode in ("RGB", "RGBA") else ()
    return any(";16" in str(tile[3]) for tile in tiles)


def _colors_of_few_bits(image: Image.Image, data: bytes) -> RgbImage | None:
    """The pixels, not turned, of an intact 16-bit color image that uses fewer bits; None if it uses all 16.

    Pillow and other readers take the high byte of each value, which then has little or nothing in it.
    """
    import cv2

    image.load()
    if image.format == "PNG" and not _is_complete_png(data):
        return None
    try:
        found = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error:
        return None
    if found is None or found.dtype != np.uint16 or found.ndim != 3:
        return None
    colors = found[:, :, 2::-1]
    return None if bits(float(colors.max())) == 16 else to_8_bits(colors)


def _is_complete_png(data: bytes) -> bool:
    """Whether each chunk of a PNG ends inside the data: OpenCV allocates the size that a chunk states, even a
    gigabyte."""
    at = 8
    while at + 12 <= len(data):
        size, name = int.from_bytes(data[at : at + 4], "big"), data[at + 4 : at + 8]
        at += 12 + size
        if name == b"IEND":
            return at <= len(data)
    return False


def _with_orientation(pixels: RgbImage, orientation: int) -> Image.Image:
    from PIL import Image

    image = Image.fromarray(pixels)
    image.getexif()[ORIENTATION_TAG] = orientation
    return image
