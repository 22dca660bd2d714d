"""Finding, opening and hashing images. RGB, HWC uint8, EXIF orientation baked in: the one reader of the package.

More than 8 bits become 8 as `bit_depth` has it.
"""

from __future__ import annotations

import hashlib
import io
import math
import re
import stat as stats
import warnings
from collections.abc import Container, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

from ..core.config import MAX_MEGAPIXELS
from ..core.errors import DataError, MissingInputError
from ..core.masks import MAX_SIDE
from ..core.types import ImageRecord
from ..system.folders import Links, walk
from .bit_depth import bits, to_8_bits
from .pillow_limit import pillow_accepts

if TYPE_CHECKING:
    from PIL import Image

RgbImage = npt.NDArray[np.uint8]

SUFFIXES = frozenset(
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
_MAGIC = (
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
_BRANDS = (*_AVIF_BRANDS, *_HEIC_BRANDS)
# What RF-DETR, pycocotools' users and CVAT all read the way we do; anything else is written as PNG into the dataset.
_LINKABLE = {"JPEG": ".jpg", "MPO": ".jpg", "PNG": ".png", "BMP": ".bmp", "WEBP": ".webp"}
# Pillow knows more, and some of them start other programs (EPS) or take anything for theirs (TGA).
_FORMATS = ("JPEG", "MPO", "PNG", "WEBP", "TIFF", "BMP", "DIB", "GIF", "AVIF", "HEIF")
_ORIENTATION_TAG = 0x0112
# The orientations that exchange height and width.
_QUARTER_TURNS = (5, 6, 7, 8)
# Bytes of a PNG's EXIF: a JPEG's has less than 64 KiB.
_MOST_EXIF = 2**20
# Where a PNG's first chunk has its kind of colour, after the bits of a channel; how many channels each has.
_PNG_COLOUR = 25
_PNG_CHANNELS = {2: 3, 4: 2, 6: 4}
# Bytes that deflate can make of one, at most (zlib's own figure).
_DEFLATE_MOST = 1032


@dataclass(frozen=True, slots=True)
class OpenedImage:
    """A decoded image.

    `pixels` is HWC uint8 RGB, read-only, with EXIF orientation applied. `link_suffix` is the suffix under which the
    file itself can stand in a dataset, None where its pixels must be written anew (orientation, mode, several frames,
    rare format). `frames` is the number of pages or frames in the file, of which `pixels` is the first.
    """

    record: ImageRecord
    pixels: RgbImage
    link_suffix: str | None
    file_bytes: int
    mtime_ns: int
    frames: int = 1


@dataclass(frozen=True, slots=True)
class KnownImage:
    """A file that was read and not decoded, as its content is known already."""

    sha256: str
    mtime_ns: int


class Header(NamedTuple):
    """Sides in pixels as they stand in an image file, and its EXIF orientation, 1 where there is none."""

    height: int
    width: int
    orientation: int

    @property
    def is_turned(self) -> bool:
        """Whether a reader that applies the orientation sees another picture than one that does not."""
        return self.orientation in range(2, 9)

    @property
    def upright(self) -> tuple[int, int]:
        """Height and width once the orientation is applied."""
        return (self.width, self.height) if self.orientation in _QUARTER_TURNS else (self.height, self.width)


class Decoded(NamedTuple):
    """Pixels as in `OpenedImage`, the suffix their bytes can have in a dataset, or None, and the number of frames."""

    pixels: RgbImage
    link_suffix: str | None
    frames: int


def discover(folder: Path, links: Links | None = None) -> list[Path]:
    """Every image file under `folder`, sorted by relative POSIX path; hidden files and folders are passed over.

    A file counts by its content; one that has an image's suffix but not an image's content counts too, so that opening
    it tells what is wrong with it, and so does a folder that may not be read. Linked folders are followed as `walk` in
    `folders` does, and noted in `links`; pipes and devices are passed over.

    Raises:
        MissingInputError: the folder is not there, or holds no image.
    """
    if not folder.exists():
        raise MissingInputError(f"There is no folder {folder}.", "Give the folder that holds the images.")
    if not folder.is_dir():
        raise MissingInputError(f"{folder} is not a folder.", "Give the folder that holds the images.")
    closed: list[Path] = []
    files = (inner / name for inner, names in walk(folder, links, closed) for name in names)
    found = [path for path in files if may_be_image(path)] + closed
    if not found:
        raise MissingInputError(f"There is no image in {folder}.", f"Known formats: {', '.join(sorted(SUFFIXES))}.")
    return sorted(found, key=lambda path: path.relative_to(folder).as_posix())


def may_be_image(path: Path) -> bool:
    """Whether it counts as an image by `discover`'s rule: a file with an image's suffix or content."""
    return _is_file(path) and (path.suffix.lower() in SUFFIXES or _looks_like_image(path))


def _is_file(path: Path) -> bool:
    """Whether it is a file, or cannot be told (a link that leads nowhere): opening it then says why."""
    try:
        return stats.S_ISREG(path.stat().st_mode)
    except OSError:
        return True


def _looks_like_image(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            head = file.read(16)
    except OSError:
        return False
    if head.startswith(b"BM"):
        # Two letters are a weak sign: plain text may start so. A bitmap's header has zeros in its reserved words.
        return head[6:10] == bytes(4)
    return (
        head.startswith(_MAGIC)
        or (head[:4] == b"RIFF" and head[8:12] == b"WEBP")
        or (head[4:8] == b"ftyp" and head[8:12] in _BRANDS)
    )


def image_id(relative_path: str, sha256: str) -> str:
    """16 hex digits from the content and the relative path: the same file in two folders is two images."""
    return hashlib.sha256(f"{sha256}\0{relative_path}".encode("utf-8", "surrogateescape")).hexdigest()[:16]


def most_bytes(max_megapixels: float = MAX_MEGAPIXELS) -> int:
    """The size of the largest file that is opened as an image: 8 bytes for each pixel, and some; it is read whole."""
    return int(8e6 * max_megapixels) + 2**26


def _too_large(said: str, pixels: float | None) -> DataError:
    needs = "" if pixels is None else f", and its {3 * pixels / 1e9:.1f} GB of pixels fit"
    value = "X" if pixels is None else str(math.ceil(pixels / 1e6))
    return DataError(said, f"If you trust it{needs}: --max-megapixels {value} (inputs.max_megapixels).")


def check_sides(width: int, height: int, name: str) -> None:
    """Refuses what has a side that no COCO file of masks can have: every reader would refuse the labels later.

    Raises:
        DataError: a side is over `MAX_SIDE` pixels.
    """
    if max(width, height) > MAX_SIDE:
        raise DataError(
            f"{name} is {width}x{height} pixels, and masks in COCO files have sides of at most {MAX_SIDE}: cut it into "
            "parts, or make it smaller."
        )


def open_image(path: Path, relative_path: str | None = None, *, max_megapixels: float = MAX_MEGAPIXELS) -> OpenedImage:
    """Reads, hashes and decodes one file; its bytes are read once.

    Raises:
        DataError: it cannot be read or decoded, would decode to more than `max_megapixels` million pixels, or has a
            side of more than `MAX_SIDE`.
    """
    name = path.name if relative_path is None else relative_path
    return _opened(path, name, *_read(path, max_megapixels), max_megapixels)


def open_unless_known(
    path: Path, relative_path: str, known: Container[str], *, max_megapixels: float = MAX_MEGAPIXELS
) -> OpenedImage | KnownImage:
    """As `open_image`, but a file whose SHA-256 is among the `known` ones is not decoded."""
    data, sha256, mtime_ns = _read(path, max_megapixels)
    if sha256 in known:
        return KnownImage(sha256, mtime_ns)
    return _opened(path, relative_path, data, sha256, mtime_ns, max_megapixels)


def _read(path: Path, max_megapixels: float) -> tuple[bytes, str, int]:
    """A file's bytes, their SHA-256, and its mtime_ns."""
    if (shown := printable(str(path))) != str(path):
        raise DataError(f"{shown} has a name that is not UTF-8, which no dataset can hold.", "Rename the file.")
    try:
        stat = path.stat()
        if not (stats.S_ISREG(stat.st_mode) or stats.S_ISDIR(stat.st_mode)):
            raise DataError(f"{path} is not a file but a pipe or a device.")
        if stat.st_size > most_bytes(max_megapixels):
            said = f"{path} has {stat.st_size / 2**30:.1f} GiB: too many to be an image."
            raise _too_large(said, stat.st_size / 8)
        data = path.read_bytes()
        after = path.stat()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}.") from error
    if (stat.st_size, stat.st_mtime_ns) != (after.st_size, after.st_mtime_ns) or len(data) != stat.st_size:
        raise DataError(f"{path} changed while it was read.", "Label again with --resume once it is at rest.")
    return data, hashlib.sha256(data).hexdigest(), stat.st_mtime_ns


def _opened(
    path: Path, relative_path: str, data: bytes, sha256: str, mtime_ns: int, max_megapixels: float
) -> OpenedImage:
    pixels, link_suffix, frames = decode(data, str(path), max_megapixels=max_megapixels)
    record = ImageRecord(image_id(relative_path, sha256), relative_path, pixels.shape[0], pixels.shape[1], sha256)
    return OpenedImage(record, pixels, link_suffix, len(data), mtime_ns, frames)


def open_rgb(path: Path, upright: bool = True, *, max_megapixels: float = MAX_MEGAPIXELS) -> RgbImage:
    """The pixels of one file, HWC uint8 RGB, free to be written to; raises as `open_image`.

    Its EXIF orientation is applied, unless `upright` is False.
    """
    opened = open_image(path, max_megapixels=max_megapixels)  # refuses what may not be opened
    if upright:
        return np.array(opened.pixels)
    from PIL import Image

    with pillow_accepts(max_megapixels), Image.open(path, formats=_formats()) as image:
        return rgb_of(image)


def image_size(path: Path, *, max_megapixels: float = MAX_MEGAPIXELS) -> tuple[int, int]:
    """Height and width of an image file in pixels, EXIF orientation applied, from its header: no pixel is decoded.

    Raises:
        DataError: it cannot be read, is no image in a known format, or has over `max_megapixels` million pixels.
    """
    try:
        return read_header(path, max_megapixels=max_megapixels).upright
    except FileNotFoundError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}.") from error


def read_header(path: Path, *, max_megapixels: float = MAX_MEGAPIXELS) -> Header:
    """The header of an image file; no pixel is decoded.

    Raises:
        FileNotFoundError: it is not there.
        DataError: it cannot be read, is no image in a known format, or has over `max_megapixels` million pixels.
    """
    from PIL import Image, UnidentifiedImageError

    try:
        with warnings.catch_warnings(), pillow_accepts(max_megapixels), path.open("rb") as file:
            warnings.simplefilter("ignore")
            head = file.read(12)
            if head[4:8] == b"ftyp" and head[8:12] in _HEIC_BRANDS:
                _learn_heic(str(path))
            file.seek(0)
            with Image.open(file, formats=_formats()) as image:
                width, height = image.size
                orientation = _orientation(image, file)
    except (DataError, FileNotFoundError):
        raise
    except UnidentifiedImageError as error:
        raise DataError(f"{path} is not an image in a known format.") from error
    except Image.DecompressionBombError as error:
        raise _too_large(f"{path} has too many pixels to be safe ({_line(error)}).", None) from error
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or _line(error)}.") from error
    except Exception as error:  # Pillow's parsers raise whatever they stumble over.
        raise DataError(f"{path} cannot be read: {type(error).__name__} {_line(error)}.") from error
    if width * height > max_megapixels * 1e6:
        raise _too_large(f"{path} has {width} x {height} pixels: too many to be safe.", width * height)
    return Header(height, width, orientation)


