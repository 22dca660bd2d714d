"""Pictures of instances: masks drawn over an image, panels side by side, contact sheets, embedded images.

Every image is an HWC uint8 RGB array. Masks are decoded one at a time; only pixels in a mask, on its outline or under
its label change.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ..core import masks
from ..core.masks import BoolMask
from ..core.types import Classes, Instance, Rle, TruthInstance
from .label_text import Box, Color, free_place, picture_name, strip, tag

RgbImage = npt.NDArray[np.uint8]
Panel = tuple[str, RgbImage]

# Okabe and Ito, "Color Universal Design" (2008), without black. After seven classes the hues repeat lighter, then
# darker; the label names the class in any case.
HUES: tuple[Color, ...] = (
    (230, 159, 0),
    (86, 180, 233),
    (0, 158, 115),
    (204, 121, 167),
    (240, 228, 66),
    (0, 114, 178),
    (213, 94, 0),
)
CROWD: Color = (150, 150, 150)
FILL = 0.38
CROWDED = 25
LABEL_SHARE = 0.45


def class_color(index: int) -> Color:
    """The RGB color of a class, the same in every picture; 21 classes have one of their own."""
    hue = np.array(HUES[index % len(HUES)], dtype=float)
    turn = index // len(HUES) % 3
    if turn == 1:
        hue = hue + (255 - hue) * 0.5
    elif turn == 2:
        hue = hue * 0.6
    red, green, blue = (int(value) for value in hue)
    return (red, green, blue)


def class_color_hex(index: int) -> str:
    """The color of a class for HTML, such as `#1f77b4`."""
    return "#" + bytes(class_color(index)).hex()


def draw_instances(
    image: RgbImage,
    instances: Sequence[Instance | TruthInstance],
    classes: Classes,
    *,
    scores: bool = True,
    labels: Sequence[str] | None = None,
) -> RgbImage:
    """A copy of `image` (HWC uint8 RGB) with every instance filled, outlined and labeled with its class.

    Larger masks are drawn first, so small ones stay visible. A label that finds no free place is left out, and in a
    crowded picture a label wider than its object too. A crowd region is gray. `scores` adds each score to its label,
    where the instance has one; a picture of one class alone then shows scores without the name. `labels` are texts, one
    an instance, in place of these.

    Raises:
        ValueError: the image is not HWC uint8 RGB, or a mask is not of the image's size.
    """
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise ValueError(f"An image is HWC uint8 RGB, not {image.dtype} of shape {image.shape}.")
    canvas: RgbImage = np.array(image, order="C")
    thickness = max(1, round(max(image.shape[:2]) / 320))
    texts = [_label(instance, classes, scores) for instance in instances] if labels is None else labels
    drawn: list[tuple[str, Color, Box]] = []
    for instance, text in sorted(zip(instances, texts, strict=True), key=lambda one: -masks.area(one[0].rle)):
        box = _paint(canvas, instance.rle, _color(instance), thickness)
        if box is not None:
            drawn.append((text, _color(instance), box))
    draw_labels(canvas, drawn)
    return canvas


def _color(instance: Instance | TruthInstance) -> Color:
    return CROWD if isinstance(instance, TruthInstance) and instance.crowd else class_color(instance.class_index)


def _paint(canvas: RgbImage, rle: Rle, color: Color, thickness: int) -> Box | None:
    """Fill and outline one mask on the canvas; its box in pixels (x0, y0, x1, y1), None if the mask is empty."""
    import cv2

    found = mask_in_box(canvas, rle)
    if found is None:
        return None
    mask, box = found
    x0, y0, x1, y1 = box
    region = canvas[y0:y1, x0:x1]
    region[mask] = (region[mask] * (1 - FILL) + np.array(color) * FILL).astype(np.uint8)
    if min(x1 - x0, y1 - y0) < 10 * thickness or color == CROWD:
        thickness = max(1, thickness // 2)
    cv2.drawContours(canvas, outlines(mask, box), -1, color, thickness, cv2.LINE_8 if thickness == 1 else cv2.LINE_AA)
    return box


def mask_in_box(canvas: RgbImage, rle: Rle) -> tuple[BoolMask, Box] | None:
    """A mask cropped to its box, and the box in pixels (x0, y0, x1, y1); None if the mask is empty.

    Raises:
        ValueError: the mask is not of the canvas' size.
    """
    height, width = canvas.shape[:2]
    if (rle.height, rle.width) != (height, width):
        raise ValueError(f"A mask of {rle.height} x {rle.width} pixels does not fit an image of {height} x {width}.")
    x, y, w, h = (int(value) for value in masks.bbox_xywh(rle))
    if not w or not h:
        return None
    return masks.decode(rle)[y : y + h, x : x + w], (x, y, x + w, y + h)


def outlines(mask: BoolMask, box: Box) -> Sequence[npt.NDArray[np.int32]]:
    """The outlines of a mask that is cropped to its box, holes included, each (N, 1, 2) in pixels of the image."""
    import cv2

    # One pixel of margin, so that an outline along the crop's edge is not mistaken for the image's border.
    padded = np.pad(mask.astype(np.uint8), 1)
    offset = (box[0] - 1, box[1] - 1)
    contours: Sequence[npt.NDArray[np.int32]] = cv2.findContours(
        padded, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE, offset=offset
    )[0]
    return contours


def draw_labels(canvas: RgbImage, drawn: Sequence[tuple[str, Color, Box]], *, crowded: int | None = CROWDED) -> None:
    """Writes each text at a free place near its box; one that finds none is left out.

    With more than `crowded` texts, one that is wider than its box is left out too; None never does that.
    """
    height, width = canvas.shape[:2]
    size = max(11, round(max(height, width) / 36))
    taken: list[Box] = []
    # The smallest, drawn last, is labeled first: a large object has more room for its label to move to.
    for text, color, box in reversed(drawn):
        label = tag(text, size, color, int(width * LABEL_SHARE))
        wide = crowded is not None and len(drawn) > crowded
        if label is None or (wide and label.shape[1] > box[2] - box[0]):
            continue
        place = free_place(box, label.shape[1], label.shape[0], width, height, taken)
        if place is not None:
            taken.append(place)
            canvas[place[1] : place[3], place[0] : place[2]] = label


def _label(instance: Instance | TruthInstance, classes: Classes, scores: bool) -> str:
    name = picture_name(classes, instance.class_index)
    if isinstance(instance, TruthInstance):
        return f"{name} (crowd)" if instance.crowd else name
    if not scores:
        return name
    return f"{instance.score:.2f}" if len(classes.names) == 1 else f"{name} {instance.score:.2f}"


def side_by_side(panels: Sequence[Panel], *, gap: int = 12) -> RgbImage:
    """The (caption, HWC uint8 RGB) panels in one row on white, scaled to the lowest one, each under its caption.

    Raises:
        ValueError: there is no panel.
    """
    if not panels:
        raise ValueError("side_by_side needs at least one panel.")
    height = min(image.shape[0] for _, image in panels)
    cells = [_captioned(caption, _resize(image, height / image.shape[0])) for caption, image in panels]
    widths = [cell.shape[1] for cell in cells]
    sheet = np.full((max(cell.shape[0] for cell in cells), sum(widths) + gap * (len(cells) - 1), 3), 255, np.uint8)
    left = 0
    for cell in cells:
        sheet[: cell.shape[0], left : left + cell.shape[1]] = cell
        left += cell.shape[1] + gap
    return sheet


def contact_sheet(rows: Iterable[Sequence[Panel]], *, width: int = 1200, gap: int = 12) -> RgbImage:
    """The rows of panels under one another on white, `width` pixels wide, each row scaled to it.

    `rows` is read once, so it may be a generator that holds one row at a time.

    Raises:
        ValueError: there is no row, or a row without a panel.
    """
    spacer = np.full((gap, width, 3), 255, np.uint8)
    parts: list[RgbImage] = []
    for row in rows:
        # Panels get their final height first, so that captions are drawn at their final size.
        images = [_resize(image, 480 / image.shape[0]) for _, image in row]
        room = width - gap * (len(images) - 1)
        scale = room / max(1, sum(image.shape[1] for image in images))
        scaled = [(caption, _resize(image, scale)) for (caption, _), image in zip(row, images, strict=True)]
        line = side_by_side(scaled, gap=gap)[:, :width]
        parts += [np.pad(line, ((0, 0), (0, width - line.shape[1]), (0, 0)), constant_values=255), spacer]
    if not parts:
        raise ValueError("contact_sheet needs at least one row.")
    return np.concatenate(parts[:-1])


def data_uri(image: RgbImage, *, side: int = 640, max_bytes: int = 54_000) -> tuple[str, int, int]:
    """The image as a WebP `data:` URI, and its width and height in pixels.

    Its longer side is at most `side`; quality, then size, go down until it fits `max_bytes` (or their floor is met).
    """
    from PIL import Image

    content, height, width = b"", 0, 0
    for shrink in (1.0, 0.75, 0.5):
        small = _resize(image, min(1.0, side * shrink / max(image.shape[:2])))
        height, width = small.shape[:2]
        for quality in (82, 65, 45):
            buffer = io.BytesIO()
            Image.fromarray(small).save(buffer, "WEBP", quality=quality, method=4)
            content = buffer.getvalue()
            if len(content) <= max_bytes:
                break
        if len(content) <= max_bytes:
            break
    return f"data:image/webp;base64,{base64.b64encode(content).decode('ascii')}", width, height


def _resize(image: RgbImage, scale: float) -> RgbImage:
    import cv2

    if scale == 1.0:
        return image
    size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
    resized: Any = cv2.resize(image, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    return np.asarray(resized, dtype=np.uint8)


def _captioned(caption: str, image: RgbImage) -> RgbImage:
    """The image under a white strip with its caption."""
    return np.concatenate([strip(caption, max(12, round(image.shape[0] / 26)), image.shape[1]), image])
