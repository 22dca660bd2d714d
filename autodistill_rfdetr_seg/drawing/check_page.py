"""A page of questions about labels and image regions, with a form for the answers; the browser saves them as JSON."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..core import masks
from ..core.types import Classes, Instance
from ..system.files import replacing
from .label_text import picture_name
from .overlays import RgbImage, data_uri, draw_instances

Box = tuple[int, int, int, int]

# Around a label: this part of its longer side, and at least so many pixels.
_AROUND, _LEAST_AROUND = 0.6, 32
_FRAME = (255, 255, 255)


@dataclass(frozen=True, slots=True)
class CheckCard:
    """One question: its `reference`, a `title`, a `picture` (HWC uint8 RGB), and for a region the number of its
    `labels`; None for a single label. Without a picture `problem` says why."""

    reference: str
    title: str
    labels: int | None
    picture: RgbImage | None
    problem: str = ""


@dataclass(frozen=True, slots=True)
class CheckPageText:
    """What the page says: its `title`, a `summary`, the names of the classes, and the name of the sample."""

    title: str
    summary: str
    classes: Sequence[str]
    sample: str


def label_picture(image: RgbImage, instance: Instance, classes: Classes) -> RgbImage:
    """The surroundings of a label in `image` (HWC uint8 RGB) without and with its mask, side by side."""
    x, y, width, height = (int(side) for side in masks.bbox_xywh(instance.rle))
    margin = max(_LEAST_AROUND, round(_AROUND * max(width, height)))
    window = _window((x - margin, y - margin, x + width + margin, y + height + margin), image)
    drawn = draw_instances(image, [instance], classes, labels=[""])
    return np.concatenate([image[window], drawn[window]], axis=1)


def region_picture(
    image: RgbImage, xyxy: Box, inside: Sequence[Instance], outside: Sequence[Instance], classes: Classes
) -> RgbImage:
    """A region of `image` (HWC uint8 RGB) with its labels, the surroundings of the region darker.

    Labels that belong to other regions are marked as `outside`: an object that they cover is not missed.
    """
    names = [picture_name(classes, one.class_index) for one in inside] + ["outside"] * len(outside)
    drawn = draw_instances(image, [*inside, *outside], classes, labels=names)
    x0, y0, x1, y1 = xyxy
    if (y1 - y0, x1 - x0) != image.shape[:2]:
        bright = drawn[y0:y1, x0:x1].copy()
        drawn = (drawn * 0.55).astype(np.uint8)
        drawn[y0:y1, x0:x1] = bright
        for edge in (np.s_[y0:y1, [x0, x1 - 1]], np.s_[[y0, y1 - 1], x0:x1]):
            drawn[edge] = _FRAME
    margin = max(_LEAST_AROUND, round(0.2 * max(x1 - x0, y1 - y0)))
    return drawn[_window((x0 - margin, y0 - margin, x1 + margin, y1 + margin), drawn)]


def write_check_page(path: Path, cards: Iterable[CheckCard], text: CheckPageText) -> None:
    """Writes the self-contained page; a card's picture is not kept longer than it takes to embed it."""
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from markupsafe import Markup

    def rows() -> Iterable[dict[str, object]]:
        for card in cards:
            uri, width, height = ("", 0, 0) if card.picture is None else data_uri(card.picture, side=800)
            yield {"card": card, "uri": uri, "width": width, "height": height}

    loader = PackageLoader(__package__, "")
    environment = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    css = Markup(loader.get_source(environment, "page.css")[0])
    stream = environment.get_template("checks.html.jinja").stream(css=css, text=text, rows=rows())
    with replacing(path) as temporary, temporary.open("wb") as file:
        stream.dump(file, encoding="utf-8", errors="replace")


def _window(xyxy: Sequence[int], image: RgbImage) -> tuple[slice, slice]:
    height, width = image.shape[:2]
    x0, y0, x1, y1 = xyxy
    return slice(max(0, y0), min(height, y1)), slice(max(0, x0), min(width, x1))