def _orientation(image: Image.Image, file: IO[bytes]) -> int:
    """The EXIF orientation of an opened image, 1 where there is none."""
    from PIL import Image

    if image.format == "TIFF":
        return 1  # Pillow gives the size of the turned pixels
    # A PNG's own method decodes the pixels to look behind them.
    orientation = Image.Image.getexif(image).get(_ORIENTATION_TAG)
    if orientation is None and image.format == "PNG":
        orientation = _last_png_orientation(file)
    return orientation if isinstance(orientation, int) and 1 <= orientation <= 8 else 1


def _last_png_orientation(file: IO[bytes]) -> int | None:
    """The orientation of a PNG's `eXIf` chunk, which may stand behind the pixels; the pixels are passed over."""
    from PIL import Image

    file.seek(8)
    while len(head := file.read(8)) == 8:
        size = int.from_bytes(head[:4], "big")
        if head[4:] == b"eXIf" and size < _MOST_EXIF:
            exif = Image.Exif()
            exif.load(file.read(size))
            return exif.get(_ORIENTATION_TAG)
        file.seek(size + 4, io.SEEK_CUR)
    return None


def rgb_of(image: Image.Image, turn: bool = False) -> RgbImage:
    """The pixels of a PIL image as they are of its file, HWC uint8 RGB; the image is left alone.

    Its orientation mark counts with `turn` alone: whoever has opened it may have turned it already.

    Raises:
        DataError: it was opened from a file that cannot be decoded.
    """
    try:
        copy = image.copy()
        if not turn:
            copy.info = {name: value for name, value in copy.info.items() if name == "transparency"}
        return np.array(_to_rgb(copy, b"")[0])
    except (OSError, ValueError, SyntaxError, EOFError) as error:
        raise DataError(f"The PIL image cannot be decoded: {_line(error)}.") from error


