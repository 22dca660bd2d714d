"""A contact sheet of labels, as a PNG and as a page: for each image what is kept, and what is dropped and why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..core import masks
from ..core.config import MAX_MEGAPIXELS
from ..core.errors import DataError
from ..core.types import Classes, ImageLabels, Rejected
from ..images.image_opening import open_rgb
from ..images.rgb_image import write_png
from ..system.files import replacing
from .label_text import Box, Color, class_name, picture_name
from .overlays import (
    Panel,
    RgbImage,
    class_color,
    class_color_hex,
    contact_sheet,
    data_uri,
    draw_instances,
    draw_labels,
    mask_in_box,
    outlines,
)

_DASH = 6


@dataclass(frozen=True, slots=True)
class SheetImage:
    """One image file and its refined labels."""

    path: Path
    labels: ImageLabels


@dataclass(frozen=True, slots=True)
class SheetText:
    """What the page says above and below the images; `failures` are {"path", "reason"} each.

    `kept` and `taken` are the words for an image's instances and for its rejected ones.
    """

    title: str
    summary: str
    dropped: Mapping[str, int]
    failures: Sequence[Mapping[str, str]] = ()
    kept: str = "Kept"
    taken: str = "Dropped"


def write_sheet(
    picture: Path,
    page: Path,
    images: Iterable[SheetImage],
    classes: Classes,
    text: SheetText,
    *,
    max_megapixels: float = MAX_MEGAPIXELS,
) -> None:
    """Writes the sheet as `picture` (PNG) and as `page` (self-contained HTML); each image is read once.

    An image that cannot be read any more, or has more than `max_megapixels` million pixels, is named on the page and
    left out of the picture.

    Raises:
        DataError: not one of the images can be read.
        ValueError: a mask is not of its image's size.
    """
    cards: list[dict[str, Any]] = []
    rows = _rows(images, classes, cards, text, max_megapixels)
    first = next(rows, None)
    if first is None:
        raise DataError(cards[0]["problem"] if cards else "There is no image to show.")

    def all_rows() -> Iterator[Sequence[Panel]]:
        yield first
        yield from rows

    with replacing(picture) as temporary:
        write_png(temporary, contact_sheet(all_rows()))
    _write_page(page, cards, text)


def draw_dropped(image: RgbImage, rejected: Sequence[Rejected], classes: Classes) -> RgbImage:
    """A gray copy of `image` (HWC uint8 RGB), every rejected mask dashed in its class's color, labeled with why.

    Raises:
        ValueError: a mask is not of the image's size.
    """
    gray = (image @ np.array([0.299, 0.587, 0.114]))[:, :, None] * 0.6 + 90
    canvas: RgbImage = np.repeat(np.clip(gray, 0, 255), 3, axis=2).astype(np.uint8)
    drawn: list[tuple[str, Color, Box]] = []
    for one in sorted(rejected, key=lambda r: -masks.area(r.instance.rle)):
        box = _dashed(canvas, one)
        if box is not None:
            # The reason first: if there is no room, the color still shows the class.
            text = f"{one.reason} · {one.instance.score:.2f} {picture_name(classes, one.instance.class_index)}"
            drawn.append((text, _color(one), box))
    draw_labels(canvas, drawn, crowded=None)
    return canvas


def _dashed(canvas: RgbImage, one: Rejected) -> Box | None:
    """Draws one mask's dashed outline; its box in pixels (x0, y0, x1, y1), None if the mask is empty."""
    import cv2

    found = mask_in_box(canvas, one.instance.rle)
    if found is None:
        return None
    mask, box = found
    thickness = max(1, round(max(canvas.shape[:2]) / 400))
    dash = _DASH * thickness
    for contour in outlines(mask, box):
        for start in range(0, len(contour), 2 * dash):
            points: npt.NDArray[np.int32] = np.asarray(contour[start : start + dash], dtype=np.int32)
            cv2.polylines(canvas, [points], False, _color(one), thickness)
    return box


def _color(one: Rejected) -> Color:
    return class_color(one.instance.class_index)


def _rows(
    images: Iterable[SheetImage],
    classes: Classes,
    cards: list[dict[str, Any]],
    text: SheetText,
    max_megapixels: float,
) -> Iterator[list[Panel]]:
    """The panels of each image that can be read, full size; its card for the page goes to `cards` on the way."""
    for image in images:
        labels, title = image.labels, image.labels.image.path
        card: dict[str, Any] = {"title": title, "problem": "", "panels": [], "legend": [], "dropped": []}
        cards.append(card)
        try:
            pixels = open_rgb(image.path, max_megapixels=max_megapixels)
        except DataError as error:
            card["problem"] = error.message
            continue
        kept = draw_instances(pixels, labels.instances, classes)
        dropped = draw_dropped(pixels, labels.rejected, classes)
        names = Counter(class_name(classes, one.class_index) for one in labels.instances)
        reasons = Counter(one.reason for one in labels.rejected)
        for name, said, panel in ((text.kept, names, kept), (text.taken, reasons, dropped)):
            uri, width, height = data_uri(panel)
            card["panels"].append({"name": name, "said": _said(said), "uri": uri, "width": width, "height": height})
        seen = {i.class_index for i in (*labels.instances, *(r.instance for r in labels.rejected))}
        card["legend"] = [(class_name(classes, i), class_color_hex(i)) for i in sorted(seen)]
        card["dropped"] = [
            (class_name(classes, r.instance.class_index), f"{r.instance.score:.3f}", r.reason) for r in labels.rejected
        ]
        words = text.kept.lower(), text.taken.lower()
        counted = f"{len(labels.instances)} {words[0]}: {title}", f"{len(labels.rejected)} {words[1]}"
        yield [(counted[0], kept), (counted[1], dropped)]


def _said(counts: Counter[str]) -> str:
    """`3 × person, 1 × dog`, the commonest first."""
    return ", ".join(f"{number} × {name}" for name, number in sorted(counts.items(), key=lambda i: (-i[1], i[0])))


def _write_page(path: Path, cards: Sequence[Mapping[str, Any]], text: SheetText) -> None:
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from markupsafe import Markup

    loader = PackageLoader(__package__, "")
    environment = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    stream = environment.get_template("sheet.html.jinja").stream(
        css=Markup(loader.get_source(environment, "page.css")[0]),
        title=text.title,
        summary=text.summary,
        totals=_said(Counter(text.dropped)),
        failures=text.failures,
        cards=cards,
        taken=text.taken,
    )
    # A file name that is not valid Unicode comes as lone surrogates, which UTF-8 cannot hold.
    with replacing(path) as temporary, temporary.open("wb") as file:
        stream.dump(file, encoding="utf-8", errors="replace")
