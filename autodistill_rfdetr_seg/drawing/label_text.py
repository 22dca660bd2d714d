"""Text on pictures: the text of a label, its drawing, and a free place for it."""

from __future__ import annotations

import functools
import unicodedata
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from ..core.types import Classes

if TYPE_CHECKING:
    from PIL import ImageFont

    Font = ImageFont.FreeTypeFont | ImageFont.ImageFont

Color = tuple[int, int, int]
Box = tuple[int, int, int, int]


def class_name(classes: Classes, index: int) -> str:
    """The name of a class on one line; `#7` if there is no class 7."""
    return " ".join(classes.names[index].split()) if 0 <= index < len(classes.names) else f"#{index}"


def picture_name(classes: Classes, index: int) -> str:
    """The name of a class as a picture can show it: Latin letters without accents, or `#7` for any other script."""
    return _plain(class_name(classes, index)) or f"#{index}"


def free_place(box: Box, w: int, h: int, width: int, height: int, taken: Sequence[Box]) -> Box | None:
    """The first place for a label of `w` x `h` at `box` that is inside the image and overlaps no box of `taken`.

    Tried in turn: above, inside the top, below, inside the bottom, in the middle. All boxes are xyxy pixels.
    """
    if w > width or h > height:
        return None
    x0, y0, x1, y1 = box
    for x, y in ((x0, y0 - h), (x0, y0), (x0, y1), (x1 - w, y1 - h), ((x0 + x1 - w) // 2, (y0 + y1 - h) // 2)):
        left, top = min(max(x, 0), width - w), min(max(y, 0), height - h)
        place = (left, top, left + w, top + h)
        if not any(place[0] < t[2] and t[0] < place[2] and place[1] < t[3] and t[1] < place[3] for t in taken):
            return place
    return None


def tag(text: str, size: int, color: Color, room: int) -> npt.NDArray[np.uint8] | None:
    """A label, HWC uint8 RGB: text of `size` pixels on `color`; None if not one letter fits into `room` pixels."""
    from PIL import Image, ImageDraw

    pad = max(2, size // 5)
    text = fit(text, size, room - 2 * pad)
    if not text:
        return None
    luminance = 0.299 * color[0] + 0.587 * color[1] + 0.114 * color[2]
    ink = (0, 0, 0) if luminance > 110 else (255, 255, 255)
    picture = Image.new("RGB", (int(_font(size).getlength(text)) + 2 * pad, size + 2 * pad), color)
    ImageDraw.Draw(picture).text((pad, picture.height / 2), text, fill=ink, font=_font(size), anchor="lm")
    return np.asarray(picture)


def strip(text: str, size: int, width: int) -> npt.NDArray[np.uint8]:
    """A caption, HWC uint8 RGB: dark text of `size` pixels on a white strip `width` pixels wide."""
    from PIL import Image, ImageDraw

    picture = Image.new("RGB", (width, size + size // 2 + 4), (255, 255, 255))
    shown = fit(" ".join(text.split()), size, width)
    ImageDraw.Draw(picture).text((0, picture.height / 2), shown, fill=(32, 36, 40), font=_font(size), anchor="lm")
    return np.asarray(picture)


@functools.lru_cache(maxsize=1024)
def fit(text: str, size: int, room: int) -> str:
    """The text, shortened with `…` at the front if it is wider than `room` pixels; a score at the end stays.

    Letters that the font does not have become question marks; `""` if nothing fits.
    """
    font = _font(size)
    text = "".join(letter if _plain(letter) or letter in " …" else "?" for letter in text)
    if font.getlength(text) <= room:
        return text
    front, _, last = text.rpartition(" ")
    is_score = bool(front) and last.replace(".", "").isdigit()
    front, tail = (front, f" {last}") if is_score else (text, "")
    while front and font.getlength(f"{front}…{tail}") > room:
        front = front[:-1].rstrip()
    if front:
        return f"{front}…{tail}"
    return tail.strip() if tail and font.getlength(tail.strip()) <= room else ""


def _plain(text: str) -> str:
    """The text without its accents, or `""` if that is not plain ASCII: Pillow's own font has no other letters."""
    bare = "".join(letter for letter in unicodedata.normalize("NFKD", text) if not unicodedata.combining(letter))
    return bare if bare.isascii() and bare.isprintable() else ""


@functools.lru_cache(maxsize=16)
def _font(size: int) -> Font:
    """Pillow's own font, so that pictures do not depend on the fonts of a machine."""
    from PIL import ImageFont

    return ImageFont.load_default(size)