def decode(data: bytes, name: str, *, max_megapixels: float = MAX_MEGAPIXELS) -> Decoded:
    """An encoded image; raises DataError as `open_image`."""
    from PIL import Image, UnidentifiedImageError

    if not data:
        raise DataError(f"{name} is empty (0 bytes).")
    if data[4:8] == b"ftyp" and data[8:12] in _HEIC_BRANDS:
        _learn_heic(name)
    try:
        with warnings.catch_warnings(), pillow_accepts(max_megapixels):
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(data), formats=_formats()) as image:
                check_sides(image.width, image.height, name)
                pixels = image.width * image.height
                if pixels > max_megapixels * 1e6:
                    raise _too_large(f"{name} would decode to {pixels} pixels: too many pixels to be safe.", pixels)
                if _is_too_short(image, data):
                    raise DataError(f"{name} is truncated: too short for {image.width}x{image.height} pixels.")
                return Decoded(*_to_rgb(image, data), _frames(image))
    except DataError:
        raise
    except UnidentifiedImageError as error:
        foreign = data[8:12] in _AVIF_BRANDS and "AVIF" not in _formats()
        hint = "This Pillow reads no AVIF: pip install -U pillow" if foreign else None
        raise DataError(f"{name} is not an image in a known format.", hint) from error
    except Image.DecompressionBombError as error:
        found = re.search(r"\((\d+) pixels\)", str(error))
        stated = int(found[1]) if found else None
        said = f"{name} would decode to {'' if stated is None else f'{stated} pixels: '}too many pixels to be safe."
        raise _too_large(said, stated) from error
    except (OSError, ValueError, SyntaxError, EOFError) as error:
        raise DataError(f"{name} cannot be decoded: {_line(error)}.") from error
    except Exception as error:  # Pillow's decoders raise whatever their format's parser stumbles over.
        raise DataError(f"{name} cannot be decoded: {type(error).__name__} {_line(error)}.") from error


def _is_too_short(image: Image.Image, data: bytes) -> bool:
    """Whether pixels that are not packed, or a PNG's, which deflate packs so far and no further, cannot be in the data;
    told before room is made for them: a damaged header of 2 kB may ask for a gigabyte."""
    from PIL.ImageFile import ImageFile

    if image.format == "PNG" and len(data) > _PNG_COLOUR:
        depth, channels = data[_PNG_COLOUR - 1], _PNG_CHANNELS.get(data[_PNG_COLOUR], 1)
        return image.width * image.height * depth * channels > 8 * _DEFLATE_MOST * len(data)
    # The readers of AVIF and WebP call the pixels raw that they have unpacked themselves.
    tiles = image.tile if isinstance(image, ImageFile) and image.format in ("TIFF", "BMP", "DIB") else ()
    return bool(tiles) and all(tile[0] == "raw" for tile in tiles) and image.width * image.height > 8 * len(data)


def _line(error: Exception) -> str:
    return " ".join(str(error).split()).rstrip(".")


def _formats() -> list[str]:
    """Those of `_FORMATS` that this Pillow reads; HEIC is one once its plug-in is there."""
    from PIL import Image

    Image.init()
    return [name for name in _FORMATS if name in Image.OPEN]


def _to_rgb(image: Image.Image, data: bytes) -> tuple[RgbImage, str | None]:
    from PIL import ImageOps

    # Before the orientation is asked for: a PNG is decoded for it, and how it was packed then forgotten.
    deep = _is_deep(image)
    orientation = image.getexif().get(_ORIENTATION_TAG, 1)
    plain = image.mode in ("RGB", "L") and _frames(image) == 1 and orientation in (0, 1)
    link_suffix = _LINKABLE.get(image.format or "") if plain else None
    if plain and image.format == "JPEG" and (whole := _sound_jpeg(data)) is not None:
        return whole, link_suffix
    if image.mode.startswith("I;16") or image.mode in ("I", "F"):
        # Pillow turns a TIFF as it loads it, and takes the mark away; every other format waits for us to do so.
        image.load()
        pixels = np.repeat(to_8_bits(np.asarray(image))[:, :, None], 3, axis=2)
        orientation = image.getexif().get(_ORIENTATION_TAG, 1)
        if orientation not in (0, 1):
            pixels = np.asarray(ImageOps.exif_transpose(_with_exif(pixels, orientation)))
        return np.ascontiguousarray(pixels), None
    if deep and (few := _colours_of_few_bits(image, data)) is not None:
        marked = few if orientation in (0, 1) else ImageOps.exif_transpose(_with_exif(few, orientation))
        return np.ascontiguousarray(marked), None
    # Each of these steps copies the picture, so each is taken only where it is needed.
    upright = image if orientation in (0, 1) else ImageOps.exif_transpose(image)
    if "transparency" in upright.info or upright.mode in ("RGBA", "LA", "PA", "RGBa", "La"):
        upright = upright.convert("RGBA").convert("RGB")
    elif upright.mode != "RGB":
        upright = upright.convert("RGB")
    return np.asarray(upright, dtype=np.uint8), link_suffix


def _frames(image: Image.Image) -> int:
    """Pages or frames of a file; a photo's preview or depth map (MPO) is none, and no other reader looks at it."""
    return 1 if image.format == "MPO" else int(getattr(image, "n_frames", 1))


def _learn_heic(name: str) -> None:
    """Teaches Pillow to read HEIC, where the plug-in is there."""
    try:
        import pillow_heif
    except ImportError as error:
        hint = "pip install 'autodistill-rfdetr-seg[heic]'"
        raise DataError(f"{name} is a HEIC photo, which needs the package pillow-heif.", hint) from error
    pillow_heif.register_heif_opener()


def _sound_jpeg(data: bytes) -> RgbImage | None:
    """A JPEG's pixels, the same as Pillow's in a third of its time; None where anything is wrong with it."""
    import simplejpeg

    try:
        pixels: RgbImage = simplejpeg.decode_jpeg(data, strict=True)
    except ValueError:
        return None  # Pillow, which knows how much damage can be lived with, says what it is
    pixels.setflags(write=False)
    return pixels


def _is_deep(image: Image.Image) -> bool:
    """Whether a file has 16 bits for each of several colours, of which Pillow gives 8."""
    from PIL.ImageFile import ImageFile

    tiles = image.tile if isinstance(image, ImageFile) and image.mode in ("RGB", "RGBA") else ()
    return any(";16" in str(tile[3]) for tile in tiles)


def _colours_of_few_bits(image: Image.Image, data: bytes) -> RgbImage | None:
    """The pixels, not turned, of a sound deep picture that needs less than 16 bits: Pillow, as other readers, takes the
    high byte of each, in which there is little or nothing then. None where it needs all."""
    import cv2

    image.load()
    if image.format == "PNG" and not _is_whole_png(data):
        return None
    try:
        found = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error:
        return None
    if found is None or found.dtype != np.uint16 or found.ndim != 3:
        return None
    colours = found[:, :, 2::-1]
    return None if bits(float(colours.max())) == 16 else to_8_bits(colours)


def _is_whole_png(data: bytes) -> bool:
    """Whether each chunk of a PNG lies within it: OpenCV makes room for what a chunk says it holds, even a gigabyte."""
    at = 8
    while at + 12 <= len(data):
        size, name = int.from_bytes(data[at : at + 4], "big"), data[at + 4 : at + 8]
        at += 12 + size
        if name == b"IEND":
            return at <= len(data)
    return False


def _with_exif(pixels: RgbImage, orientation: int) -> Image.Image:
    from PIL import Image

    image = Image.fromarray(pixels)
    image.getexif()[_ORIENTATION_TAG] = orientation
    return image


def file_sha256(path: Path) -> str:
    """The SHA-256 of a file's bytes, hex; raises DataError where it cannot be read."""
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while chunk := file.read(1 << 20):
                digest.update(chunk)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}.") from error
    return digest.hexdigest()


def printable(name: str) -> str:
    """A file's name as text that can be written: bytes in it that are not UTF-8 as `\\xff`."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def relative_paths(paths: Iterable[Path], root: Path) -> list[tuple[Path, str]]:
    """Each path with its POSIX path relative to `root`."""
    return [(path, path.relative_to(root).as_posix()) for path in paths]


def write_png(path: Path, pixels: RgbImage) -> None:
    """Writes HWC uint8 RGB losslessly."""
    from PIL import Image

    Image.fromarray(pixels).save(path, format="PNG", compress_level=1)
